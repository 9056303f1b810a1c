"""Where files are written to: a local folder, or a folder of a store."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol

from .._limits import default_threads, memory_limit
from ..config import backend_of, folder_of, is_remote, split_address
from ..config.data import StorageSection
from ..errors import ConfigError, FileChangedError
from ..formats.writing import Writer, holds, remove_dead, sync_folder, typed_errors
from ..storage.files import FileList, list_folder
from ..storage.local import Address

if TYPE_CHECKING:
    from ..formats.object_writing import ObjectWriter
    from ..storage.remote import RemoteStore

IN_FLIGHT = 512 << 20
"""Bytes of memory for objects that are being written, all threads together."""


class Place(Protocol):
    """A folder and what can be done in it; all paths are complete.

    Attributes
    ----------
    folder : str
    direct : bool
        Written past the page cache.
    store : RemoteStore or None
        None: it is local.
    """

    folder: str
    direct: bool
    store: RemoteStore | None

    def check(self) -> None:
        """Raise what is wrong with the store, before any work begins."""
        ...

    def writer(self, sync: bool) -> Writer | ObjectWriter:
        """What writes files."""
        ...

    def threads(self, file_nbytes: float) -> int:
        """How many files to write at once, by default; of a store, at most."""
        ...

    def make_folders(self, folders: Iterable[str]) -> None:
        """Create them, where such a place has folders."""
        ...

    def sync_folders(self, folders: Iterable[str]) -> None:
        """Bring the names in them to the device."""
        ...

    def exists(self, path: str) -> bool:
        """Tell whether something has that name."""
        ...

    def holds(self, path: str, data: bytes | memoryview) -> bool:
        """Tell whether a file has these contents."""
        ...

    def matches(self, path: str, test: Callable[[IO[bytes]], bool]) -> bool:
        """Tell whether there is a file, and whether it passes a test."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file."""
        ...

    def remove_dead(self, folder: str, suffix: str) -> None:
        """Remove what dead runs left unfinished of files with that suffix."""
        ...

    def listed(self, folder: str, suffixes: Iterable[str]) -> FileList:
        """The data files of a folder, as a reader finds them."""
        ...


def place_of(
    address: Address,
    storage_options: Mapping[str, Any] | None = None,
    storage: StorageSection | None = None,
    *,
    what: str = "dataset.data_folder",
) -> Place:
    """Return where an address leads.

    Raises
    ------
    ConfigError
        It names no folder, or options that its store does not take; `what` is how messages call it.
    """
    text = os.fsdecode(os.fspath(address))
    if is_remote(text):
        from ..storage.remote import remote_store  # with fsspec and all

        return StorePlace(folder_of(text), remote_store(text, storage_options, storage).uncached())
    scheme, path = split_address(text)
    if not path:
        raise ConfigError(f"{what}: {text!r} names no folder")
    return LocalPlace(os.path.normpath(path), backend_of(scheme) == "direct")


class LocalPlace:
    """A folder of a local file system."""

    store: RemoteStore | None = None

    def __init__(self, folder: str, direct: bool = False):
        self.folder = folder
        self.direct = direct

    def check(self) -> None:
        pass

    def writer(self, sync: bool) -> Writer:
        return Writer(direct=self.direct, sync=sync)

    def threads(self, file_nbytes: float) -> int:
        return default_threads(self.direct)

    def make_folders(self, folders: Iterable[str]) -> None:
        for folder in folders:
            with typed_errors("the folder cannot be created", folder):
                os.makedirs(folder, exist_ok=True)

    def sync_folders(self, folders: Iterable[str]) -> None:
        for folder in folders:
            sync_folder(folder)

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def holds(self, path: str, data: bytes | memoryview) -> bool:
        return holds(path, data)

    def matches(self, path: str, test: Callable[[IO[bytes]], bool]) -> bool:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            with open(fd, "rb") as file:
                return stat.S_ISREG(os.fstat(fd).st_mode) and test(file)
        except OSError:
            return False

    def remove(self, path: str) -> None:
        os.unlink(path)

    def remove_dead(self, folder: str, suffix: str) -> None:
        remove_dead(folder, suffix)

    def listed(self, folder: str, suffixes: Iterable[str]) -> FileList:
        return list_folder(folder, suffixes)


class StorePlace:
    """A folder of a store: the beginning of keys."""

    direct = False

    def __init__(self, folder: str, store: RemoteStore):
        self.folder = folder
        self.store: RemoteStore | None = store
        self._store = store

    def check(self) -> None:
        self._store.filesystem()  # which may not be installed
        self._store.check()

    def writer(self, sync: bool) -> ObjectWriter:
        """What is written is safe once the store has answered: `sync` asks for nothing more."""
        from ..formats.object_writing import ObjectWriter

        return ObjectWriter(self._store)

    def threads(self, file_nbytes: float) -> int:
        from ..formats.object_writing import memory_of

        budget, each = min(IN_FLIGHT, memory_limit() // 8), memory_of(self._store, file_nbytes)
        return max(1, min(default_threads(False, True), int(budget / max(1.0, each))))

    def make_folders(self, folders: Iterable[str]) -> None:
        """Object stores need none; other file systems of fsspec's may."""
        if self._store.settings.backend in ("s3", "az"):
            return
        from ..storage.store_errors import translated

        for folder in folders:
            with translated(folder):
                self._store.filesystem().makedirs(folder, exist_ok=True)

    def sync_folders(self, folders: Iterable[str]) -> None:
        pass

    def exists(self, path: str) -> bool:
        return self._store.size_of(path) is not None

    def holds(self, path: str, data: bytes | memoryview) -> bool:
        view = memoryview(data)
        return self.matches(path, lambda file: _same(file, view))

    def matches(self, path: str, test: Callable[[IO[bytes]], bool]) -> bool:
        try:
            with _opened(self._store.path(path)) as file:
                return test(file)
        except (FileNotFoundError, FileChangedError):
            return False

    def remove(self, path: str) -> None:
        self._store.remove(path)

    def remove_dead(self, folder: str, suffix: str) -> None:
        from ..storage.uploading import abort_uploads

        name = re.compile(rf".+{re.escape(suffix)}")
        abort_uploads(self._store, f"{folder}/", lambda path: bool(name.fullmatch(path)))

    def listed(self, folder: str, suffixes: Iterable[str]) -> FileList:
        from ..storage.remote import list_folder_of

        return list_folder_of(self._store, folder, suffixes) or FileList(b"", [])


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    from ..storage.seekable import SeekableFile

    with closing(SeekableFile(path)) as file:
        yield file


def _same(file: IO[bytes], view: memoryview) -> bool:
    if file.seek(0, os.SEEK_END) != len(view):
        return False
    file.seek(0)
    step = 256 << 10
    return all(file.read(step) == bytes(view[at : at + step]) for at in range(0, len(view), step))
