"""The exception family.

Every failure that dlio_fast can foresee is a :class:`DlioFastError`. Those that
stand for an operating-system error are also the matching :class:`OSError`
subclass, so ``except FileNotFoundError`` works as everywhere else.
"""

from __future__ import annotations

import errno
import os
from typing import Any


class DlioFastError(Exception):
    """Base of everything that dlio_fast raises on purpose."""


class ConfigError(DlioFastError, ValueError):
    """A configuration that cannot be used: names file, key path, value and what is accepted."""


class MissingDependencyError(DlioFastError, ImportError):
    """An optional package is not installed; the message names the extra to install."""


class DataError(DlioFastError, ValueError):
    """A file's contents cannot be used.

    Attributes
    ----------
    path : str
        The file.
    member : str or None
        The archive member, where there is one.
    offset : int or None
        The byte of the file where the fault was noticed.
    """

    def __init__(self, message: str, path: str = "", member: str | None = None, offset: int | None = None):
        super().__init__(message)
        self.path = path
        self.member = member
        self.offset = offset

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.args[0], self.path, self.member, self.offset)


class FormatError(DataError):
    """The file is not of the format it claims to be, or is malformed."""


class TruncatedError(FormatError):
    """The file ends before what its own headers promise."""


class ChecksumError(DataError):
    """The stored checksum does not match the bytes that were read."""


class UnsupportedError(DataError):
    """The file is valid but uses what dlio_fast refuses: encryption, object arrays, an unknown method."""


class MemberError(DataError, KeyError):
    """The archive has no member of that name."""

    __str__ = Exception.__str__  # KeyError would print the message's repr


class SampleError(DataError, IndexError):
    """The file does not hold the sample that was asked for, or another number of samples than expected."""


class FileChangedError(DataError):
    """The file shrank or was replaced while it was being read."""


class NotRegularFileError(DataError):
    """A directory, FIFO, socket or device where a file was expected."""


class ClosedError(DlioFastError, RuntimeError):
    """The loader, ring or dataset has been closed."""


class StateError(DlioFastError, ValueError):
    """A saved state that this loader cannot go on from: of other data, another order, or no state at all."""


class DlioFastOSError(DlioFastError, OSError):
    """An operating-system error; :func:`os_error` picks the subclass that fits its errno."""


_OS_CLASSES: dict[type[OSError], type[DlioFastOSError]] = {OSError: DlioFastOSError}


def os_error(code: int, message: str, path: str) -> OSError:
    """Build the exception for a positive errno: a ``DlioFastError`` and the right ``OSError`` subclass."""
    base = type(OSError(code, ""))
    cls = _OS_CLASSES.get(base)
    if cls is None:
        cls = _OS_CLASSES[base] = _CLASSES_BY_NAME.get(base.__name__, DlioFastOSError)
    return cls(code, message or os.strerror(code), path)


class DlioFastFileNotFoundError(DlioFastOSError, FileNotFoundError):
    """A file or directory does not exist."""


class DlioFastPermissionError(DlioFastOSError, PermissionError):
    """A file may not be read or written."""


class DlioFastIsADirectoryError(DlioFastOSError, IsADirectoryError):
    """A directory where a file was expected."""


class DlioFastNotADirectoryError(DlioFastOSError, NotADirectoryError):
    """A file where a directory was expected."""


class DlioFastFileExistsError(DlioFastOSError, FileExistsError):
    """A file that must not exist does."""


class DlioFastTimeoutError(DlioFastOSError, TimeoutError):
    """The storage did not answer in time."""


class StoreError(DlioFastOSError):
    """An object store refused a request, or kept failing; the message has its answer."""


_CLASSES_BY_NAME: dict[str, type[DlioFastOSError]] = {
    cls.__name__.removeprefix("DlioFast"): cls
    for cls in (
        DlioFastFileNotFoundError, DlioFastPermissionError, DlioFastIsADirectoryError,
        DlioFastNotADirectoryError, DlioFastFileExistsError, DlioFastTimeoutError,
    )
}  # fmt: skip


class DiskFullError(DlioFastOSError):
    """The target lacks the room; raised before anything is written where it can be foreseen."""

    def __init__(self, message: str, path: str = ""):
        super().__init__(errno.ENOSPC, message, path)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.strerror, self.filename)
