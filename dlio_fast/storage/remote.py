"""Stores of objects: which one an address leads to, and how this process reads from it."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from .. import _core
from ..config.data import StorageSection
from .access import check_access
from .addresses import RemoteAddress
from .azure_settings import AzureSettings
from .disk_cache import CacheSettings, cached_store
from .files import FileList
from .filesystems import filesystem
from .fsspec_source import FsspecSource, file_system_path
from .listing import has_remote_folder, list_remote, list_remote_folder
from .listing_cache import ListingCache, listing_cache
from .local import Address
from .memory import shared_pool
from .s3_settings import S3Settings
from .settings import Settings, remote_address, settings_for
from .store_errors import translated

THREADS = 16
"""Requests under way at once by default: enough to hide a round trip, few enough for a small machine."""


class RemotePath(str):
    """The address of an object, which knows its store: all that reads files takes it in place of a path."""

    store: RemoteStore
    known: tuple[int, int] | None
    """Its size in bytes and what stands for its ETag, where a listing has told."""

    def __new__(cls, address: str, store: RemoteStore, known: tuple[int, int] | None = None) -> RemotePath:
        self = super().__new__(cls, address)
        self.store = store
        self.known = known
        return self

    def __add__(self, ending: str) -> RemotePath:
        return RemotePath(str(self) + ending, self.store)

    def __reduce__(self) -> tuple[Any, ...]:
        return RemotePath, (str(self), self.store, self.known)


class RemoteStore:
    """A bucket, a container, or another file system of fsspec's.

    Only its settings cross to other processes; connections are made in each when first needed.

    Parameters
    ----------
    settings : Settings
    address : RemoteAddress
        Of something in it.
    cache : CacheSettings, optional
        Where its objects are kept on local disk; default: nowhere.
    listings : ListingCache, optional
        Where listings are kept.
    """

    def __init__(
        self,
        settings: Settings,
        address: RemoteAddress,
        cache: CacheSettings | None = None,
        listings: ListingCache | None = None,
    ):
        self.settings = settings
        self.address = address
        self.cache = cache
        self.listings = listings
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._reachable: Settings = self.settings
        self._core: tuple[int, _core.Store] | None = None
        self._counts: _core.HttpStore | FsspecSource | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def core(self) -> _core.Store:
        """What the core reads from, of this process alone."""
        pid, known = os.getpid(), self._core
        if known is None or known[0] != pid:
            if known is not None:  # the parent's, and its lock may be held by a thread that is not here
                self._forget()
            with self._lock:
                if self._core is None:
                    self._core = pid, self._made()
                known = self._core
        core: _core.Store = known[1]
        return core

    def _made(self) -> _core.Store:
        store = self._uncached()
        return store if self.cache is None else cached_store(store, self.cache, self._identity())

    def _identity(self) -> bytes:
        """What tells this store from others that have the same addresses; no secret."""
        servers: tuple[str, ...] = ()
        if isinstance(self.settings, S3Settings):
            servers = tuple(sorted(self.settings.endpoints))
        elif isinstance(self.settings, AzureSettings):
            servers = (self.settings.endpoint,)
        return "\0".join((*servers, self.address.prefix)).encode()

    def _uncached(self) -> _core.Store:
        options = self.settings.http_store_options(self.address)
        if options is not None and _core.HTTP_STORE:
            fast = self._counts = _core.HttpStore(**options)
            return fast
        # Within seconds, what s3fs and adlfs would try again and again; a reader may not be allowed to list.
        with contextlib.suppress(PermissionError):
            self.check()
        source = self._counts = FsspecSource(self.settings, self.address.prefix)
        return _core.CallbackStore(source)

    def filesystem(self) -> Any:
        """The file system of fsspec's to list and write with, of this process alone."""
        return filesystem(self._reachable)

    def check(self, key: str | None = None) -> None:
        """See :func:`~dlio_fast.storage.access.check_access`."""
        self._reachable = check_access(self.settings, key)

    def size_of(self, address: str) -> int | None:
        """Bytes of an object; None: there is none."""
        try:
            with _core.File(self.path(address), shared_pool()) as file:
                return int(file.size)
        except FileNotFoundError:
            return None

    def remove(self, address: str) -> None:
        """Delete an object; one that is not there any more does no harm."""
        fs = self.filesystem()
        with contextlib.suppress(FileNotFoundError), translated(address):
            fs.rm_file(file_system_path(self.settings, fs, address, self.address.prefix))

    def path(self, address: str, known: tuple[int, int] | None = None) -> RemotePath:
        """Another address in it, with what a listing tells of the object."""
        return RemotePath(address, self, known)

    def stats(self) -> dict[str, dict[str, Any]]:
        """For each endpoint what this process has asked of it: requests, retries, errors, bytes.

        The C client also counts ``latency``, in the buckets of the ring's statistics.
        """
        self.core()
        assert self._counts is not None
        return {endpoint: dict(counts) for endpoint, counts in self._counts.stats().items()}

    @property
    def road(self) -> str:
        """How objects are read: "http" (the C client) or "fsspec"."""
        self.core()
        return "http" if isinstance(self._counts, _core.HttpStore) else "fsspec"

    def uncached(self) -> RemoteStore:
        """The same store, for who writes to it: neither objects nor listings are kept."""
        if self.cache is None and self.listings is None:
            return self
        with _lock:
            key = self.settings, self.address.prefix, None, None
            return _kept(key, RemoteStore(self.settings, self.address))

    def __repr__(self) -> str:
        return f"<RemoteStore {self.address.prefix}>"


def remote_store(
    address: Address,
    storage_options: Mapping[str, Any] | None = None,
    storage: StorageSection | Mapping[str, Any] | None = None,
) -> RemoteStore:
    """The store that an address leads to; one for the same settings, so that connections are shared.

    Parameters, Raises
    ------------------
    As :func:`~dlio_fast.storage.settings.settings_for`; the options may hold those for the cache.
    """
    settings = settings_for(address, storage_options, storage)
    parts = remote_address(address, settings)
    section = storage.storage_options if isinstance(storage, StorageSection) else storage
    cache = CacheSettings.of_options(storage_options or {}, section or {})
    listings = listing_cache(storage_options or {}, section or {})
    with _lock:
        made = RemoteStore(settings, parts, cache, listings)
        return _kept((settings, parts.prefix, cache, listings), made)


def remote_path(address: Address, storage_options: Mapping[str, Any] | None = None) -> RemotePath:
    """An address together with the store that it leads to."""
    return remote_store(address, storage_options).path(os.fsdecode(os.fspath(address)))


def list_objects(
    files: Address | Iterable[Address],
    suffixes: Iterable[str],
    storage_options: Mapping[str, Any] | None = None,
) -> FileList:
    """As :func:`~dlio_fast.storage.listing.list_remote`, with the store that they are read from."""
    found = list_remote(files, suffixes, storage_options, cache=listing_cache(storage_options or {}))
    found.store = remote_store(os.fsdecode(found.root), storage_options)
    return found


def list_folder_of(store: RemoteStore, folder: str, suffixes: Iterable[str]) -> FileList | None:
    """The data objects of a folder in a store, as local folders are listed; None: there is no such folder."""
    try:
        files = list_remote_folder(folder, suffixes, store._reachable, store.listings)
    except FileNotFoundError:
        return None
    files.store = store
    return files


def has_folder(store: RemoteStore, folder: str) -> bool:
    """Tell whether a store has a folder."""
    return has_remote_folder(folder, store.settings)


RECENT = 8
"""Stores whose connections are kept although nothing refers to them any more, for the next call."""

_Key = tuple[Settings, str, CacheSettings | None, ListingCache | None]
_stores: weakref.WeakValueDictionary[_Key, RemoteStore] = weakref.WeakValueDictionary()
_recent: deque[RemoteStore] = deque(maxlen=RECENT)
_lock = threading.Lock()


def _kept(key: _Key, made: RemoteStore) -> RemoteStore:
    """The store of that key: one that there is, or this one from now on. Called locked."""
    store = _stores.setdefault(key, made)
    if store in _recent:
        _recent.remove(store)
    _recent.append(store)
    return store


def forget_stores() -> None:
    """Let go of the stores that nothing refers to, and close their connections."""
    with _lock:
        gone = list(_recent)
        _recent.clear()
    del gone  # not with the lock held


def _forget_inherited() -> None:
    global _lock
    _lock = threading.Lock()
    for store in list(_stores.values()):
        core = None if store._core is None else store._core[1]
        if isinstance(core, _core.DiskCacheStore):
            core = core.inner
        if isinstance(core, _core.HttpStore):
            core.abandon()
        store._forget()


os.register_at_fork(after_in_child=_forget_inherited)
