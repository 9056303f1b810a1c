"""What of a set of files lies in the page cache, and how to get it out."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import stat
import sys
from collections.abc import Iterator, Sequence

import numpy as np

SAMPLE = 32
_DROP = "/proc/sys/vm/drop_caches"
_MEMORY = {0x01021994: "tmpfs", 0x858458F6: "ramfs"}  # statfs(2)'s f_type


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
        with _opened(path) as fd:
            content = np.frombuffer(mmap.mmap(fd, 0, prot=mmap.PROT_READ), np.uint8)
    except (OSError, ValueError):  # ValueError: no regular file, or an empty one
        return None
    pages = np.empty(-(-len(content) // mmap.PAGESIZE), np.uint8)
    address, length = ctypes.c_void_p(content.ctypes.data), ctypes.c_size_t(len(content))
    failed = ctypes.CDLL(None).mincore(address, length, ctypes.c_void_p(pages.ctypes.data))
    return None if failed else pages


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open a regular file for looking at; anything else is a ValueError, and a FIFO does not block."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ValueError("not a regular file")
        yield fd
    finally:
        os.close(fd)


def memory_filesystem(paths: Sequence[str]) -> str | None:
    """Return "tmpfs" or "ramfs" where the first file lies in one, whose files are never on storage."""
    if not len(paths):
        return None
    found = ctypes.create_string_buffer(1024)  # struct statfs has a tenth of that; f_type comes first
    if ctypes.CDLL(None).statfs(os.fsencode(paths[0]), found):
        return None
    kind = int.from_bytes(found.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)
    return _MEMORY.get(kind & 0xFFFFFFFF)


def cache_state(resident: float | None) -> str:
    """Return the word for a resident fraction: "cold", "warm", "partly warm" or "unknown"."""
    if resident is None:
        return "unknown"
    return "cold" if resident < 0.02 else "warm" if resident > 0.98 else "partly warm"


def drop_caches(paths: Sequence[str]) -> str:
    """Write back what is dirty and drop the page cache: all of it as root, else that of the files.

    Files that cannot be opened are left out: whoever reads them will say so.

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
        with contextlib.suppress(OSError, ValueError), _opened(path) as fd:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return "fadvise"
