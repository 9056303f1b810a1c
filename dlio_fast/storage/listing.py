"""Lists of objects: folders, patterns, single objects, lists and manifests, by the rules for local files."""

from __future__ import annotations

import asyncio
import contextlib
import operator
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..config import is_remote
from ..config.data import StorageSection
from ..errors import DlioFastFileNotFoundError, FormatError, UnsupportedError
from .access import check_access
from .addresses import RemoteAddress
from .azure_settings import AzureSettings
from .files import MANIFEST_SUFFIXES, UNKNOWN_SIZE, FileList, data_suffixes, is_data
from .filesystems import new_filesystem, on_loop
from .listing_cache import ListingCache
from .local import Address
from .manifest import Manifest, local_manifest_root, manifest_of, manifest_of_addresses
from .object_glob import glob_pattern, has_magic
from .pages import Page, pages, take_pages
from .s3_settings import S3Settings
from .settings import Settings, remote_address, settings_for
from .store_errors import translated
from .versions import versions_of

AT_ONCE = 16
"""Subfolders that are listed at the same time."""

MAX_MANIFEST = 8 << 30
"""Bytes; a larger manifest is refused."""


def names_remote(files: Address | Iterable[Address]) -> bool:
    """Tell whether :func:`list_remote` is the one to list them.

    True for the address of an object store, a list of which the first is one, and a local manifest of which
    the first line is one. An iterator has to be made a list before.
    """
    if not isinstance(files, (str, bytes, os.PathLike)):
        first = next(iter(files), None)
        return first is not None and is_remote(first)
    return is_remote(files) or local_manifest_root(files) is not None


def list_remote(
    files: Address | Iterable[Address],
    suffixes: Iterable[str],
    storage_options: Mapping[str, Any] | None = None,
    storage: StorageSection | Mapping[str, Any] | None = None,
    *,
    cache: ListingCache | None = None,
) -> FileList:
    """Resolve what a user names as his objects: a folder, a pattern, an object, a list, or a manifest.

    Parameters
    ----------
    files : str, path-like, or iterable of these
        Addresses of one bucket. A manifest is a text file, local or an object, with one address a line,
        relative ones below the manifest's own folder, optionally followed by a tab and the size, and by
        another tab and the ETag; lines that begin with ``#`` are comments.
    suffixes : iterable of str
        Which objects of a folder count. Folders are read as :func:`~.files.list_folder` reads them.
    storage_options, storage
        See :func:`~.settings.settings_for`.
    cache : ListingCache, optional
        Where listings of folders and patterns are kept.

    Returns
    -------
    FileList
        With sizes and versions as far as the listing or manifest tells them.

    Raises
    ------
    DlioFastFileNotFoundError
        Nothing is there.
    UnsupportedError
        Objects of several buckets, or local files among them.
    """
    suffixes = tuple(suffixes)
    if not isinstance(files, (str, bytes, os.PathLike)):
        return _of_manifest(manifest_of_addresses(files), storage_options, storage)
    root = local_manifest_root(files)
    if root is not None:
        path = os.fsdecode(files)
        if os.path.getsize(path) > MAX_MANIFEST:
            raise FormatError(f"{path}: a manifest of more than {MAX_MANIFEST} bytes", path)
        with open(path, "rb") as lines:
            return _of_manifest(manifest_of(lines.read(), root, path), storage_options, storage)
    settings = settings_for(files, storage_options, storage)
    address = remote_address(files, settings)
    found = cache.load(address, suffixes, settings) if cache else None
    if found is None:
        found, is_listing = _list(address, suffixes, settings)
        if cache and is_listing:
            cache.save(found, address, suffixes, settings)
    return found


def list_remote_folder(
    address: Address, suffixes: Iterable[str], settings: Settings, cache: ListingCache | None = None
) -> FileList:
    """The data objects of a folder by the rules of :func:`~.files.list_folder`, or those kept.

    Raises
    ------
    DlioFastFileNotFoundError
        No key begins with the folder's name.
    """
    where, endings = remote_address(address, settings), tuple(suffixes)
    found = cache.load(where, endings, settings) if cache else None
    if found is None:
        with _lister(settings) as lister:
            found = lister.folder(where, data_suffixes(endings))
        if found is None:
            raise _nothing(where)
        if cache:
            cache.save(found, where, endings, settings)
    return found


def has_remote_folder(address: Address, settings: Settings) -> bool:
    """Tell whether any key begins with a folder's name."""
    where = remote_address(address, settings)
    with _lister(settings) as lister:
        return lister.has_folder(where)


def _nothing(address: RemoteAddress) -> OSError:
    return DlioFastFileNotFoundError(2, "no such object, folder or match for the pattern", str(address))


def _list(address: RemoteAddress, suffixes: tuple[str, ...], settings: Settings) -> tuple[FileList, bool]:
    """The list, and whether it is the listing of a folder or pattern."""
    wanted = data_suffixes(suffixes)
    key = address.key
    is_manifest = key.lower().endswith(MANIFEST_SUFFIXES)
    looks_like_one = is_manifest or key.lower().endswith(tuple(suffixes) or "\0")
    try:
        settings = check_access(settings)  # says within seconds what s3fs and adlfs would try again and again
    except PermissionError:
        if not looks_like_one:  # who may read it need not be allowed to list
            raise
    with _lister(settings) as lister:
        steps = [lister.one, lister.folder] if looks_like_one else [lister.folder, lister.one]
        for step in steps if key and not key.endswith("/") else [lister.folder]:
            found = step(address, wanted)
            if found is None:
                continue
            if is_manifest and step == lister.one:
                data = lister.content(address, int(found.sizes[0]) if found.sizes is not None else 0)
                root = str(address).rpartition("/")[0] + "/"
                return _of_manifest(manifest_of(data, root, str(address)), None, None, settings), False
            return found, step == lister.folder
        if has_magic(key):
            found = lister.glob(address)
            if len(found):
                return found, True
    raise _nothing(address)


def _of_manifest(
    manifest: Manifest, options: Any, storage: Any, settings: Settings | None = None
) -> FileList:
    if not manifest.names:
        raise DlioFastFileNotFoundError(2, "no object is named there", manifest.path)
    first = manifest.names[0]
    settings = settings or settings_for(first, options, storage)
    root = remote_address(first, settings).prefix
    if not all(name.startswith(root) for name in manifest.names):
        raise UnsupportedError(f"{manifest.path or first}: all objects must be of one bucket, below {root}")
    names = [os.fsencode(name[len(root) :]) for name in manifest.names]
    sizes = versions = None
    if manifest.sizes:
        sizes = np.array([UNKNOWN_SIZE if size is None else size for size in manifest.sizes], np.uint64)
    if manifest.etags:
        versions = versions_of(manifest.etags)
    return FileList(os.fsencode(root), names, sizes=sizes, versions=versions)


@contextlib.contextmanager
def _lister(settings: Settings) -> Iterator[_Lister]:
    lister = _Lister(settings)
    try:
        yield lister
    finally:
        lister.close()


class _Lister:
    """Asks a store, through a file system of its own for the time being."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.fs = new_filesystem(settings, AT_ONCE, use_listings_cache=False)
        if isinstance(settings, S3Settings):
            self._run(settings.source.address, take_pages, self.fs)

    def close(self) -> None:
        if isinstance(self.settings, S3Settings) and self.fs._s3 is not None:
            self.fs.close_session(self.fs.loop, self.fs._s3creator)
        elif isinstance(self.settings, AzureSettings):
            on_loop(self.fs, self.fs.service_client.close)

    def _run(self, address: str, work: Callable[..., Any], *args: Any) -> Any:
        with translated(address):
            if hasattr(self.fs, "loop") and getattr(self.fs, "async_impl", False):
                return on_loop(self.fs, work, *args)
            return asyncio.run(work(*args))

    def folder(self, address: RemoteAddress, wanted: tuple[bytes, ...]) -> FileList | None:
        """None: there is no such folder."""
        key = address.key
        prefix = f"{key.rstrip('/')}/" if key.strip("/") or (key and not address.bucket) else key
        base = os.fsencode(address.prefix + prefix)
        found: FileList | None = self._run(
            str(address), self._folder, address.bucket or address.prefix, prefix, base, wanted
        )
        return found

    def has_folder(self, address: RemoteAddress) -> bool:
        """Tell whether there is anything in a folder, by the first page of its listing."""

        async def anything() -> bool:
            prefix = f"{address.key.rstrip('/')}/"
            async for page in self._pages(address.bucket or address.prefix, prefix, False):
                return bool(page.keys or page.folders)
            return False

        return bool(self._run(str(address), anything))

    async def _folder(
        self, bucket: str, prefix: str, base: bytes, wanted: tuple[bytes, ...]
    ) -> FileList | None:
        files, folders, anything = Collected(wanted), set[str](), False
        first: str | None = None
        async for page in self._pages(bucket, prefix, False):
            anything = anything or bool(page.keys or page.folders)
            folders.update(name[len(prefix) : -1] for name in page.folders)
            files.add(page, prefix)
            shown = (key[len(prefix) :] for key in page.keys if not key.startswith(f"{prefix}."))
            first = min((name for name in (first, *shown) if name), key=os.fsencode, default=None)
        below = sorted((name for name in folders if name and not name.startswith(".")), key=os.fsencode)
        if not anything:
            return None
        if not below or (first is not None and os.fsencode(first) <= os.fsencode(below[0])):
            return files.file_list(base)
        gate = asyncio.Semaphore(AT_ONCE)

        async def one_folder(name: str) -> Collected:
            inside = Collected(wanted)
            async with gate:
                async for page in self._pages(bucket, f"{prefix}{name}/", False):
                    inside.add(page, f"{prefix}{name}/")
            return inside

        parts = await asyncio.gather(*map(one_folder, below))
        merged = Collected(wanted)
        for name, part in zip(below, parts, strict=True):
            merged.take(part, os.fsencode(f"{name}/"))
        return merged.file_list(base, by_base_name=True)

    def _pages(self, bucket: str, prefix: str, deep: bool) -> AsyncIterator[Page]:
        return pages(self.fs, self.settings, bucket, prefix, deep)

    def glob(self, address: RemoteAddress) -> FileList:
        """The objects whose key matches a pattern; hidden ones only where it names them."""
        literal, pattern, deep = glob_pattern(address.key)

        async def matching() -> FileList:
            found = Collected(None)
            async for page in self._pages(address.bucket or address.prefix, literal, deep):
                found.add(page, "", lambda key: pattern.fullmatch(key) is not None)
            return found.file_list(os.fsencode(address.prefix))

        result: FileList = self._run(str(address), matching)
        return result

    def one(self, address: RemoteAddress, wanted: tuple[bytes, ...] = ()) -> FileList | None:
        """None: there is no such object."""
        with contextlib.suppress(FileNotFoundError), translated(str(address)):
            # Not the address: s3fs and adlfs would take a ? in it for a version.
            path = f"{address.bucket}/{address.key}" if address.bucket else str(address)
            info = self.fs.info(path)
            if info.get("type") != "directory":
                size = UNKNOWN_SIZE if info.get("size") is None else info["size"]
                etag = str(info.get("ETag") or info.get("etag") or "")
                name, sizes = os.fsencode(address.key), np.array([size], np.uint64)
                return FileList(
                    os.fsencode(address.prefix), [name], sizes=sizes, versions=versions_of([etag])
                )
        return None

    def content(self, address: RemoteAddress, size: int) -> bytes:
        """All bytes of a manifest."""
        if size > MAX_MANIFEST:
            raise FormatError(f"{address}: a manifest of more than {MAX_MANIFEST} bytes", str(address))
        with translated(str(address)):
            path = f"{address.bucket}/{address.key}" if address.bucket else str(address)
            data: bytes = self.fs.cat_file(path)
        return data


class Collected:
    """Names, sizes and versions from pages, without Python objects for them beyond the page."""

    def __init__(self, wanted: tuple[bytes, ...] | None):
        self._wanted = wanted  # endings of data; None: everything
        self._blocks: list[bytes] = []
        self._sizes: list[Any] = []
        self._versions: list[Any] = []
        self._ordered = True
        self._last = b""

    def add(self, page: Page, prefix: str, chosen: Callable[[str], bool] | None = None) -> None:
        """Take what counts of a page; the names go on after `prefix`."""
        start = len(prefix)
        names = [os.fsencode(key[start:]) for key in page.keys]
        if self._wanted is not None:
            kept = [i for i, name in enumerate(names) if is_data(name, self._wanted)]
        else:
            kept = [i for i, key in enumerate(page.keys) if chosen is None or chosen(key)]
        if not kept:
            return
        names = [names[i] for i in kept]
        self._ordered &= self._last <= names[0] and all(map(operator.le, names, names[1:]))
        self._last = names[-1]
        block = b"\0".join(names) + b"\0"
        if block.count(b"\0") != len(names):
            raise FormatError(f"{prefix}: the name of an object holds a NUL character")
        self._blocks.append(block)
        self._sizes.append(page.sizes[kept])
        self._versions.append(page.versions()[kept])

    def take(self, other: Collected, folder: bytes) -> None:
        """Take what another one has, as lying in a folder; the order is then to be made."""
        for block in other._blocks:
            names = block[:-1].split(b"\0")
            self._blocks.append(b"".join(folder + name + b"\0" for name in names))
        self._sizes += other._sizes
        self._versions += other._versions
        self._ordered = False

    def file_list(self, root: bytes, by_base_name: bool = False) -> FileList:
        """All of it, sorted by name, or by the name without its folder."""
        block = b"".join(self._blocks)
        sizes = np.concatenate([np.zeros(0, np.uint64), *self._sizes])
        versions = np.concatenate([np.zeros(0, np.uint64), *self._versions])
        self._blocks.clear()
        if self._ordered or not block:
            return FileList.of_block(root, block, sizes, versions)
        names = block[:-1].split(b"\0")
        keys = list(map(os.path.basename, names)) if by_base_name else names
        order = sorted(range(len(names)), key=keys.__getitem__)
        names = [names[i] for i in order]
        return FileList(root, names, sizes=sizes[order], versions=versions[order])
