"""One request for a range of an object, through s3fs's or adlfs's client, with what tells its version.

Their own ``_cat_file`` gives bytes alone: of an object that was replaced meanwhile nothing would be noticed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import StoreError
from .azure_settings import AzureSettings
from .s3_settings import S3Settings
from .settings import Settings

Range = Coroutine[Any, Any, tuple[bytes, str]]

# RFC 9110, 14.4
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


def range_reader(settings: Settings, fs: Any) -> Callable[[str, int, int], Range] | None:
    """What reads (path, offset, length) of a file system: its bytes, and the ETag or "".

    None: it is no asynchronous file system.
    """
    if isinstance(settings, S3Settings):
        return _S3(fs, bool(settings.options.get("version_aware")))
    if isinstance(settings, AzureSettings):
        return _Azure(fs)
    return _Other(fs) if getattr(fs, "async_impl", False) else None


class _S3:
    def __init__(self, fs: Any, versions: bool):
        self._fs, self._versions = fs, versions

    async def __call__(self, path: str, offset: int, length: int) -> tuple[bytes, str]:
        bucket, _, key = path.partition("/")
        request = {"Range": f"bytes={offset}-{offset + length - 1}"}
        if self._versions:
            bucket, key, version = self._fs.split_path(path)
            request |= {"VersionId": version} if version else {}
        answer = await self._fs._call_s3("get_object", Bucket=bucket, Key=key, **request)
        async with answer["Body"] as body:
            _check_range(answer.get("ContentRange"), offset, answer.get("ContentLength"), path)
            return await body.read(), answer.get("ETag", "")


class _Azure:
    def __init__(self, fs: Any):
        self._fs = fs

    async def __call__(self, path: str, offset: int, length: int) -> tuple[bytes, str]:
        container, key, version = self._fs.split_path(path)
        timeouts = getattr(self._fs, "_timeout_kwargs", {})
        async with self._fs.service_client.get_blob_client(container, key) as blob:
            stream = await blob.download_blob(
                offset=offset, length=length, version_id=version, max_concurrency=1, **timeouts
            )
            return await stream.readall(), stream.properties.etag or ""


class _Other:
    def __init__(self, fs: Any):
        self._fs = fs

    async def __call__(self, path: str, offset: int, length: int) -> tuple[bytes, str]:
        return await self._fs._cat_file(path, start=offset, end=offset + length), ""


def _check_range(said: str | None, offset: int, length: int | None, path: str) -> None:
    match = _CONTENT_RANGE.fullmatch(said or "")
    if match is None:
        if offset == 0:
            return  # the whole object, whose length will tell
        raise StoreError(5, "the store ignores ranges, without which it cannot be read", path)
    first, last = int(match[1]), int(match[2])
    if first != offset or (length is not None and length != last - first + 1):
        raise StoreError(5, "a response with another range than was asked for", path)
