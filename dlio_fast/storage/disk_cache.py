"""Objects kept on local disk: which ones, and within how many bytes, for all processes that share a folder.

How they are read, and what a kept file looks like, is in csrc/dlf_disk_cache.h. Here is what is asked when an
object is not there. The folder holds

- ``00`` ... ``ff``: the kept files;
- ``filling``: files that are being filled, each locked (flock) by who does it: one without a lock is a dead
  process's;
- ``ledger``: the bytes of all of them, under a lock, and whether somebody died while changing it.

Files come and go whole, by renaming and unlinking; who reads one that is removed reads on.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .. import _core
from ..errors import ConfigError
from .file_locks import lock_of, locked, open_file, release

OPTIONS = ("cache_dir", "cache_dir_bytes")
"""Names among a store's options that are the cache's."""

_BLOCK = 4096
_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}-[0-9a-f]+")
_FOLDER = re.compile(r"[0-9a-f]{2}")
_LEDGER = struct.Struct("<QQ")

logger = logging.getLogger("dlio_fast")


@dataclass(frozen=True)
class CacheSettings:
    """A folder, and the most bytes in it; None: half of what is free there, its own bytes included."""

    folder: str
    most: int | None = None

    @classmethod
    def of_options(cls, *sources: Mapping[str, Any]) -> CacheSettings | None:
        """What storage options say, the first of which wins; None: nothing is kept.

        Raises
        ------
        ConfigError
            The folder is no path, or the bytes no number of at least 1.
        """
        folder, most = (
            next((source[name] for source in sources if source.get(name) not in (None, "")), None)
            for name in OPTIONS
        )
        if most is not None:
            if not str(most).isdigit() or int(most) < 1:
                raise ConfigError("cache_dir_bytes: must be a number of bytes, at least 1")
            if folder is None:
                raise ConfigError("cache_dir_bytes: needs a cache_dir")
        if folder is None:
            return None
        if not isinstance(folder, (str, os.PathLike)):
            raise ConfigError(f"cache_dir: must be a folder's path, not {type(folder).__name__}")
        path = os.path.abspath(os.path.expanduser(folder))
        return cls(path, None if most is None else int(most))


def with_cache(
    storage_options: Mapping[str, Any] | None,
    cache_dir: str | os.PathLike[str] | None,
    cache_dir_bytes: int | None,
) -> Mapping[str, Any] | None:
    """Storage options together with the arguments for the cache."""
    if cache_dir is None and cache_dir_bytes is None:
        return storage_options
    given = {"cache_dir": cache_dir, "cache_dir_bytes": cache_dir_bytes}
    return {**(storage_options or {}), **{name: value for name, value in given.items() if value is not None}}


def without_cache(options: Mapping[str, Any]) -> dict[str, Any]:
    """Storage options without those for the cache."""
    return {name: value for name, value in options.items() if name not in OPTIONS}


def cached_store(inner: _core.Store, settings: CacheSettings, identity: bytes) -> _core.Store:
    """A store that keeps another one's objects; `identity` tells that from others with the same addresses."""
    folder = os.fsencode(settings.folder)
    return _core.DiskCacheStore(
        inner, DiskCache(settings), folder=folder, identity=identity, stamp=_start_of_machine()
    )


def _start_of_machine() -> int:
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return _core.etag_version(file.read())
    except OSError:
        return int.from_bytes(os.urandom(8))  # every process then looks at the checksums


class DiskCache:
    """What ``_core.DiskCacheStore`` asks; for all threads of one process.

    Parameters
    ----------
    settings : CacheSettings
    """

    AGAIN = -1
    ELSEWHERE = -2

    def __init__(self, settings: CacheSettings):
        self._folder = settings.folder
        self._filling = os.path.join(settings.folder, "filling")
        self._most = settings.most
        self._off = False
        self._oldest: deque[tuple[int, str]] = deque()  # of the latest scan; used under the ledger's lock
        try:
            self._remove_leftovers()
        except OSError as error:
            self._give_up(error)

    def begin(self, name: str, nbytes: int, version: int, cancelled: Callable[[], bool]) -> int:
        """A descriptor for a file of that size to be filled, or AGAIN, or ELSEWHERE.

        Raises
        ------
        ClosedError
            `cancelled` while waiting for another who fills it.
        """
        if self._off:
            return self.ELSEWHERE
        if not version:
            if nbytes > _core.DISK_CACHE_TAIL:  # of nothing some stores tell no ETag
                _warn_once(self._folder, "version", "objects without an ETag cannot be told apart, nor kept")
            return self.ELSEWHERE
        try:
            return self._begin(name, nbytes, cancelled)
        except OSError as error:
            self._give_up(error)
            return self.ELSEWHERE

    def _begin(self, name: str, nbytes: int, cancelled: Callable[[], bool]) -> int:
        if self._most is not None and space_of(nbytes) > self._most:
            return self._too_large(nbytes)
        for folder in (self._folder, self._filling):
            os.makedirs(folder, 0o700, exist_ok=True)
        part = self._part(name)
        descriptor = locked(part, cancelled)
        if descriptor is None:
            return self.ELSEWHERE
        try:
            with self._ledger() as ledger:
                if self._most is None:
                    self._most = (_free(self._folder) + ledger.total) // 2
                ledger.total -= space_of(os.fstat(descriptor).st_size)  # a dead process's
                os.ftruncate(descriptor, 0)
                there = os.path.exists(os.path.join(self._folder, name))
                given = self.AGAIN if there else self.ELSEWHERE
                if not there and self._make_room(ledger, space_of(nbytes)):
                    _allocate(descriptor, nbytes)
                    ledger.total += space_of(nbytes)
                    return descriptor
                os.unlink(part)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            release(descriptor)
            raise
        release(descriptor)
        return self._too_large(nbytes) if space_of(nbytes) > self._most else given

    def finish(self, name: str, descriptor: int, error: int) -> bool:
        """End what :meth:`begin` began: the file gets its name, or with an `error` it is removed.

        Parameters
        ----------
        error : int
            0; -errno of what the disk refused; 1: something else failed.

        Returns
        -------
        bool
            The file is kept.
        """
        part, kept = self._part(name), False
        try:
            if not error:
                final = os.path.join(self._folder, name)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(os.path.dirname(final), 0o700)
                os.rename(part, final)
                kept = True
        except OSError as refused:
            error = -(refused.errno or errno.EIO)
        try:
            if not kept:
                with self._ledger() as ledger:
                    ledger.total -= space_of(os.fstat(descriptor).st_size)
                    os.unlink(part)
        except OSError as refused:
            error = -(refused.errno or errno.EIO)
        finally:
            release(descriptor)
        if error < 0:
            self._give_up(OSError(-error, os.strerror(-error)))
        return kept

    def discard(self, name: str, inode: int) -> None:
        """Remove a damaged file, not one that has taken its place."""
        path = os.path.join(self._folder, name)
        logger.warning("%s: the kept copy is damaged; fetching the object anew", path)
        try:
            with self._ledger() as ledger:
                if os.stat(path).st_ino == inode:
                    os.unlink(path)
                    ledger.total -= _space_of_kept(name)
        except FileNotFoundError:
            pass
        except OSError as error:
            self._give_up(error)

    def _part(self, name: str) -> str:
        return os.path.join(self._filling, name.replace("/", "-"))

    def _too_large(self, nbytes: int) -> int:
        _warn_once(
            self._folder,
            "size",
            f"objects larger than cache_dir_bytes ({self._most}) are not kept, such as one of {nbytes} bytes",
        )
        return self.ELSEWHERE

    def _give_up(self, error: OSError) -> None:
        self._off = True
        reason = error.strerror or type(error).__name__
        _warn_once(self._folder, "error", f"this process keeps nothing more there: {reason}")

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[_Ledger]:
        descriptor = open_file(os.path.join(self._folder, "ledger"))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            data = os.pread(descriptor, _LEDGER.size, 0)
            total, changing = _LEDGER.unpack(data) if len(data) == _LEDGER.size else (0, 1)
            ledger = _Ledger(total)
            if changing:  # new, or somebody died meanwhile
                self._scan(ledger)
            os.pwrite(descriptor, _LEDGER.pack(ledger.total, 1), 0)
            yield ledger
            os.pwrite(descriptor, _LEDGER.pack(max(0, ledger.total), 0), 0)
        finally:
            release(descriptor)

    def _make_room(self, ledger: _Ledger, space: int) -> bool:
        """Remove what was not used for longest; False: there is nothing left to remove."""
        assert self._most is not None
        scanned = False
        while ledger.total + space > self._most:
            if not self._oldest:
                if scanned:
                    return False
                self._scan(ledger)
                scanned = True
                continue
            used, path = self._oldest.popleft()
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_atime_ns == used:  # else it was used since the scan
                    os.unlink(path)
                    ledger.total -= _space_of_kept(path)
        return True

    def _scan(self, ledger: _Ledger) -> None:
        """Count anew, and see what was not used for longest."""
        found = []
        ledger.total = 0
        for folder in _entries(self._folder):
            filling = folder.name == "filling"
            if not filling and not _FOLDER.fullmatch(folder.name):
                continue
            for file in _entries(folder.path):
                with contextlib.suppress(FileNotFoundError):
                    status = file.stat(follow_symlinks=False)
                    if filling:
                        ledger.total += space_of(status.st_size)
                    elif _NAME.fullmatch(file.name):
                        ledger.total += _space_of_kept(file.name)
                        found.append((status.st_atime_ns, file.path))
        self._oldest = deque(sorted(found))

    def _remove_leftovers(self) -> None:
        for file in _entries(self._filling):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), lock_of(file.path) as descriptor:
                with self._ledger() as ledger:
                    ledger.total -= space_of(os.fstat(descriptor).st_size)
                    os.unlink(file.path)


@dataclass
class _Ledger:
    total: int


def space_of(nbytes: int) -> int:
    """What a file of that size takes on disk, as file systems usually have it."""
    return -(-nbytes // _BLOCK) * _BLOCK


def _space_of_kept(name: str) -> int:
    # what was counted for it, whatever somebody has made of it since
    return space_of(int(name.rpartition("-")[2], 16) + _core.DISK_CACHE_TAIL)


def _free(folder: str) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _allocate(descriptor: int, nbytes: int) -> None:
    """Take the room now: a full disk shows before anything is fetched, and leftovers count in full."""
    try:
        os.posix_fallocate(descriptor, 0, nbytes)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise
        os.ftruncate(descriptor, nbytes)


_warned: set[tuple[str, str]] = set()


def _warn_once(folder: str, about: str, what: str) -> None:
    if (folder, about) not in _warned:
        _warned.add((folder, about))
        logger.warning("cache_dir %s: %s", folder, what)
