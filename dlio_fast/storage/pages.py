"""Listings page by page, straight from the stores' XML: botocore takes 80 µs an object to build its dicts."""

from __future__ import annotations

import asyncio
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

import numpy as np
from numpy.typing import NDArray

from .azure_settings import AzureSettings
from .files import UNKNOWN_SIZE
from .s3_settings import S3Settings
from .settings import Settings
from .versions import versions_of


@dataclass
class Page:
    """Some objects, and folders where the listing was one level deep; keys are complete."""

    keys: list[str]
    sizes: NDArray[np.uint64]
    etags: list[str]
    folders: list[str]  # with their final slash

    def versions(self) -> NDArray[np.uint64]:
        """The hashes of the ETags."""
        return versions_of(self.etags)


def pages(fs: Any, settings: Settings, bucket: str, prefix: str, deep: bool) -> AsyncIterator[Page]:
    """List the objects whose keys begin with `prefix`, on the file system's loop.

    Parameters
    ----------
    fs : fsspec.AbstractFileSystem
        A new one, as :func:`~.filesystems.new_filesystem` makes it; see :func:`take_pages`.
    bucket, prefix : str
        For other file systems than those of s3fs and adlfs, the scheme with ``://`` is in place of a bucket.
    deep : bool
        False: as folders have it, what lies behind a further ``/`` is given as a folder.
    """
    if isinstance(settings, S3Settings):
        return _s3_pages(fs, bucket, prefix, deep)
    if isinstance(settings, AzureSettings):
        return _azure_pages(fs, bucket, prefix, deep)
    return _fsspec_pages(fs, bucket, prefix, deep)


async def _s3_pages(fs: Any, bucket: str, prefix: str, deep: bool) -> AsyncIterator[Page]:
    request = {"Bucket": bucket, "Prefix": prefix}
    if not deep:
        request["Delimiter"] = "/"
    async for answer in fs._list_pages("list_objects_v2", **request, **fs.req_kw):
        yield answer.get("DlioFastPage") or _of_botocore(answer)


async def take_pages(fs: Any) -> None:
    """Let botocore's client of this file system hand over a listing's XML as pages."""
    client = await fs.set_session()
    client.meta.events.register("before-parse.s3.ListObjectsV2", _take_page)


def _take_page(response_dict: Any, customized_response_dict: Any, **_: Any) -> None:
    if response_dict["status_code"] != 200:
        return
    root = ElementTree.fromstring(response_dict["body"])
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    contents = root.findall(f"{space}Contents")
    keys = [item.findtext(f"{space}Key") or "" for item in contents]
    sizes = np.array([int(item.findtext(f"{space}Size") or 0) for item in contents], np.uint64)
    etags = [item.findtext(f"{space}ETag") or "" for item in contents]
    folders = [item.findtext(f"{space}Prefix") or "" for item in root.iterfind(f"{space}CommonPrefixes")]
    if root.findtext(f"{space}EncodingType") == "url":
        keys = [unquote_plus(key) if "%" in key or "+" in key else key for key in keys]
        folders = [unquote_plus(name) for name in folders]
    customized_response_dict["DlioFastPage"] = Page(keys, sizes, etags, folders)
    # botocore needs the rest only: whether there are more, and where they begin.
    for tag in ("Contents", "CommonPrefixes"):
        for item in root.findall(space + tag):
            root.remove(item)
    response_dict["body"] = ElementTree.tostring(root)


def _of_botocore(answer: Any) -> Page:
    contents = answer.get("Contents", [])
    return Page(
        [item["Key"] for item in contents],
        np.array([item["Size"] for item in contents], np.uint64),
        [item.get("ETag", "") for item in contents],
        [item["Prefix"] for item in answer.get("CommonPrefixes", [])],
    )


async def _azure_pages(fs: Any, container: str, prefix: str, deep: bool) -> AsyncIterator[Page]:
    client = fs.service_client.get_container_client(container)
    start = prefix or None
    listing = client.list_blobs(start) if deep else client.walk_blobs(start, delimiter="/")
    async for page in listing.by_page():
        found = [item async for item in page]
        blobs = [item for item in found if hasattr(item, "size")]
        yield Page(
            [blob.name for blob in blobs],
            np.array([blob.size for blob in blobs], np.uint64),
            [blob.etag or "" for blob in blobs],
            [item.name for item in found if not hasattr(item, "size")],
        )


async def _fsspec_pages(fs: Any, scheme: str, prefix: str, deep: bool) -> AsyncIterator[Page]:
    folder = prefix[: prefix.rfind("/") + 1]
    path = scheme + folder
    work = (lambda: list(fs.find(path, detail=True).values())) if deep else (lambda: fs.ls(path, detail=True))
    try:
        found = await asyncio.to_thread(work)
    except (FileNotFoundError, NotADirectoryError):
        found = []
    stripped = str(fs._strip_protocol(path)).rstrip("/")
    entries = [(folder + item["name"][len(stripped) :].strip("/"), item) for item in found]
    entries = [(key, item) for key, item in entries if key.startswith(prefix) and key != folder]
    files = [(key, item) for key, item in entries if item.get("type") != "directory"]
    yield Page(
        [key for key, _ in files],
        np.array(
            [UNKNOWN_SIZE if item.get("size") is None else item["size"] for _, item in files], np.uint64
        ),
        [str(item.get("ETag") or item.get("etag") or "") for _, item in files],
        [f"{key}/" for key, item in entries if item.get("type") == "directory"],
    )


def _size(item: Any) -> int:
    return int(UNKNOWN_SIZE) if item.get("size") is None else int(item["size"])
