"""``load``: :func:`numpy.load` for .npz and .npy, faster."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import _core
from ..config import is_remote
from ..errors import UnsupportedError
from ..storage.disk_cache import with_cache
from ..storage.local import Address, locate
from ..storage.memory import shared_pool
from .npy import load_npy
from .npz import NpzFile


def load(
    path: Address,
    *,
    mmap: bool = False,
    verify: bool = True,
    storage_options: Mapping[str, Any] | None = None,
    cache_dir: Address | None = None,
    cache_dir_bytes: int | None = None,
) -> np.ndarray | NpzFile:
    """Load an ``.npz`` or ``.npy`` file, as :func:`numpy.load` does.

    Which of the two it is follows from the first bytes, not from the name.

    Parameters
    ----------
    path : str or path-like
        A plain path, ``file://``, ``direct://`` (O_DIRECT), ``s3://``, ``az://`` or what else fsspec knows.
    mmap : bool
        Map arrays that lie uncompressed in the file instead of reading them; mapped arrays are
        read-only and their checksums are not verified.
    verify : bool
        Check the CRC-32 of NPZ members.
    storage_options : mapping, optional
        For the store, as in :func:`dlio_fast.read`.
    cache_dir, cache_dir_bytes
        As :class:`dlio_fast.Dataset` has them.

    Returns
    -------
    numpy.ndarray
        For ``.npy``: writable, 64-byte aligned.
    NpzFile
        For ``.npz``: a mapping that reads each array when asked for; close it or use it in ``with``.

    Raises
    ------
    FormatError, TruncatedError, ChecksumError, UnsupportedError, FileChangedError
        See :mod:`dlio_fast.errors`; object arrays are refused (UnsupportedError): reading them would
        run code of the file's maker.
    DlioFastOSError
        The file cannot be opened or read.
    """
    local, direct = locate(path, with_cache(storage_options, cache_dir, cache_dir_bytes))
    if mmap and is_remote(path):
        raise UnsupportedError(f"{local}: an object cannot be mapped, only read: leave mmap out", local)
    archive = _core.Archive(local, shared_pool(), direct=direct)
    if archive.npz:
        return NpzFile(archive, mmap=mmap, verify=verify)
    with contextlib.closing(archive):
        return load_npy(archive, mmap=mmap)
