"""A file object that is written past the page cache."""

from __future__ import annotations

import errno
import fcntl
import io
import mmap
import os
from collections.abc import Callable
from typing import Any

GRAIN = 4096  # what O_DIRECT wants offsets, lengths and addresses to be multiples of
STAGE = 4 << 20


class StagedFile(io.RawIOBase):
    """A new file that gathers what is appended to it in an aligned buffer and writes that by O_DIRECT.

    What is written or read further ahead, a header that gets its sizes at the end, goes through the page
    cache by a second descriptor. Where the file system refuses O_DIRECT after all, everything does.

    Parameters
    ----------
    path : str
        Must not exist.
    count : callable
        Told how many bytes were written, each time; what it raises ends the writing.

    Attributes
    ----------
    fallback_reason : str or None
        Why O_DIRECT was not used.
    failure : BaseException or None
        The first exception that writing raised.

    Raises
    ------
    OSError
        With EINVAL where the file system has no O_DIRECT.
    """

    def __init__(self, path: str, count: Callable[[int], None]):
        super().__init__()
        self.fallback_reason: str | None = None
        self.failure: BaseException | None = None
        self._count = count
        self._fd = -1
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_DIRECT, 0o666)
        try:
            self._plain = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            os.close(self._fd)
            self._fd = -1
            raise
        self._stage = memoryview(mmap.mmap(-1, STAGE))
        self._start = 0  # the offset in the file of what is staged, a multiple of GRAIN
        self._used = 0
        self._pos = 0

    @property
    def descriptor(self) -> int:
        """The file's; :meth:`fileno` refuses, since libraries would write to it behind the object's back."""
        return self._fd

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._pos

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = (0, self._pos, self._end)[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._pos = base + offset
        return self._pos

    def write(self, data: Any, /) -> int:
        try:
            return self._write(memoryview(data).cast("B"))
        except BaseException as error:
            self.failure = self.failure or error
            raise

    def readinto(self, out: Any, /) -> int:
        view = memoryview(out).cast("B")
        total = len(view) if self._pos + len(view) <= self._end else max(0, self._end - self._pos)
        before = max(0, min(total, self._start - self._pos))
        done = 0
        while done < before:
            n = os.preadv(self._plain, [view[done:before]], self._pos + done)
            if not n:
                raise OSError(errno.EIO, "the file was cut short while it was written")
            done += n
        at = self._pos + before - self._start
        view[before:total] = self._stage[at : at + total - before]
        self._pos += total
        return total

    def truncate(self, size: int | None = None, /) -> int:
        size = self._pos if size is None else size
        if size < self._start:
            self._start, self._used = size - size % GRAIN, size % GRAIN
            self._stage[: self._used] = os.pread(self._plain, self._used, self._start)
            os.ftruncate(self._plain, size)
        elif size <= self._end:
            self._used = size - self._start
        else:
            self._append_zeros(size - self._end)
        return size

    def flush(self) -> None:
        """Write everything; the last, incomplete block is written again with what follows it."""
        if self._fd < 0:
            return
        end, rest = self._end, self._used % GRAIN
        whole = self._used + (GRAIN - rest) % GRAIN
        if whole:
            self._stage[self._used : whole] = bytes(whole - self._used)
            self._put(whole)
            self._stage[:rest] = bytes(self._stage[whole - GRAIN : whole - GRAIN + rest])
            self._start, self._used = end - rest, rest
        os.ftruncate(self._plain, end)

    def close(self) -> None:
        """Write what is staged, unless writing has failed, and close the file."""
        try:
            if self.failure is None:
                self.flush()
        finally:
            self.discard()

    def discard(self) -> None:
        """Close the file without writing what is staged."""
        if self._fd >= 0:
            os.close(self._fd)
            os.close(self._plain)
            self._fd = -1
        super().close()

    @property
    def _end(self) -> int:
        return self._start + self._used

    def _write(self, data: memoryview) -> int:
        total = len(data)
        if self._pos > self._end:
            self._append_zeros(self._pos - self._end)
        while len(data):
            if self._pos < self._start:
                part = min(len(data), self._start - self._pos)
                done = os.pwrite(self._plain, data[:part], self._pos)
            else:
                at = self._pos - self._start
                done = min(len(data), STAGE - at)
                self._stage[at : at + done] = data[:done]
                self._used = max(self._used, at + done)
            self._pos += done
            data = data[done:]
            if self._used == STAGE:
                self._put(STAGE)
                self._start, self._used = self._start + STAGE, 0
        return total

    def _append_zeros(self, count: int) -> None:
        """Make the file longer; `_pos` stays."""
        pos, self._pos = self._pos, self._end
        while count:
            part = min(count, 1 << 20)
            self._write(memoryview(bytes(part)))
            count -= part
        self._pos = pos

    def _put(self, nbytes: int) -> None:
        """Write the first bytes of the stage to their place; `nbytes` is a multiple of GRAIN."""
        done = 0
        while done < nbytes:
            self._count(0)
            try:
                n = os.pwrite(self._fd, self._stage[done:nbytes], self._start + done)
            except OSError as error:
                if error.errno != errno.EINVAL or self.fallback_reason:
                    raise
                flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
                fcntl.fcntl(self._fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)
                self.fallback_reason = f"the file system refuses O_DIRECT writes ({error.strerror})"
                continue
            # A short direct write may end between blocks: go on from the last whole one.
            n -= 0 if self.fallback_reason or done + n == nbytes else n % GRAIN
            if not n:
                raise OSError(errno.EIO, "the device accepts no more bytes")
            done += n
        self._count(nbytes)
