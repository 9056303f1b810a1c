"""Addresses of data: a plain path, or ``scheme://`` followed by a path or ``bucket/key``."""

from __future__ import annotations

import os
import re

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_SYNONYMS = {"directio": "direct", "s3a": "s3", "azure": "az", "abfs": "az", "abfss": "az"}


def split_address(address: str) -> tuple[str, str]:
    """Split an address into its scheme in lower case ("" for a plain path) and what follows ``://``.

    What follows is taken as it stands, without percent decoding or a host part, so that relative paths
    work under every local scheme: ``direct://./data`` and ``direct://data`` are folders below the
    working directory, ``direct:///data`` is absolute.
    """
    match = _SCHEME.match(address)
    return (match[1].lower(), address[match.end() :]) if match else ("", address)


def folder_of(address: str) -> str:
    """Return a folder's address so that ``/`` and a name can follow: ``memory://`` keeps its slashes."""
    stripped = address.rstrip("/")
    return f"{stripped}//" if stripped.endswith(":") else stripped


def is_remote(address: str | os.PathLike[str]) -> bool:
    """Tell whether an address leads to an object store, or another file system of fsspec's."""
    return backend_of(split_address(os.fsdecode(os.fspath(address)))[0]) not in ("file", "direct")


def backend_of(scheme: str) -> str:
    """Return the scheme's usual spelling: "file", "direct", "s3", "az", or the scheme itself."""
    return _SYNONYMS.get(scheme, scheme) or "file"
