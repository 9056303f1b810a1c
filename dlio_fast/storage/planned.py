"""Names that follow from the configuration, for ``dataset.skip_listing``: no store is asked for them."""

from __future__ import annotations

import os

from ..config import folder_of
from ..config.data import DatasetSection
from .files import FileList

SPLITS = {"train": "train", "valid": "eval"}


def planned_files(dataset: DatasetSection, folder: str, split: str = "train") -> FileList:
    """The files that generation gives a data set, in the order in which a listing would have them.

    Parameters
    ----------
    dataset : DatasetSection
        `num_files_generated`, where it is not 0, is the number of files that the training set was generated
        with; the first `num_files_train` of them are used.
    folder : str
        Path or address of the data set.
    split : "train" or "valid"

    Returns
    -------
    FileList
        Without sizes: each object's first request tells its size.
    """
    count: int = getattr(dataset, f"num_files_{SPLITS[split]}")
    subfolders: int = getattr(dataset, f"num_subfolders_{SPLITS[split]}")
    generated = (dataset.num_files_generated if split == "train" else 0) or count
    count = min(count, generated)
    width = len(str(generated))
    name = f"{dataset.file_prefix.replace('%', '%%')}_%0{width}d_of_{generated}.{dataset.format}\0".encode()
    if subfolders > 1:
        name = f"%0{len(str(subfolders))}d/".encode() + name
        block = b"".join(name % (i % subfolders, i) for i in range(count))
    else:
        block = b"".join(name % i for i in range(count))
    return FileList.of_block(os.fsencode(f"{folder_of(folder)}/{split}/"), block)
