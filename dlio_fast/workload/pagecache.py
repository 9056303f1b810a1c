"""What of a set of files lies in the page cache, and how to get it out."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence

import numpy as np

SAMPLE = 32
_DROP = "/proc/sys/vm/drop_caches"


def resident_fraction(paths: Sequence[str], sample: int = SAMPLE) -> float | None:
    """Return which fraction of the files' pages is in the page cache; asks, and changes nothing.

    Parameters
    ----------
    paths : sequence of str
    sample : int
        So many files at most are looked at, evenly spread.

    Returns
    -------
    float or None
        None where nothing can be told: no bytes, or files that the kernel tells only their owner about.
    """
    step = max(1, -(-len(paths) // sample))
    resident = pages = 0
    for index in range(0, len(paths), step):
        found = _resident_pages(paths[index])
        if found is not None:
            resident += int(np.count_nonzero(found & 1))
            pages += len(found)
    return resident / pages if pages else None


def _resident_pages(path: str) -> np.ndarray | None:
    """Return mincore(2)'s vector of a file; None where there is none, or it would not be the truth."""
    if not os.access(path, os.W_OK):
        return None  # the kernel then says that all pages are resident
    try:
        with open(path, "rb") as file:
            content = np.frombuffer(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ), np.uint8)
    except (OSError, ValueError):  # ValueError: the file is empty
        return None
    pages = np.empty(-(-len(content) // mmap.PAGESIZE), np.uint8)
    address, length = ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(len(content))
    failed = ctypes.CDLL(None).mincore(address, length, ctypes.c_void_p(pages.ctypes.data))
    return None if failed else pages


def cache_state(resident: float | None) -> str:
    """Return the word for a resident fraction: "cold", "warm", "partly warm" or "unknown"."""
    if resident is None:
        return "unknown"
    return "cold" if resident < 0.02 else "warm" if resident > 0.98 else "partly warm"


def drop_caches(paths: Sequence[str]) -> str:
    """Write back what is dirty and drop the page cache: all of it as root, else that of the files.

    Returns
    -------
    str
        How: "drop_caches" or "fadvise". The latter is advice: :func:`resident_fraction` tells the outcome.
    """
    os.sync()
    try:
        with open(_DROP, "w") as control:
            control.write("3")
        return "drop_caches"
    except OSError:
        pass
    for path in paths:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)
    return "fadvise"
