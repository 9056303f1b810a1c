"""Indexes of TFRecord files, as NVIDIA DALI and DLIO have them: text, a line a record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from .. import _core
from ..errors import UnsupportedError
from ..storage.local import store_of
from ..storage.memory import shared_pool

if TYPE_CHECKING:
    from ..storage.remote import RemoteStore


def index_lines(extents: Sequence[tuple[int, int]]) -> bytes:
    """Return an index as NVIDIA DALI has it: a line a record, its offset and its length with framing."""
    return "".join(f"{offset} {length}\n" for offset, length in extents).encode()


def dlio_index_name(name: str) -> str | None:
    """Return where DLIO keeps the index of a file; None: the file lies below neither train nor valid."""
    folder, base = os.path.split(name)
    parts = folder.split(os.sep)
    found = [i for i, part in enumerate(parts) if part in ("train", "valid")]
    if not found:
        return None
    return os.path.join(os.sep.join(parts[: found[-1]]), "index", parts[found[-1]], f"{base}.idx")


def write_index(path: str, *, force: bool = False) -> tuple[str, int]:
    """Write the index of a TFRecord file, where DLIO keeps it or else beside the file.

    Parameters
    ----------
    path : str
        Or the RemotePath of an object.
    force : bool
        Make it anew where there is one. Else one that does not fit the file is an error.

    Returns
    -------
    (str, int)
        Where the index is, and how many records the file has.

    Raises
    ------
    UnsupportedError
        The file is compressed: its records cannot be reached by their offsets.
    DataError
        The file is damaged, or has an index that does not fit it.
    """
    store = store_of(path)
    beside = f"{path}.idx"
    with closing(_core.RecordFile(path, shared_pool(), index=not force)) as file:
        name = dlio_index_name(path if store else os.path.abspath(path)) or beside
        if file.unpacked_bytes:
            raise UnsupportedError(
                f"{path}: the file is compressed as a whole, an index would be of no use", path
            )
        if file.indexed:
            return (beside if _exists(beside, store) else name), len(file)
        lines = index_lines([file.extent(i) for i in range(len(file))])
        count = len(file)
    for there in {name, beside}:
        if there == name or _exists(there, store):
            if store:
                from ..storage.uploading import put_object  # with fsspec and all

                put_object(store, there, lines)
            else:
                _replace(there, lines)
    return name, count


def _exists(path: str, store: RemoteStore | None) -> bool:
    return store.size_of(path) is not None if store else os.path.exists(path)


def _replace(path: str, contents: bytes) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(contents)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise
