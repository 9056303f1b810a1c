"""DLIO's sample sizes, file by file.

Without `record_dims` a sample is a square of ``d = int(sqrt(record_length_bytes))`` elements a side, of
whatever element type: the bytes are ``d * d * itemsize``, which is `record_length_bytes` only for square
lengths of one-byte elements. With `record_length_bytes_stdev` each file draws its own two sides from a
random stream that starts anew with seed 10, two normal draws a file, evaluation files after training
files; all samples of one file have one size. The stream does not depend on how many files follow, so
every data set of a workload begins with the same sizes.
"""

from __future__ import annotations

import functools
import math

import numpy as np

_STREAM_SEED = 10


def side(nbytes: float) -> int:
    """Return the side of DLIO's square sample for a record of `nbytes` bytes."""
    return int(math.sqrt(nbytes))


def ragged_sides(record_bytes: float, stdev: float, n_files: int) -> np.ndarray:
    """Return the two sides of the samples of each file.

    Parameters
    ----------
    record_bytes, stdev : float
        `record_length_bytes` and `record_length_bytes_stdev`.
    n_files : int
        How many files, counted from the first training file.

    Returns
    -------
    numpy.ndarray
        int64, shape (n_files, 2), read-only, at least 1.
    """
    # A power of two of files is drawn and kept, so that asking file by file costs one stream, not n.
    capacity = 1 << max(6, (n_files - 1).bit_length())
    return _ragged_sides(float(record_bytes), float(stdev), capacity)[:n_files]


@functools.lru_cache(maxsize=2)
def _ragged_sides(record_bytes: float, stdev: float, n_files: int) -> np.ndarray:
    sigma = stdev / 2.0 / math.sqrt(record_bytes)
    draws = np.random.RandomState(_STREAM_SEED).normal(side(record_bytes), sigma, size=2 * n_files)
    sides = np.clip(draws, 1, 2**62).astype(np.int64).reshape(n_files, 2)
    sides.flags.writeable = False
    return sides
