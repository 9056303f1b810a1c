"""Indexed binary files to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np


def write_indexed(path: Path, data: bytes, offsets: Sequence[int], sizes: Sequence[int]) -> Path:
    """Write a file of that data, and an index that says what it is told to."""
    path.write_bytes(data)
    write_index(path, offsets, sizes)
    return path


def write_index(path: Path, offsets: Sequence[int], sizes: Sequence[int]) -> None:
    """Write the two halves of a file's index."""
    for ending, values in ((".off.idx", offsets), (".sz.idx", sizes)):
        Path(f"{path}{ending}").write_bytes(np.array(values, np.uint64).tobytes())


def write_samples(path: Path, samples: Sequence[bytes]) -> Path:
    """Write samples back to back, with the index that fits."""
    sizes = [len(sample) for sample in samples]
    offsets = np.cumsum([0, *sizes])[:-1].tolist()
    return write_indexed(path, b"".join(samples), offsets, sizes)


def random_samples(count: int, nbytes: int, seed: int = 0) -> list[bytes]:
    """Samples of one size."""
    rng = np.random.default_rng(seed)
    return [rng.bytes(nbytes) for _ in range(count)]
