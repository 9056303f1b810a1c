"""HDF5: the cases of the table of targets, beside h5py."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import numpy as np

import dlio_fast as df
from dlio_fast.workload.generate import generate

from . import data, peers
from .runner import Case, Goal

MIB = 1 << 20
SAMPLE = (5 * MIB // 2048, 2048)
EACH = 8
"""Samples a file."""


def files_of(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*.hdf5"))


def contiguous(count: int) -> list[str]:
    """Files as ``dlio-fast generate`` writes them."""

    def make(folder: Path) -> None:
        config = {
            "dataset": {
                "format": "hdf5", "num_files_train": count, "num_samples_per_file": EACH,
                "record_dims": list(SAMPLE), "data_folder": str(folder),
            }
        }  # fmt: skip
        generate(df.load_config(config))

    return files_of(data.made(f"hdf5_{count}x{EACH}", make))


def packed(count: int) -> list[str]:
    """Files of float32 samples in chunks of one sample, shuffled and deflated, as h5py writes them."""

    def make(folder: Path) -> None:
        rng = np.random.default_rng(1)
        for i in range(count):
            # a field with noise, as of a simulation: deflate halves it or so
            smooth = np.linspace(0, 100, SAMPLE[0] * SAMPLE[1] // 4, dtype=np.float32)
            x = np.round(smooth + rng.normal(0, 3, (EACH, smooth.size)), 1).astype(np.float32)
            shape = (EACH, SAMPLE[0], SAMPLE[1] // 4)
            with h5py.File(folder / f"f{i:03d}.hdf5", "w") as file:
                file.create_dataset(
                    "records_0", data=x.reshape(shape), chunks=(1, *shape[1:]), compression="gzip",
                    compression_opts=4, shuffle=True,
                )  # fmt: skip

    return files_of(data.made(f"hdf5_gzip_{count}x{EACH}", make))


def drain(loader: df.Loader) -> int:
    """Take every batch; the core has put every byte into it."""
    return sum(np.asarray(batch["records_0"]).nbytes for batch in loader)


def ours(files: list[str], *, direct: bool = False, **options) -> Callable[[], int]:
    addresses = [f"direct://{path}" for path in files] if direct else files
    dataset = df.Dataset.from_files(addresses, fields="records_0")
    return partial(drain, df.Loader(dataset, batch_size=8, **options))


def h5py_loop(files: list[str]) -> int:
    """One sample after the other, as DLIO's reader does, with each file opened once."""
    moved = 0
    for path in files:
        with h5py.File(path, "r") as file:
            records = file["records_0"]
            for i in range(len(records)):
                moved += records[i].nbytes
    return moved


def h5py_batches(files: list[str], batch: int = 8) -> int:
    """The same, put together as what a training step takes."""
    moved = 0
    for path in files:
        with h5py.File(path, "r") as file:
            records = file["records_0"]
            for first in range(0, len(records), batch):
                moved += np.stack([records[i] for i in range(first, first + batch)]).nbytes
    return moved


def h5py_read_direct(files: list[str], batch: int = 8) -> Callable[[], int]:
    """Into one buffer that is used again."""
    with h5py.File(files[0], "r") as file:
        records = file["records_0"]
        buffer = np.zeros((batch, *records.shape[1:]), records.dtype)

    def run() -> int:
        moved = 0
        for path in files:
            with h5py.File(path, "r") as file:
                records = file["records_0"]
                for i in range(len(records)):
                    records.read_direct(buffer, np.s_[i], np.s_[i % batch])
                    moved += buffer[0].nbytes
        return moved

    return run


def in_threads(files: list[str], threads: int = 2) -> int:
    """The loop in several threads."""
    moved: list[int] = []
    workers = [
        threading.Thread(target=lambda own: moved.append(h5py_loop(own)), args=(files[t::threads],))
        for t in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(moved)


def hdf5_warm() -> Case:
    files = contiguous(24)
    data.warm(files)
    return Case(
        "hdf5_warm", "24 HDF5 files of 8 × 5 MiB, contiguous, batches of 8", data.total_bytes(files),
        {
            "h5py, records_0[i]": lambda: h5py_loop(files),
            "h5py, records_0[i], batches of 8": lambda: h5py_batches(files),
            "h5py, read_direct": h5py_read_direct(files),
            "dlio_fast": ours(files),
        },
        [
            Goal("against records_0[i]", "dlio_fast", "h5py, records_0[i]", 2.0, 3.0),
            Goal("against read_direct into a reused buffer", "dlio_fast", "h5py, read_direct", 1.5, 2.2),
        ],
    )  # fmt: skip


def hdf5_gzip() -> Case:
    files = packed(4)
    data.warm(files)
    return Case(
        "hdf5_gzip", "4 HDF5 files of 8 × 5 MiB, gzip-4 + shuffle, batches of 8", 4 * EACH * 5 * MIB,
        {
            "h5py, two threads": lambda: in_threads(files),
            "dlio_fast, two threads": ours(files, threads=2),
        },
        [Goal("against h5py", "dlio_fast, two threads", "h5py, two threads", 3.5, 5.0)],
    )  # fmt: skip


def hdf5_cold() -> Case:
    files = contiguous(24)

    return Case(
        "hdf5_cold", "24 HDF5 files of 8 × 5 MiB, cold, direct://", data.total_bytes(files),
        {
            **peers.fio_reading(files),
            "dlio_fast": ours(files, direct=True),
        },
        [Goal("against the best of fio", "dlio_fast", "fio", 0.85, 0.95)],
        cache="cold (O_DIRECT, caches dropped before each run)",
        before_each=data.drop_caches,
        rounds=8,
    )  # fmt: skip


def hdf5_generation() -> Case:
    count, size = 60, 5 * MIB
    folder = data.ROOT / "generated"

    def dlio() -> int:
        out = folder / "dlio"
        out.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng()
        for i in range(count // 4):  # a quarter: it is slow
            x = (rng.random((1, *SAMPLE), np.float32) * 255).astype(np.uint8)
            with h5py.File(out / f"f{i}.hdf5", "w", libver="latest") as file:
                file.create_dataset("records_0", x.shape, data=x)
                file.create_dataset("labels", data=np.zeros(1, np.int64))
        return count // 4 * size

    def own(scheme: str) -> Callable[[], int]:
        config = {
            "dataset": {
                "format": "hdf5", "num_files_train": count, "record_dims": list(SAMPLE),
                "data_folder": f"{scheme}{folder / 'ours'}",
            }
        }  # fmt: skip
        parsed = df.load_config(config)
        return lambda: generate(parsed).bytes

    def clean() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    return Case(
        "hdf5_generation", "Generate 60 × 5 MiB HDF5", count * size,
        {
            "DLIO's method": dlio, "dlio_fast, direct": own("direct://"), "dlio_fast, buffered": own(""),
        },
        [
            Goal("direct against DLIO's method", "dlio_fast, direct", "DLIO's method", 5.0, 10.0),
            Goal("buffered against DLIO's method", "dlio_fast, buffered", "DLIO's method", 5.0, 10.0),
        ],
        cache="no cache: files are written",
        before_each=clean,
        after=clean,
    )  # fmt: skip
