"""Files that appear whole or not at all: each is written under a temporary name and renamed."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from .. import _core
from ..errors import ClosedError, DiskFullError, DlioFastError, os_error
from ..storage.staged import StagedFile
from .layout import FileLayout

_BUFFER = 256 << 10


class Writer:
    """Writes files, from any number of threads at once.

    Parameters
    ----------
    direct : bool
        Past the page cache, where the file system lets it.
    sync : bool
        A file has its name only once its bytes are on the device.
    """

    def __init__(self, *, direct: bool = False, sync: bool = False):
        self.direct = direct
        self.sync = sync
        self.cancelled = False
        self._core = _core.FileWriter()
        self._encoded = 0
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Make running and later calls raise ClosedError, from any thread; their files are removed."""
        self.cancelled = True
        self._core.cancel()

    @property
    def bytes_written(self) -> int:
        """Bytes written so far, by files that are not finished too."""
        return self._core.bytes_written + self._encoded

    def write_layout(
        self, path: str, layout: FileLayout, *, seed: int, stream: int, kind: int
    ) -> tuple[int, str | None]:
        """Write a file whose payload is random; see csrc/dlf_write.h.

        Returns
        -------
        (int, str or None)
            Its bytes, and why O_DIRECT was not used although it was asked for.
        """
        with full_disk(path):
            _, reason = self._core.write(
                _temporary(path), path, layout.head, layout.payload_nbytes, layout.tail,
                seed=seed, stream=stream, kind=kind,
                crc_from=layout.crc_from, crc_in_head=layout.crc_in_head, crc_in_tail=layout.crc_in_tail,
                direct=self.direct, sync=self.sync,
            )  # fmt: skip
        return layout.nbytes, reason

    def write_encoded(
        self, path: str, encode: Callable[[IO[bytes]], object], *, direct: bool | None = None
    ) -> tuple[int, str | None]:
        """Write what `encode` writes to a file object, which can be read and sought in too.

        `direct` overrides the writer's. Returns what :meth:`write_layout` does.
        """
        temp = _temporary(path)
        direct = self.direct if direct is None else direct
        with full_disk(path), typed_errors("writing failed", path):
            raw, reason = _open_temp(temp, direct, self._count)
            try:
                with raw if direct and not reason else io.BufferedRandom(raw, _BUFFER) as file:
                    encode(file)
                    file.flush()
                    nbytes = os.fstat(raw.descriptor).st_size
                    if self.sync:
                        os.fsync(raw.descriptor)
                    if self.cancelled:
                        raise ClosedError(f"{path}: writing was cancelled")
                    os.replace(temp, path)
            except BaseException as error:
                with suppress(FileNotFoundError):
                    os.unlink(temp)
                # Libraries make exceptions of their own of what the file object raised.
                if self.cancelled and not isinstance(error, ClosedError):
                    raise ClosedError(f"{path}: writing was cancelled") from error
                if raw.failure is not None and raw.failure is not error:
                    raise raw.failure from error
                raise
        return nbytes, reason or raw.fallback_reason

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a small file, through the page cache."""
        self.write_encoded(path, lambda file: file.write(data), direct=False)

    def _count(self, nbytes: int) -> None:
        if self.cancelled:
            raise ClosedError("writing was cancelled")
        with self._lock:
            self._encoded += nbytes


@contextmanager
def typed_errors(what: str, path: str) -> Iterator[None]:
    """Turn an OSError into the exception family's, saying what failed and at which path."""
    try:
        yield
    except DlioFastError:
        raise
    except OSError as error:
        message = f"{error.strerror}: {what}" if error.strerror else f"{what}: {error}"
        raise os_error(error.errno or errno.EIO, message, str(error.filename or path)) from error


@contextmanager
def full_disk(path: str) -> Iterator[None]:
    """Turn the error of a full disk into DiskFullError."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{os.strerror(error.errno)}; this file was removed again", path) from error
        raise


def _temporary(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.{os.getpid()}.tmp")


def _open_temp(path: str, direct: bool, count: Callable[[int], None]) -> tuple[Any, str | None]:
    """Create and lock a temporary file, as csrc/dlf_write.c does it."""
    reason = None
    while True:
        try:
            file = StagedFile(path, count) if direct and not reason else _CountedFile(path, count)
        except OSError as error:
            if not direct or reason or error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            reason = f"the file system refuses O_DIRECT at open ({error.strerror})"
            if os.path.exists(path):  # some kernels refuse only once the file exists
                os.unlink(path)
            continue
        try:
            fcntl.flock(file.descriptor, fcntl.LOCK_EX)
        except OSError:
            pass  # not every file system has locks
        if os.fstat(file.descriptor).st_nlink:
            return file, reason
        file.discard()  # another run took it for a dead one's


def remove_if_dead(path: str) -> bool:
    """Remove a temporary file unless somebody is writing it, who would hold its lock."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def sync_folder(folder: str) -> None:
    """Bring what was made in a folder, and renamed, to the device."""
    with typed_errors("the folder cannot be synchronised", folder):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def remove_dead(folder: str, suffix: str) -> None:
    """Remove what dead runs left unfinished in a folder of files of that suffix, and of their index files."""
    name = re.compile(rf"\..+{re.escape(suffix)}.*\.\d+\.tmp")
    with typed_errors("the folder cannot be listed", folder), os.scandir(folder) as entries:
        for entry in entries:
            if name.fullmatch(entry.name):
                remove_if_dead(entry.path)


def holds(path: str, data: bytes | memoryview) -> bool:
    """Tell whether a file has these contents."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size != len(data):
                return False
            view = memoryview(data)
            return all(
                file.read(_BUFFER) == bytes(view[start : start + _BUFFER])
                for start in range(0, len(view), _BUFFER)
            )
    except OSError:
        return False


class _CountedFile(io.FileIO):
    """A new file that says how much is written to it, and remembers why it could not be."""

    fallback_reason = None

    def __init__(self, path: str, count: Callable[[int], None]):
        super().__init__(path, "x+")
        self.failure: BaseException | None = None
        self._count = count

    @property
    def descriptor(self) -> int:
        return super().fileno()

    def fileno(self) -> int:
        """Refuse: libraries would write to it behind the object's back."""
        raise io.UnsupportedOperation("fileno")

    def write(self, data: Any, /) -> int:
        try:
            done = super().write(data)
            self._count(done)
        except BaseException as error:
            self.failure = self.failure or error
            raise
        return done

    def discard(self) -> None:
        self.close()
