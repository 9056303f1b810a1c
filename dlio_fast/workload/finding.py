"""All files below what a user names: for reading them whole, of any format."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..config import folder_of, is_remote, split_address
from ..errors import DlioFastFileNotFoundError, UnsupportedError
from ..storage.files import UNKNOWN_SIZE, FileList, list_files
from ..storage.local import Address, local_path


def find_files(
    paths: Sequence[Address], direct: bool | None = None, storage_options: Mapping[str, Any] | None = None
) -> FileList:
    """Return the files that the paths stand for, in order; hidden ones in folders are left out.

    Whether to bypass the page cache is what `direct` says, else the addresses, which then must agree.
    """
    remote = [os.fsdecode(path) for path in paths if is_remote(path)]
    if remote:
        if direct or len(remote) < len(paths):
            what = "no objects can be read with O_DIRECT" if direct else "local files and objects in one call"
            raise UnsupportedError(f"{remote[0]}: {what}", remote[0])
        return _objects(remote, storage_options)
    found: list[str] = []
    directs: set[bool] = set()
    for address in paths:
        path, is_direct = local_path(address)
        if os.path.isdir(path):
            found += _below(path)
        else:
            listed = list_files(address, ())
            found += listed
            is_direct = listed.direct
        directs.add(is_direct)
    if not found:
        named = ", ".join(os.fsdecode(split_address(os.fsdecode(path))[1]) for path in paths)
        raise DlioFastFileNotFoundError(2, "no files are there to read", named)
    if direct is None and len(directs) > 1:
        raise UnsupportedError(
            "the paths must be all direct:// or none of them; --direct or --buffered reads all the same way",
            next((text for text in map(os.fsdecode, paths) if split_address(text)[0]), ""),
        )
    chosen = True in directs if direct is None else direct
    return FileList(b"", [os.fsencode(path) for path in found], direct=chosen)


def _below(folder: str) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (os.path.join(parent, name) for name in sorted(names) if not name.startswith("."))
        found += [path for path in paths if os.path.isfile(path)]
    return found


def _objects(addresses: list[str], storage_options: Mapping[str, Any] | None) -> FileList:
    from ..storage.remote import list_objects, remote_store  # with fsspec and all

    store = remote_store(addresses[0], storage_options)
    store.filesystem()  # which may not be installed
    store.check()
    lists = []
    for address in addresses:
        found = list_objects(address, (), storage_options)
        if not len(found):  # a folder, of which no ending counts as data
            found = list_objects(f"{folder_of(address)}/**", (), storage_options)
        lists.append(found)
    if len(lists) == 1:
        return lists[0]
    roots = {os.fsdecode(one.store.address.prefix if one.store else one.root) for one in lists}
    if len(roots) > 1:
        raise UnsupportedError(f"{addresses[0]}: all objects must be of one bucket", addresses[0])
    names = [os.fsencode(path) for one in lists for path in one]
    merged = FileList(b"", names, sizes=np.concatenate([_sizes(one) for one in lists]))
    merged.store = lists[0].store
    return merged


def _sizes(files: FileList) -> np.ndarray:
    return np.full(len(files), UNKNOWN_SIZE, np.uint64) if files.sizes is None else files.sizes
