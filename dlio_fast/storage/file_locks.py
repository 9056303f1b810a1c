"""Locks of files (flock) that processes share: they end with whoever has them, and no child inherits them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator

from ..errors import ClosedError

PATIENCE = 30.0
"""Seconds without a byte after which another's file is not waited for any longer."""
LOOK_EVERY = 0.002
"""Seconds between two looks at whether its lock is free."""

# Locks belong to open files, which a fork shares: the child closes its own at once, or it would hold on to
# them when the parent dies.
_held: set[int] = set()


def open_file(path: str, flags: int = os.O_CREAT) -> int:
    """Open a file that is to be locked, for reading and writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    _held.add(descriptor)
    return descriptor


def release(descriptor: int) -> None:
    """Unlock and close."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    _held.discard(descriptor)
    os.close(descriptor)


@contextlib.contextmanager
def lock_of(path: str) -> Iterator[int]:
    """The lock of a file that is there; BlockingIOError: somebody has it, FileNotFoundError."""
    descriptor = open_file(path, 0)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(descriptor, path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        yield descriptor
    finally:
        release(descriptor)


def locked(path: str, cancelled: Callable[[], bool]) -> int | None:
    """The file under its lock, made where it is not there; None: who has the lock does not get on."""
    while True:
        descriptor = open_file(path)
        try:
            if not _await_lock(descriptor, path, cancelled):
                release(descriptor)
                return None
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            release(descriptor)
            raise
        release(descriptor)  # it was filled and renamed, or removed, while we waited


def _await_lock(descriptor: int, path: str, cancelled: Callable[[], bool]) -> bool:
    written, since = -1, time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        if cancelled():
            raise ClosedError(f"{path}: waiting for another process was cancelled")
        now, modified = time.monotonic(), os.fstat(descriptor).st_mtime_ns
        if modified != written:
            written, since = modified, now
        if now - since > PATIENCE:
            return False
        time.sleep(LOOK_EVERY)


def _is_at(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _close_inherited() -> None:
    while _held:
        with contextlib.suppress(OSError):
            os.close(_held.pop())


os.register_at_fork(after_in_child=_close_inherited)
