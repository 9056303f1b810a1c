"""The plain road: any file system of fsspec's, read by ranges on the ring's threads."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import Any, Protocol, TypeVar

from .. import _core
from ..errors import ClosedError, DlioFastTimeoutError, FileChangedError, StoreError, UnsupportedError
from .azure_settings import AzureSettings
from .filesystems import filesystem
from .fsspec_ranges import range_reader
from .s3_settings import S3Settings
from .settings import FsspecSettings, Settings
from .store_errors import translate_error

LOOK_EVERY = 0.1
"""Seconds between two looks at whether anybody still wants it."""
SLOWEST = 1 << 20
"""Bytes a second: long ranges may take longer by as much, since no progress is seen from here."""

Result = TypeVar("Result")


class Cancelled(Protocol):
    """Tells whether who reads is to stop, and counts for it."""

    def __call__(self) -> bool:
        """Whether nobody wants it any more."""
        ...

    def count_retry(self) -> None:
        """A request is made again."""
        ...


class FsspecSource:
    """What ``_core.CallbackStore`` reads from.

    Parameters
    ----------
    settings : Settings
    prefix : str
        Of the addresses that will be asked for.
    """

    def __init__(self, settings: Settings, prefix: str):
        self._settings, self._prefix = settings, prefix
        self._fs = filesystem(settings)
        self._lock = threading.Lock()
        self._counted: dict[str, int] = dict.fromkeys(("requests", "retries", "errors", "bytes"), 0)
        self._range = range_reader(settings, self._fs)
        self._patience = settings.patience

    def open(self, address: str, cancelled: Cancelled) -> tuple[int, int]:
        """Size in bytes, and what stands for the ETag (0: there is none)."""
        path = self._path(address)

        def ask(end: float) -> dict[str, Any]:
            found: dict[str, Any]
            if self._range is None:
                found = self._fs.info(path)
            else:
                found = self._on_loop(self._fs._info(path), address, cancelled, end)
            return found

        info = self._trying(ask, address, cancelled)
        if info["type"] == "directory" or info["size"] is None:
            raise StoreError(5, "is no object, or its size is not known", address)
        return int(info["size"]), version_of(info)

    def read(self, address: str, offset: int, length: int, version: int, cancelled: Cancelled) -> bytes:
        """Exactly these bytes.

        Raises
        ------
        FileChangedError
            There are fewer, or they are another version's.
        DlioFastOSError
            What the store says, or that it said nothing.
        """
        path = self._path(address)

        def ask(end: float) -> tuple[bytes, str]:
            if self._range is None:
                return self._fs.cat_file(path, start=offset, end=offset + length), ""
            found: tuple[bytes, str] = self._on_loop(
                self._range(path, offset, length), address, cancelled, end
            )
            return found

        data, etag = self._trying(ask, address, cancelled, length / SLOWEST)
        self._count(bytes=len(data))
        if version and etag and _core.etag_version(etag.encode()) != version:
            raise FileChangedError(
                "the object changed since it was listed or opened: another ETag", address, None, offset
            )
        if len(data) != length:
            raise FileChangedError(
                f"{len(data)} bytes came where {length} were asked for", address, None, offset + len(data)
            )
        return data

    def stats(self) -> dict[str, dict[str, Any]]:
        """What was counted, under the endpoint's name; retries of the file system itself are not seen."""
        with self._lock:
            return {endpoint_of(self._settings): dict(self._counted)}

    def _count(self, **more: int) -> None:
        with self._lock:
            for name, number in more.items():
                self._counted[name] += number

    def _path(self, address: str) -> str:
        return file_system_path(self._settings, self._fs, address, self._prefix)

    def _trying(
        self, ask: Callable[[float], Result], address: str, cancelled: Cancelled, seconds: float = 0.0
    ) -> Result:
        """The file systems have retries of their own; these are for what they give up on."""
        end = time.monotonic() + self._patience.retry_timeout + seconds
        attempt = 1
        while True:
            try:
                self._count(requests=1, retries=int(attempt > 1))
                return ask(end)
            except ClosedError:
                raise
            except Exception as error:
                known = translate_error(error, address)
                passing = isinstance(known, (StoreError, DlioFastTimeoutError, ConnectionError))
                wait = random.uniform(0, min(0.2 * 2**attempt, 5.0))
                last = attempt >= self._patience.attempts or time.monotonic() + wait > end
                if not passing or last:
                    self._count(errors=1)
                    raise known from None
            _pause(wait, address, cancelled)
            cancelled.count_retry()
            attempt += 1

    def _on_loop(self, work: Any, address: str, cancelled: Cancelled, end: float) -> Any:
        """What a coroutine returns, which runs on the file system's event loop."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._fs.loop)
        while True:
            try:
                return future.result(LOOK_EVERY)
            except NotYet:
                if future.done():
                    raise  # the work's own
                if cancelled():
                    future.cancel()
                    raise ClosedError(f"{address}: reading was cancelled") from None
                if time.monotonic() > end:
                    future.cancel()
                    raise DlioFastTimeoutError(110, "no answer in time (retry_timeout)", address) from None


def _pause(seconds: float, address: str, cancelled: Cancelled) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if cancelled():
            raise ClosedError(f"{address}: reading was cancelled")
        time.sleep(min(left, LOOK_EVERY))


_CHANGED = re.compile(r"[\t\n\r]|\?versionid=", re.IGNORECASE)
"""What s3fs and adlfs take for something else than a part of the key, and then read another object."""


def file_system_path(settings: Settings, fs: Any, address: str, prefix: str) -> str:
    """What the file system calls an address, which begins with the prefix of its store.

    Raises
    ------
    UnsupportedError
        The file system would not read that object.
    """
    key = address.removeprefix(prefix)
    if isinstance(settings, FsspecSettings):
        return str(fs._strip_protocol(address))
    if _CHANGED.search(key):
        raise UnsupportedError(
            f"{address!r}: fsspec's file systems take the key for another; the core's own client does not",
            address,
        )
    return f"{settings.bucket if isinstance(settings, S3Settings) else settings.container}/{key}"


def endpoint_of(settings: Settings) -> str:
    """The server that requests go to, or the scheme where that is fsspec's matter."""
    if isinstance(settings, S3Settings):
        return settings.endpoints[0].partition("://")[2] or "s3"
    if isinstance(settings, AzureSettings):
        return settings.endpoint.partition("://")[2].partition("/")[0]
    return settings.scheme


def version_of(info: dict[str, Any]) -> int:
    """What stands for the ETag that a file system tells of an object; 0: it tells none."""
    for name in ("ETag", "etag", "e_tag", "md5Hash"):
        if info.get(name):
            return _core.etag_version(str(info[name]).encode())
    return 0
