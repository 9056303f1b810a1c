"""The ways in: every public function that reads a file, as one function path -> arrays."""

from __future__ import annotations

import time
from contextlib import contextmanager

import numpy as np

import dlio_fast as df


def load(path) -> dict[str, np.ndarray]:
    loaded = df.load(path)
    if isinstance(loaded, np.ndarray):
        return {"x": loaded}
    with loaded:
        return {name: loaded[name] for name in loaded}


def item(path, good=None) -> dict[str, np.ndarray]:
    data = df.Dataset.from_files([good or path, path], format=str(path)[-3:])
    try:
        return data[1]
    finally:
        data.close()


def loader(path, good=None) -> dict[str, np.ndarray]:
    data = df.Dataset.from_files([good or path, path], format=str(path)[-3:])
    with df.Loader(data, batch_size=2, threads=2) as batches:
        return {name: value[1] for name, value in next(iter(batches)).items()}


DOORS = {"load": load, "item": item, "loader": loader}


def peak_memory() -> int:
    """Bytes of address space and of memory that this process ever had."""
    with open("/proc/self/status") as status:
        lines = dict(line.split(":", 1) for line in status)
    return sum(int(lines[key].split()[0]) << 10 for key in ("VmPeak", "VmHWM"))


@contextmanager
def prompt(seconds: float = 1.0):
    """What is done inside takes no longer."""
    begin = time.perf_counter()
    yield
    assert time.perf_counter() - begin < seconds
