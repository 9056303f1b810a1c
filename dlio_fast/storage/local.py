"""Reading files and objects: ``read`` and ``read_many``."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from .. import _core
from .._limits import default_threads
from .._log import log_fallbacks
from ..config import backend_of, is_remote, split_address
from ..errors import ClosedError, ConfigError, DataError, UnsupportedError
from .disk_cache import with_cache
from .memory import SHARED_KEEP, shared_pool

if TYPE_CHECKING:
    from .remote import RemoteStore

Address = str | os.PathLike[str]

CONSUMER_BYTES = 64 << 20
"""Memory for the files that the consumer of :func:`read_many` holds, kept beyond what is in flight."""


def local_path(address: Address) -> tuple[str, bool]:
    """Split the address of a local file into its path and whether to bypass the page cache.

    Parameters
    ----------
    address : str or path-like
        A plain path or ``file://`` (through the page cache), or ``direct://`` (O_DIRECT).

    Returns
    -------
    (str, bool)

    Raises
    ------
    UnsupportedError
        For any other scheme.
    """
    text = os.fsdecode(os.fspath(address))
    scheme, path = split_address(text)
    backend = backend_of(scheme)
    if backend not in ("file", "direct"):
        raise UnsupportedError(
            f"{text}: dlio_fast reads local files only (a plain path, file:// or direct://), not {scheme}://",
            text,
        )
    return path, backend == "direct"


def locate(address: Address, storage_options: Mapping[str, Any] | None = None) -> tuple[str, bool]:
    """Where an address leads: a path, or the RemotePath of an object; and whether to bypass the page cache.

    Raises
    ------
    ConfigError
        Address or options are not what its store takes.
    MissingDependencyError
        What serves its scheme is not installed.
    """
    if store_of(address) is not None:
        return cast(str, address), False
    if not is_remote(address):
        return local_path(address)
    from .remote import remote_path  # with fsspec and all

    return remote_path(address, storage_options), False


def store_of(path: Address) -> RemoteStore | None:
    """The store of a RemotePath; None: the path is local."""
    return getattr(path, "store", None)


def read(
    uri: Address,
    *,
    offset: int = 0,
    length: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    cache_dir: Address | None = None,
    cache_dir_bytes: int | None = None,
) -> _core.Buffer:
    """Read a file, or a range of it, into aligned memory.

    Parameters
    ----------
    uri : str or path-like
        A plain path, ``file://``, ``direct://`` (O_DIRECT), ``s3://``, ``az://`` or what else fsspec knows.
    offset, length : int
        The range in bytes; ``None`` reads to the end of the file.
    storage_options : mapping, optional
        For the store, in s3fs's or adlfs's own names; see docs/remote.md.
    cache_dir, cache_dir_bytes
        As :class:`dlio_fast.Dataset` has them.

    Returns
    -------
    Buffer
        Supports the buffer protocol: ``memoryview``, ``np.frombuffer`` and ``bytes`` take it.

    Raises
    ------
    TruncatedError
        The file ends before the range does.
    DlioFastOSError
        The file cannot be opened or read (also the matching OSError subclass).
    """
    path, direct = locate(uri, with_cache(storage_options, cache_dir, cache_dir_bytes))
    ring = _core.Ring(1, SHARED_KEEP, shared_pool())
    try:
        ring.submit_read(path, *_range(offset, length), direct)
        return _unwrap(ring.next_read())
    finally:
        ring.close()
        log_fallbacks(ring.stats())


def _unwrap(result: _core.Buffer | Exception) -> _core.Buffer:
    if isinstance(result, Exception):
        raise result
    return result


def _range(offset: int, length: int | None) -> tuple[int, int]:
    if offset < 0 or (length is not None and length < 0):
        raise ValueError(f"offset {offset} and length {length} must not be negative")
    return offset, -1 if length is None else length


def read_many(
    uris: Iterable[Address],
    *,
    threads: int | None = None,
    prefetch_bytes: int = SHARED_KEEP,
    storage_options: Mapping[str, Any] | None = None,
    cache_dir: Address | None = None,
    cache_dir_bytes: int | None = None,
) -> Iterator[tuple[Address, _core.Buffer]]:
    """Read whole files ahead on several threads, and yield them in the order given.

    Parameters
    ----------
    uris : iterable of str or path-like
        Consumed as the reading gets on; may be endless.
    threads : int, optional
        Default: from the cores this process may use, and more for ``direct://`` and for stores.
    prefetch_bytes : int
        The most bytes read and not yet yielded; a larger file goes through alone.
    storage_options : mapping, optional
        As in :func:`read`.
    cache_dir, cache_dir_bytes
        As :class:`dlio_fast.Dataset` has them.

    Yields
    ------
    (uri, Buffer)

    Raises
    ------
    As :func:`read`. The exception belongs to its file and comes in its turn: :class:`ReadMany` is an
    iterator that goes on with the next file when asked again.
    """
    storage_options = with_cache(storage_options, cache_dir, cache_dir_bytes)
    return ReadMany(uris, threads=threads, prefetch_bytes=prefetch_bytes, storage_options=storage_options)


class ReadMany:
    """The iterator of :func:`read_many`; also a context manager. ``stats()`` gives the ring's counters."""

    def __init__(
        self,
        uris: Iterable[Address],
        *,
        threads: int | None = None,
        prefetch_bytes: int = SHARED_KEEP,
        checksum: bool = False,
        storage_options: Mapping[str, Any] | None = None,
    ):
        if isinstance(uris, (str, bytes, os.PathLike)):
            raise TypeError(f"{uris!r} is one address: give a list of them, or use read")
        if (threads is not None and threads < 1) or prefetch_bytes < 0:
            raise ValueError(f"need threads >= 1 and prefetch_bytes >= 0, not {threads} and {prefetch_bytes}")
        self._uris: Iterator[Address] | None = iter(uris)
        self._held: list[Address] = []  # the one that the ring had no room for
        self._cut_short = False
        self._taking = threading.Lock()  # never held by close(): it ends the wait of who holds it
        self._threads = threads
        self._budget = prefetch_bytes
        self._checksum = checksum
        self._storage_options = storage_options
        self._pending: deque[tuple[Address, Exception | None]] = deque()
        self._ring: _core.Ring | None = None
        self._pool = _core.Pool(prefetch_bytes + CONSUMER_BYTES)

    def __iter__(self) -> ReadMany:
        return self

    def __next__(self) -> tuple[Address, _core.Buffer]:
        with self._taking:
            if self._cut_short:
                raise ClosedError("the reader was closed before all files were read")
            self._fill()
            if not self._pending:
                self.close()
                raise StopIteration
            uri, error = self._pending[0]
            result = error or self._next()
            if self._pending:  # not before: Ctrl-C may have ended the wait
                self._pending.popleft()
        return uri, _unwrap(result)

    def _next(self) -> _core.Buffer | Exception:
        assert self._ring is not None  # something was submitted
        return self._ring.next_read()

    def _fill(self) -> None:
        # Sizes are unknown until the files are open: the ring holds the reads back by bytes, this by count.
        while len(self._pending) < 2 * (self._threads or 16):
            if not self._held:
                if self._uris is None:
                    return
                try:
                    self._held.append(next(self._uris))
                except StopIteration:
                    self._uris = None
                    return
            if not self._submit(self._held[0]):
                return
            self._held.clear()

    def _submit(self, uri: Address) -> bool:
        """False: the ring is over its budget, take a delivery first."""
        error: Exception | None = None
        try:
            path, direct = locate(uri, self._storage_options)
            if self._ring is None:
                self._threads = self._threads or default_threads(direct, is_remote(uri))
                self._ring = _core.Ring(self._threads, self._budget, self._pool)
            if not self._ring.submit_read(path, 0, -1, direct, self._checksum):
                return False
        except (
            DataError,
            ConfigError,
            TypeError,
        ) as refused:  # no address: said when its turn comes
            error = refused
        self._pending.append((uri, error))
        return True

    def stats(self) -> dict[str, Any]:
        """Counters of the reading so far."""
        return self._ring.stats() if self._ring else {}

    def close(self) -> None:
        """Stop the threads; what was not yet yielded is dropped. Calling it again does nothing."""
        self._cut_short = self._cut_short or self._uris is not None or bool(self._pending)
        self._uris = None
        self._held.clear()
        self._pending.clear()
        if self._ring is not None and self._ring.usable():
            self._ring.close()
            log_fallbacks(self._ring.stats())

    def __enter__(self) -> ReadMany:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
