"""Writing objects: whole ones in one request, large ones in parts; an object appears whole or not at all."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as NotYet
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ClosedError
from .azure_settings import AzureSettings
from .fsspec_source import file_system_path
from .s3_settings import S3Settings
from .settings import remote_address
from .store_errors import translated

if TYPE_CHECKING:
    from .remote import RemoteStore

WHOLE = 64 << 20
"""Bytes that go in one request at most: more of them Azure's client divides without being asked."""
PART = 16 << 20
"""Bytes of a part of a larger object; S3 wants 5 MiB at least."""
PARTS_AT_ONCE = 3
"""Parts of one object that are under way, beside the one that is being made."""
MOST_PARTS = 9000
"""S3 takes 10000, Azure 50000."""
PARTS_SECONDS = 5.0
"""How long an upload that is to be aborted waits for its parts."""
ABORT_SECONDS = 20.0
"""How long the store may take to drop an unfinished upload."""

Cancelled = Callable[[], bool]
_LOOK_EVERY = 0.1


def put_object(store: RemoteStore, address: str, data: Any, cancelled: Cancelled = lambda: False) -> None:
    """Write an object of at most :data:`WHOLE` bytes in one request, in place of what is there.

    Parameters
    ----------
    store : RemoteStore
    address : str
    data : buffer of bytes
        Not changed before this returns.
    cancelled : callable
        Asked now and then whether to give up.

    Raises
    ------
    ClosedError
        It was cancelled; the object is as it was.
    DlioFastOSError
        What the store says.
    """
    core: Any = store.core()
    if hasattr(core, "put"):  # the C client
        core.put(address, data)
        return
    settings, fs = store.settings, store.filesystem()
    if isinstance(settings, S3Settings):
        key = remote_address(address, settings).key
        body = data if isinstance(data, (bytes, bytearray)) else bytes(data)
        work = fs._call_s3("put_object", Bucket=settings.bucket, Key=key, Body=body)
        _waited(_started(fs, work), address, cancelled)
    elif isinstance(settings, AzureSettings):
        _waited(_started(fs, _put_blob(_blob(store, address), bytes(data))), address, cancelled)
    else:
        with translated(address):
            fs.pipe_file(file_system_path(settings, fs, address, store.address.prefix), bytes(data))


def put_parts(
    store: RemoteStore, address: str, parts: Iterable[Any], cancelled: Cancelled = lambda: False
) -> None:
    """Write an object in parts, several of them under way at once.

    Parameters
    ----------
    store, address, cancelled
        As for :func:`put_object`.
    parts : iterable of buffers
        At least one; all but the last of :data:`PART` bytes or more. They do not change once they are given.

    Raises
    ------
    As :func:`put_object`, and what `parts` raises. The store then keeps nothing of the parts.
    """
    if isinstance(store.settings, S3Settings):
        upload: _Upload = _S3Upload(store, address, cancelled)
    elif isinstance(store.settings, AzureSettings):
        upload = _AzureUpload(store, address, cancelled)
    else:
        upload = _FileUpload(store, address, cancelled)
    try:
        for part in parts:
            upload.send(part)
            if cancelled():
                raise ClosedError(f"{address}: writing was cancelled")
        upload.complete()
    except BaseException:
        upload.abort()
        raise


def abort_uploads(store: RemoteStore, prefix: str, ours: Callable[[str], bool]) -> int:
    """Make the store drop what dead runs left of uploads in parts; returns how many those were.

    Parameters
    ----------
    store : RemoteStore
    prefix : str
        The address of a folder: nothing outside of it is looked at.
    ours : callable
        Tells of an address whether its upload is to go.
    """
    settings, fs = store.settings, store.filesystem()
    key = remote_address(prefix, settings).key
    base = prefix[: len(prefix) - len(key)]

    def wanted(name: str) -> bool:
        return ours(base + name)

    if isinstance(settings, S3Settings):
        work = _abort_s3_uploads(fs, settings.bucket, key, wanted)
    elif isinstance(settings, AzureSettings):
        work = _abort_azure_uploads(fs, settings.container, key, wanted)
    else:
        return 0
    return int(_waited(_started(fs, work), prefix, lambda: False))


class _Upload(Protocol):
    def send(self, data: Any) -> None: ...

    def complete(self) -> None: ...

    def abort(self) -> None: ...


class _AsyncUpload:
    """Parts that are sent on the file system's event loop."""

    def __init__(self, store: RemoteStore, address: str, cancelled: Cancelled):
        self.fs = store.filesystem()
        self.address = address
        self.cancelled = cancelled
        self.count = 0
        self.begun = False
        self._running: deque[Future[Any]] = deque()

    def send(self, data: Any) -> None:
        """Begin to send a part; waits where enough are under way."""
        while len(self._running) >= PARTS_AT_ONCE:
            _waited(self._running[0], self.address, self.cancelled, stop=False)
            self._running.popleft()
        self.count += 1
        self._running.append(_started(self.fs, self._part(self.count, data)))

    def complete(self) -> None:
        """Wait for all parts, and make an object of them."""
        while self._running:
            _waited(self._running[0], self.address, self.cancelled, stop=False)
            self._running.popleft()
        _waited(_started(self.fs, self._complete()), self.address, lambda: False)

    def abort(self) -> None:
        """Let the parts end first: the store would keep one that it finishes after the abortion."""
        for running in wait(self._running, PARTS_SECONDS).not_done:
            running.cancel()
        wait(self._running, ABORT_SECONDS)
        if self.begun:
            with contextlib.suppress(Exception):  # there is an error already, which says more
                _started(self.fs, self._abort()).result(ABORT_SECONDS)

    async def _part(self, number: int, data: Any) -> None:
        raise NotImplementedError

    async def _complete(self) -> None:
        raise NotImplementedError

    async def _abort(self) -> None:
        raise NotImplementedError


class _S3Upload(_AsyncUpload):
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html"""

    def __init__(self, store: RemoteStore, address: str, cancelled: Cancelled):
        super().__init__(store, address, cancelled)
        assert isinstance(store.settings, S3Settings)
        key = remote_address(address, store.settings).key
        self._target = {"Bucket": store.settings.bucket, "Key": key}
        self._etags: dict[int, dict[str, Any]] = {}
        begun = _waited(
            _started(self.fs, self.fs._call_s3("create_multipart_upload", **self._target)), address
        )
        self._target["UploadId"] = begun["UploadId"]
        self.begun = True

    async def _part(self, number: int, data: Any) -> None:
        body = data if isinstance(data, (bytes, bytearray)) else bytes(data)
        done = await self.fs._call_s3("upload_part", **self._target, PartNumber=number, Body=body)
        known = {name: done[name] for name in done if name == "ETag" or name.startswith("ChecksumCRC")}
        self._etags[number] = {"PartNumber": number, **known}

    async def _complete(self) -> None:
        parts = [self._etags[number] for number in sorted(self._etags)]
        await self.fs._call_s3("complete_multipart_upload", **self._target, MultipartUpload={"Parts": parts})

    async def _abort(self) -> None:
        await self.fs._call_s3("abort_multipart_upload", **self._target)


class _AzureUpload(_AsyncUpload):
    """https://learn.microsoft.com/rest/api/storageservices/put-block-list"""

    def __init__(self, store: RemoteStore, address: str, cancelled: Cancelled):
        super().__init__(store, address, cancelled)
        self._blob = _blob(store, address)
        self.begun = True

    async def _part(self, number: int, data: Any) -> None:
        await self._blob.stage_block(_block_id(number), bytes(data), length=len(data))

    async def _complete(self) -> None:
        from azure.storage.blob import BlobBlock

        blocks = [BlobBlock(block_id=_block_id(number)) for number in range(1, self.count + 1)]
        await self._blob.commit_block_list(blocks)
        await self._blob.close()

    async def _abort(self) -> None:
        await _drop_blocks(self._blob)


class _FileUpload:
    """Another file system's own way; what it keeps of an unfinished file is its matter."""

    def __init__(self, store: RemoteStore, address: str, cancelled: Cancelled):
        self._address = address
        fs = store.filesystem()
        path = file_system_path(store.settings, fs, address, store.address.prefix)
        with translated(address):
            self._file = fs.open(path, "wb", block_size=PART, autocommit=False)

    def send(self, data: Any) -> None:
        with translated(self._address):
            self._file.write(data)

    def complete(self) -> None:
        with translated(self._address):
            self._file.close()
            self._file.commit()

    def abort(self) -> None:
        with contextlib.suppress(Exception):
            self._file.discard()
        with contextlib.suppress(Exception):
            self._file.closed = True  # or its end would write what is left after all


def _started(fs: Any, work: Coroutine[Any, Any, Any]) -> Future[Any]:
    return asyncio.run_coroutine_threadsafe(work, fs.loop)


def _waited(
    future: Future[Any], address: str, cancelled: Cancelled = lambda: False, *, stop: bool = True
) -> Any:
    """What the work returns; the clients' own time limits end it. `stop` it when it is cancelled."""
    with translated(address):
        while True:
            try:
                return future.result(_LOOK_EVERY)
            except NotYet:
                if future.done():
                    raise
            if cancelled():
                if stop:
                    future.cancel()
                raise ClosedError(f"{address}: writing was cancelled")


def _blob(store: RemoteStore, address: str) -> Any:
    settings = store.settings
    assert isinstance(settings, AzureSettings)
    key = remote_address(address, settings).key
    return store.filesystem().service_client.get_blob_client(settings.container, key)


async def _put_blob(blob: Any, data: bytes) -> None:
    async with blob:
        await blob.upload_blob(data, length=len(data), overwrite=True)


def _block_id(number: int) -> str:
    return base64.b64encode(f"{number:08d}".encode()).decode()


async def _drop_blocks(blob: Any) -> None:
    """Blocks that belong to no blob go with one of the same name: an empty one, for a moment.

    Where there is a blob of that name already, they stay for the week that Azure keeps them.
    """
    from azure.core import MatchConditions
    from azure.core.exceptions import ResourceExistsError, ResourceModifiedError

    async with blob:
        with contextlib.suppress(ResourceExistsError, ResourceModifiedError):
            made = await blob.commit_block_list([], match_condition=MatchConditions.IfMissing)
            await blob.delete_blob(etag=made["etag"], match_condition=MatchConditions.IfNotModified)


async def _abort_s3_uploads(fs: Any, bucket: str, prefix: str, wanted: Callable[[str], bool]) -> int:
    count = 0
    marker: dict[str, str] = {}
    while True:
        page = await fs._call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marker)
        for upload in page.get("Uploads", ()):
            if wanted(upload["Key"]):
                with contextlib.suppress(FileNotFoundError):
                    await fs._call_s3(
                        "abort_multipart_upload",
                        Bucket=bucket,
                        Key=upload["Key"],
                        UploadId=upload["UploadId"],
                    )
                count += 1
        if not page.get("IsTruncated"):
            return count
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


async def _abort_azure_uploads(fs: Any, container: str, prefix: str, wanted: Callable[[str], bool]) -> int:
    client = fs.service_client.get_container_client(container)
    found = client.list_blobs(prefix or None, include=["uncommittedblobs"])
    # What has blocks and nothing else has no size, and no type of contents either.
    names = [blob.name async for blob in found if not blob.size and wanted(blob.name)]
    for name in names:
        await _drop_blocks(client.get_blob_client(name))
    return len(names)
