"""What is inside a file of any format: the format itself says it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from .. import _core
from ..errors import NotRegularFileError
from ..formats import Format, format_named, suffixes
from ..formats.describing import FileInfo, MemberInfo
from ..storage.local import Address, locate, store_of
from ..storage.memory import shared_pool

__all__ = ["FileInfo", "MemberInfo", "inspect_file"]


def inspect_file(
    path: Address,
    *,
    format: str | Format | None = None,
    storage_options: Mapping[str, Any] | None = None,
    verify: bool = True,
) -> FileInfo:
    """Describe a file.

    Parameters
    ----------
    path : str or path-like
        A plain path, ``file://``, ``direct://``, or an object: ``s3://``, ``az://`` and what fsspec knows.
    format : str or Format, optional
        Default: as the suffix says; whether NPZ or NPY, as the first bytes say.
    storage_options : mapping, optional
        For the store, in s3fs's or adlfs's own names.
    verify : bool
        Read everything, and check what checksums there are; else headers alone are read.

    Raises
    ------
    NotRegularFileError
        It is a folder, or something else that is no file.
    DataError
        The file as a whole cannot be read; what is wrong with a part of it is among its ``problems``.
    DlioFastOSError
        It cannot be opened or read.
    """
    local, direct = locate(path, storage_options)
    store = store_of(local)
    if store is not None:
        store.filesystem()  # which may not be installed
        store.check()
        if local.endswith("/"):
            raise NotRegularFileError(f"{local}: is no object", local)
    elif os.path.isdir(local):
        raise NotRegularFileError(
            f"{local}: is a folder; name files in it, such as {os.path.join(local, '*.npz')} "
            "(`dlio-fast bench` reads folders)", local,
        )  # fmt: skip
    if format is None:
        format = _format_of(local, direct)
    if isinstance(format, str):
        format = format_named(format)
    return format.describe(local, direct=direct, verify=verify)


def _format_of(path: str, direct: bool) -> str:
    by_suffix = suffixes().get(os.path.splitext(path)[1].lower(), "npz")
    if by_suffix not in ("npz", "npy"):
        return by_suffix
    with closing(_core.Archive(path, shared_pool(), direct=direct)) as archive:
        return "npz" if archive.npz else "npy"
