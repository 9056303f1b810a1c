"""Which files a split of a data set consists of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..config import Config, folder_of, is_remote
from ..config.data import StorageSection
from ..errors import DlioFastFileNotFoundError
from ..storage.files import FileList, list_folder
from ..storage.local import local_path
from ..storage.planned import planned_files

SPLIT_FOLDERS = ("train", "valid")

Options = Mapping[str, Any] | None


def split_files(
    config: Config, folder: str, split: str, suffixes: list[str], storage_options: Options
) -> FileList:
    """The files of a split: as they are found below a path or address, or as the configuration names them.

    Those below ``train/`` or ``valid/``; where neither is there, all files are for training.
    """
    if config.dataset.skip_listing:
        return _planned(config, folder, split, storage_options)
    if is_remote(folder):
        return _list_remote(folder, split, suffixes, storage_options, config.storage)
    return _list_local(folder, split, suffixes)


def _list_local(folder: str, split: str, suffixes: list[str]) -> FileList:
    path, _ = local_path(folder)
    if split == "train" and not any(os.path.isdir(os.path.join(path, name)) for name in SPLIT_FOLDERS):
        return list_folder(folder, suffixes)
    try:
        return list_folder(f"{folder.rstrip('/')}/{split}", suffixes)
    except FileNotFoundError:
        return FileList(b"", [])


def _planned(config: Config, folder: str, split: str, storage_options: Options) -> FileList:
    """The files that the configuration names: nobody looks whether they are there."""
    if is_remote(folder):
        from ..storage.remote import remote_store  # with fsspec and all

        store = remote_store(folder, storage_options, config.storage)
        store.check()
        files = planned_files(config.dataset, folder, split)
        files.store = store
        return files
    path, direct = local_path(folder)
    files = planned_files(config.dataset, path, split)
    files.direct = direct
    return files


def _list_remote(
    folder: str,
    split: str,
    suffixes: list[str],
    storage_options: Options,
    storage: StorageSection,
) -> FileList:
    from ..storage.remote import list_folder_of, remote_store  # with fsspec and all

    store = remote_store(folder, storage_options, storage)
    if store.listings is None:
        store.check()
    for name in (split, *SPLIT_FOLDERS):
        files = list_folder_of(store, f"{folder_of(folder)}/{name}", suffixes)
        if files is not None:
            return files if name == split else FileList(b"", [])
    found = list_folder_of(store, folder, suffixes) if split == "train" else FileList(b"", [])
    if found is None:
        raise DlioFastFileNotFoundError(2, "there are no objects below this address", folder)
    return found
