"""The files of a configured data set: names, layouts and contents, and what of them is on disk already."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .. import _core
from ..config import Config
from ..errors import ConfigError, DiskFullError, DlioFastError, os_error
from ..formats.layout import FileLayout, npy_layout, npz_layout
from ..storage.files import data_suffixes, is_data

COMPRESSIONS = {"npz": ("none", "zip"), "npy": ("none",)}
CHUNK = 1 << 20
_SPOT = 4096  # bytes of an existing payload's ends that are compared
_LARGEST_ELEMENT = 16


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

    def __init__(self, cfg: Config, folder: str):
        dataset = cfg.dataset
        where = f"{cfg.source}: dataset" if cfg.source else "dataset"
        _check_choice(f"{where}.format", dataset.format, COMPRESSIONS)
        _check_choice(f"{where}.compression", dataset.compression, COMPRESSIONS[dataset.format])
        self.folder = folder
        self.dataset = dataset
        self.dtype = dataset.dtype
        self.seed = dataset.seed
        self.compressed = dataset.compression == "zip"
        self.kind = _fill_kind(self.dtype, where)
        self.splits = (
            Split("train", 0, dataset.num_files_train, dataset.num_subfolders_train),
            Split("valid", dataset.num_files_train, dataset.num_files_eval, dataset.num_subfolders_eval),
        )
        self.suffixes = data_suffixes([f".{dataset.format}"])
        self._dims = dataset.dims_table()

    def __len__(self) -> int:
        return len(self._dims)

    def name(self, split: Split, index: int) -> str:
        """Return the name, without folder, of file `index` of a split."""
        count = str(split.n_files)
        return f"{self.dataset.file_prefix}_{index:0{len(count)}d}_of_{count}.{self.dataset.format}"

    def path(self, index: int) -> str:
        """Return the path of file `index`."""
        split = self.splits[index >= self.splits[1].first]
        index -= split.first
        return f"{self.folder}/{split.subfolder(index)}/{self.name(split, index)}"

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of `x` in file `index`: the sample axis is the last."""
        return (*self._dims[index].tolist(), self.dataset.num_samples_per_file)

    def layout(self, index: int) -> FileLayout:
        """Return the layout of file `index`, as if it were not compressed."""
        shape, align = self.shape(index), self.dataset.align_payload
        if self.dataset.format == "npy":
            return npy_layout(shape, self.dtype, align)
        return npz_layout(shape, self.dtype, self.dataset.num_samples_per_file, align)

    def payload(self, index: int, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        """Yield bytes [start, stop) of the payload of file `index` in pieces that share one buffer.

        `start` is a multiple of the element size.
        """
        if stop is None:
            stop = self.layout(index).payload_nbytes
        buffer = bytearray(min(CHUNK, stop - start))
        for offset in range(start, stop, CHUNK):
            piece = memoryview(buffer)[: min(CHUNK, stop - offset)]
            _core.fill(piece, self.seed, index, offset, self.kind)
            yield piece

    def make_folders(self) -> None:
        """Create the folders; `valid` too where it stays empty, as DLIO does."""
        for folder in self.folders():
            with typed_errors("the folder cannot be created", folder):
                os.makedirs(folder, exist_ok=True)

    def folders(self) -> list[str]:
        """Return every folder that is created, parents after their children."""
        below = [folder for split in self.splits for folder in (*split.folders(), split.name)]
        return [f"{self.folder}/{name}" for name in dict.fromkeys(below)] + [self.folder]

    def take_inventory(self, rank: int, world_size: int) -> Inventory:
        """Look at what the folders hold, and remove what dead runs of the same rank left unfinished."""
        found = Inventory()
        prefix, suffix = re.escape(self.dataset.file_prefix), re.escape(self.dataset.format)
        pattern = re.compile(rf"(?P<temp>\.)?{prefix}_(?P<index>\d+)_of_\d+\.{suffix}(?(temp)\.\d+\.tmp)")
        for split in self.splits:
            folders = dict.fromkeys([split.name, *split.folders()])
            for folder in folders:
                path = f"{self.folder}/{folder}"
                if not os.path.lexists(path):
                    continue
                with typed_errors("the folder cannot be listed", path), os.scandir(path) as entries:
                    for entry in entries:
                        match = pattern.fullmatch(entry.name)
                        index = int(match["index"]) if match else -1
                        if match and self._belongs(entry.name, split, folder, index):
                            mine = (split.first + index) % world_size == rank
                            if not (match["temp"] and mine and _remove_if_dead(entry.path)):
                                found.nbytes += _allocated(entry)
                        elif self._misleads(entry, split, folder, folders):
                            found.foreign.append(entry.path)
        return found

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

    def _belongs(self, name: str, split: Split, folder: str, index: int) -> bool:
        return index < split.n_files and split.subfolder(index) == folder and self.name(split, index) in name

    def nbytes(self) -> npt.NDArray[np.float64]:
        """Return the bytes of each file, at most a few too many; float64, shape (number of files,)."""
        payloads: npt.NDArray[np.float64] = self._dims.prod(axis=1, dtype=np.float64)
        payloads *= self.dataset.num_samples_per_file * self.dtype.itemsize
        if len(payloads):
            largest = self.layout(int(payloads.argmax()))
            payloads += largest.nbytes - largest.payload_nbytes
        return payloads

    def check_room(self, found: Inventory, replaced_at_once: int) -> None:
        """Raise DiskFullError unless the file system has room for what is not there yet, of all ranks.

        `replaced_at_once` files may lie there twice for a while, old and new, where there are any.
        """
        there = os.path.abspath(self.folder)
        while not os.path.exists(there):
            there = os.path.dirname(there)
        with typed_errors("statvfs failed", there):
            disk = os.statvfs(there)
        if disk.f_blocks == 0:  # ramfs, for one, does not know how large it is
            return
        files = np.ceil(self.nbytes() / disk.f_frsize) * disk.f_frsize
        needed = int(files.sum()) - found.nbytes
        if found.nbytes:
            needed += replaced_at_once * int(files.max())
        free = disk.f_bavail * disk.f_frsize
        if needed > free:
            raise DiskFullError(
                f"the data set of {len(self)} files needs {needed / 1e9:.3f} GB more, "
                f"the file system has {free / 1e9:.3f} GB free",
                self.folder,
            )

    def is_complete(self, index: int) -> bool:
        """Tell whether file `index` is on disk as it would be written.

        Size, headers and directory are compared byte by byte, and the payload's first and last 4 KiB. Of a
        compressed file: the directory, with sizes and checksums those of the contents.
        """
        try:
            fd = os.open(self.path(index), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return False
            return self._deflated_as_planned(fd, index) if self.compressed else self._as_planned(fd, index)
        except (OSError, zipfile.BadZipFile):
            return False
        finally:
            os.close(fd)

    def _as_planned(self, fd: int, index: int) -> bool:
        layout = self.layout(index)
        if os.fstat(fd).st_size != layout.nbytes:
            return False
        begin, end = len(layout.head), len(layout.head) + layout.payload_nbytes
        head = os.pread(fd, begin, 0)
        crc = None if layout.crc_in_head is None else head[layout.crc_in_head : layout.crc_in_head + 4]
        last = max(0, layout.payload_nbytes - _SPOT) // _LARGEST_ELEMENT * _LARGEST_ELEMENT
        spots = ((0, min(_SPOT, layout.payload_nbytes)), (last, layout.payload_nbytes))
        ends = (os.pread(fd, stop - start, begin + start) for start, stop in spots)
        planned = (b"".join(map(bytes, self.payload(index, start, stop))) for start, stop in spots)
        return (
            head == with_crc(layout.head, layout.crc_in_head, crc)
            and os.pread(fd, len(layout.tail), end) == with_crc(layout.tail, layout.crc_in_tail, crc)
            and all(map(bytes.__eq__, ends, planned))
        )

    def _deflated_as_planned(self, fd: int, index: int) -> bool:
        layout = self.layout(index)
        with open(fd, "rb", closefd=False) as file, zipfile.ZipFile(file) as archive:
            members = {member.filename: member for member in archive.infolist()}
        x, y = members.get("x.npy"), members.get("y.npy")
        if len(members) != 2 or x is None or y is None or x.compress_type != zipfile.ZIP_DEFLATED:
            return False
        header = layout.head[layout.crc_from :]
        if x.file_size != len(header) + layout.payload_nbytes:
            return False
        crc = zlib.crc32(header)
        for piece in self.payload(index):
            crc = zlib.crc32(piece, crc)
        return x.CRC == crc


def with_crc(part: bytes, at: int | None, crc: bytes | None) -> bytes:
    """Return head or tail of a layout with the checksum put in."""
    return part if at is None or crc is None else part[:at] + crc + part[at + 4 :]


def _check_choice(key: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{key}: {value!r} cannot be generated; what can: {', '.join(choices)}")


def _fill_kind(dtype: np.dtype, where: str) -> int:
    """Return which random contents an element type gets: integers their full range, floats [0, 1)."""
    if dtype.kind in "iu":
        return _core.FILL_KINDS["bytes"]
    if dtype.kind == "b":
        return _core.FILL_KINDS["bool"]
    real = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    if dtype.newbyteorder("<") == dtype and real in (2, 4, 8):
        return _core.FILL_KINDS[f"float{8 * real}"]
    raise ConfigError(
        f"{where}.record_element_type: {dtype.str!r} cannot be generated; what can: bool, integers, and "
        "float16, float32, float64, complex64, complex128 in little-endian order"
    )


@contextmanager
def typed_errors(what: str, path: str) -> Iterator[None]:
    """Turn an OSError into the exception family's, saying what failed and at which path."""
    try:
        yield
    except DlioFastError:
        raise
    except OSError as error:
        message = f"{error.strerror}: {what}"
        raise os_error(error.errno or errno.EIO, message, str(error.filename or path)) from error


def _allocated(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except FileNotFoundError:
        return 0


def _remove_if_dead(path: str) -> bool:
    """Remove a temporary file unless somebody is writing it, who would hold its lock."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
