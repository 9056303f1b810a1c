"""The files of a configured data set: names, layouts and contents, and what of them is on disk already."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..config import Config
from ..errors import DiskFullError
from ..formats.generating import generator_for
from ..formats.writing import Writer, remove_if_dead, typed_errors
from ..storage.files import data_suffixes, is_data
from .place import Place

if TYPE_CHECKING:
    from ..formats.object_writing import ObjectWriter


@dataclass(frozen=True)
class Split:
    """One of the two folders of a data set: `n_files` files, of which the first is file `first` of all."""

    name: str
    first: int
    n_files: int
    n_subfolders: int

    def subfolder(self, index: int) -> str:
        """Return the folder of file `index` of the split, relative to the data set's."""
        if self.n_subfolders <= 1:
            return self.name
        return f"{self.name}/{index % self.n_subfolders:0{len(str(self.n_subfolders))}d}"

    def folders(self) -> list[str]:
        """Return every folder that holds files of the split."""
        return [self.subfolder(index) for index in range(max(self.n_subfolders, 1))]


@dataclass
class Inventory:
    """What lies in the folders of a data set before it is generated."""

    nbytes: int = 0  # allocated to files that are part of the data set
    foreign: list[str] = field(default_factory=list)  # not part of it, but a reader would take it for that


class FilePlan:
    """What has to be written for a configuration, file by file.

    Files are numbered over both splits, training files first; file `index` is a pure function of the
    configuration and `index`.

    Raises
    ------
    ConfigError
        For a format, compression or element type that cannot be generated.
    """

    def __init__(self, cfg: Config, place: Place):
        dataset = cfg.dataset
        self.place = place
        self.folder = place.folder
        self.dataset = dataset
        self.generator = generator_for(dataset, f"{cfg.source}: dataset" if cfg.source else "dataset")
        self.splits = (
            Split("train", 0, dataset.num_files_train, dataset.num_subfolders_train),
            Split("valid", dataset.num_files_train, dataset.num_files_eval, dataset.num_subfolders_eval),
        )
        self.suffixes = data_suffixes([f".{dataset.format}"])

    def __len__(self) -> int:
        return len(self.generator)

    def name(self, split: Split, index: int) -> str:
        """Return the name, without folder, of file `index` of a split."""
        count = str(split.n_files)
        return f"{self.dataset.file_prefix}_{index:0{len(count)}d}_of_{count}.{self.dataset.format}"

    def path(self, index: int) -> str:
        """Return the path of file `index`."""
        split = self.splits[index >= self.splits[1].first]
        index -= split.first
        return f"{self.folder}/{split.subfolder(index)}/{self.name(split, index)}"

    def companion_paths(self, index: int) -> list[str]:
        """Return the paths of the index files of file `index`."""
        names = self.generator.companion_names(os.path.relpath(self.path(index), self.folder))
        return [f"{self.folder}/{name}" for name in names]

    def write(self, index: int, writer: Writer | ObjectWriter) -> tuple[int, str | None]:
        """Write file `index`, after its index files.

        Returns
        -------
        (int, str or None)
            The file's own bytes, and why O_DIRECT was not used although it was asked for.
        """
        companions = zip(self.companion_paths(index), self.generator.companions(index), strict=True)
        for path, data in companions:
            writer.write_bytes(path, data)
        return self.generator.write(index, self.path(index), writer)

    def make_folders(self) -> None:
        """Create the folders; `valid` too where it stays empty, as DLIO does."""
        self.place.make_folders(self.folders())

    def folders(self) -> list[str]:
        """Return every folder that is created, parents after their children."""
        below = [
            folder
            for split in self.splits
            for folder in (*split.folders(), split.name, *self._companion_folders(split))
        ]
        above = [parent for folder in below for parent in _parents(folder)]
        return [f"{self.folder}/{name}" for name in dict.fromkeys([*below, *above])] + [self.folder]

    def _companion_folders(self, split: Split) -> list[str]:
        """Return the folders, below the data set's, that hold index files of a split and no files of it."""
        names = [name for folder in split.folders() for name in self.generator.companion_names(f"{folder}/x")]
        own = {split.name, *split.folders()}
        return [folder for folder in dict.fromkeys(map(os.path.dirname, names)) if folder not in own]

    def take_inventory(self, rank: int, world_size: int) -> Inventory:
        """Look at what the folders hold, and remove what dead runs of the same rank left unfinished."""
        found, pattern = Inventory(), self.own_names()
        for split in self.splits:
            folders = list(dict.fromkeys([split.name, *split.folders()]))
            beside = self._companion_folders(split)
            for folder in (*folders, *beside):
                for entry in self._entries(folder):
                    match = pattern.fullmatch(entry.name)
                    index = int(match["index"]) if match else -1
                    if match and self.belongs(entry.name, split, index, folder):
                        mine = (split.first + index) % world_size == rank
                        removed = match["temp"] and mine and remove_if_dead(entry.path)
                        if not removed and not match["rest"]:
                            found.nbytes += _allocated(entry)
                    elif folder not in beside and self._misleads(entry, split, folder, folders):
                        found.foreign.append(entry.path)
        return found

    def own_names(self) -> re.Pattern[str]:
        """Return what files of a data set like this are called, and those that stand for unfinished ones."""
        prefix, suffix = re.escape(self.dataset.file_prefix), re.escape(self.dataset.format)
        names = map(os.path.basename, self.generator.companion_names("folder/x"))
        rest = "|".join(re.escape(name.removeprefix("x")) for name in ("x", *names))
        return re.compile(
            rf"(?P<temp>\.)?{prefix}_(?P<index>\d+)_of_\d+\.{suffix}(?P<rest>{rest})(?(temp)\.\d+\.tmp)"
        )

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        path = f"{self.folder}/{folder}"
        if not os.path.lexists(path):
            return []
        with typed_errors("the folder cannot be listed", path), os.scandir(path) as entries:
            return list(entries)

    def _misleads(self, entry: os.DirEntry[str], split: Split, folder: str, folders: Iterable[str]) -> bool:
        """Tell whether a reader would take what is not of the data set; see storage.files.list_folder."""
        name = os.fsencode(entry.name)
        if folder != split.name:
            return is_data(name, self.suffixes)
        nested = split.n_subfolders > 1
        # The first entry decides whether files or subfolders are read.
        first = name < os.fsencode(os.path.basename(split.subfolder(0)) if nested else self.name(split, 0))
        if entry.is_dir():
            known = f"{folder}/{entry.name}" in folders
            return not known and not name.startswith(b".") and (nested or first)
        return is_data(name, self.suffixes) and (first or not nested)

    def belongs(self, name: str, split: Split, index: int, folder: str) -> bool:
        """Tell whether a file, or its index file or what is left of it, has that name in that folder."""
        if index >= split.n_files or self.name(split, index) not in name:
            return False
        data = f"{split.subfolder(index)}/{self.name(split, index)}"
        names = (data, *self.generator.companion_names(data))
        return folder in map(os.path.dirname, names)

    def nbytes(self) -> npt.NDArray[np.float64]:
        """Return the bytes of each file, at most a few too many; float64, shape (number of files,)."""
        return self.generator.nbytes()

    def check_room(self, found: Inventory, replaced_at_once: int) -> None:
        """Raise DiskFullError unless the file system has room for what is not there yet, of all ranks.

        `replaced_at_once` files may lie there twice for a while, old and new, where there are any.
        """
        disk = disk_of(self.folder)
        if disk is None:
            return
        files = np.ceil(self.nbytes() / disk.f_frsize) * disk.f_frsize
        needed = int(files.sum()) - found.nbytes
        if found.nbytes:
            needed += replaced_at_once * int(files.max())
        require_room(disk, needed, f"the data set of {len(self)} files", self.folder)

    def is_complete(self, index: int) -> bool:
        """Tell whether file `index`, its index files too, is there as it would be written.

        See :meth:`Generator.matches` for what is compared; index files are compared byte by byte.
        """
        companions = zip(self.companion_paths(index), self.generator.companions(index), strict=True)
        return all(self.place.holds(path, data) for path, data in companions) and self.place.matches(
            self.path(index), lambda file: self.generator.matches(index, file)
        )


def disk_of(folder: str) -> os.statvfs_result | None:
    """Return the figures of the file system that a folder lies or will lie on; None where it has none."""
    there = os.path.abspath(folder)
    while not os.path.exists(there):
        there = os.path.dirname(there)
    with typed_errors("statvfs failed", there):
        disk = os.statvfs(there)
    return disk if disk.f_blocks else None  # ramfs, for one, does not know how large it is


def require_room(disk: os.statvfs_result, needed: int, what: str, folder: str) -> None:
    """Raise DiskFullError unless a file system has so many bytes free."""
    free = disk.f_bavail * disk.f_frsize
    if needed > free:
        raise DiskFullError(
            f"{what} needs {needed / 1e9:.3f} GB more, the file system has {free / 1e9:.3f} GB free", folder
        )


def _parents(folder: str) -> list[str]:
    """Return the folders above a relative one, the nearest first."""
    above = os.path.dirname(folder)
    return [above, *_parents(above)] if above else []


def _allocated(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except FileNotFoundError:
        return 0
