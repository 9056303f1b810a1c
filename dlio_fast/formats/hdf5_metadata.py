"""What the metadata of an HDF5 file say: which datasets it holds and where their bytes lie. h5py reads them.

The sources are h5py's low-level interface (docs.h5py.org, "Low-Level API") and the HDF5 reference manual.
"""

from __future__ import annotations

import os
import stat
import struct
import threading
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ..errors import (
    FileChangedError,
    FormatError,
    MemberError,
    NotRegularFileError,
    SampleError,
    UnsupportedError,
)
from ..storage.local import store_of
from ..storage.seekable import SeekableFile
from .hdf5_library import h5py, typed_errors

# csrc/dlf_hdf5.h: the words of a description
_NONE = 2**64 - 1
_CONTIGUOUS, _CHUNKED = 0, 1
_DESCR_BYTES = 64

_SHUFFLE, _DEFLATE, _LZF, _FLETCHER32 = 2, 1, 32000, 3
_FILTERS = (_SHUFFLE, _DEFLATE, _LZF, _FLETCHER32)
_RANK = {_SHUFFLE: 0, _DEFLATE: 1, _LZF: 1, _FLETCHER32: 2}
"""The order in which the core undoes filters, from the last to the first, one of a kind."""

SPARSE_BYTES, SPARSE_RATIO = 1 << 30, 1032
"""A dataset may be larger than its file, where parts were never written: up to this size or this factor."""


@cache
def _access() -> Any:
    fapl = h5py().h5p.create(h5py().h5p.FILE_ACCESS)
    # We only read, and check for changes ourselves; locks fail on some network file systems.
    fapl.set_file_locking(False, True)
    fapl.set_fclose_degree(h5py().h5f.CLOSE_STRONG)
    return fapl


_one_at_a_time = threading.Lock()
"""h5py lets one thread in at a time anyway; so whole visits exclude one another, at no cost."""


def _forget_inherited() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()  # a thread of the parent's may hold it for ever


os.register_at_fork(after_in_child=_forget_inherited)


@lru_cache(maxsize=256)
def _type_of(dtype: np.dtype[Any]) -> Any:
    return h5py().h5t.py_create(dtype, logical=True)


class Dataset:
    """A dataset of an open file.

    Attributes
    ----------
    id : h5py.h5d.DatasetID
    name : str
    dtype : numpy.dtype
    shape : tuple of int
    """

    def __init__(self, file: MetadataFile, name: str, id: Any):
        self.file, self.name, self.id = file, name, id
        self._type = id.get_type()
        self.dtype: np.dtype[Any] = self._type.dtype
        self.shape: tuple[int, ...] = id.shape

    def check(self) -> None:
        """Raise where it cannot give samples."""
        file, name = self.file, self.name
        if not self.shape:
            raise SampleError(
                f"{file.path}: {name!r} is a scalar, without a first axis for samples", file.path, name
            )
        if self.dtype.hasobject:
            raise UnsupportedError(f"{file.path}: {name!r} has items of variable length", file.path, name)

    def close(self) -> None:
        """Let go of what is open in the file."""
        self._type.close()
        self.id.close()

    def is_plain(self) -> bool:
        """Whether its bytes are those of the numpy array: the very type that h5py has numpy's read into."""
        simple = self.dtype.kind in "biufcSV" and self.dtype.names is None and self.dtype.subdtype is None
        return (
            simple
            and len(self.dtype.str) < _DESCR_BYTES
            and self._type.equal(_type_of(np.dtype(self.dtype.str)))
        )

    def check_size(self) -> None:
        """Raise UnsupportedError for a dataset that claims to be many times as large as its file."""
        nbytes = self.dtype.itemsize * int(np.prod(self.shape, dtype=object))
        if nbytes > max(SPARSE_BYTES, SPARSE_RATIO * self.file.size):
            raise UnsupportedError(
                f"{self.file.path}: {self.name!r} claims {nbytes} bytes, more than a GiB and more than "
                f"{SPARSE_RATIO} times the file's {self.file.size}",
                self.file.path, self.name,
            )  # fmt: skip

    def description(self, extents: list[Any]) -> bytes | None:
        """Say where the samples lie, in the words of csrc/dlf_hdf5.h; None: the core cannot read them.

        What of the file is taken is appended to `extents`, as arrays (n, 2) of address and size.
        """
        h5 = h5py()
        if not self.is_plain() or self.file.has_userblock or h5.h5f.get_name(self.id) != self.file.name:
            return None
        plist = self.id.get_create_plist()
        layout = plist.get_layout()
        if layout == h5.h5d.CONTIGUOUS and not plist.get_external_count():
            self.check_size()
            address = self.id.get_offset()
            nbytes = self.id.get_storage_size()
            if address is not None and nbytes:
                extents.append(np.array([[address, nbytes]], np.uint64))
            tail = struct.pack("=Q", _NONE if address is None else address)
            return self._head(_CONTIGUOUS, plist, address is None) + tail
        if layout != h5.h5d.CHUNKED:
            return None
        self.check_size()
        filters = _filters(plist, self.dtype.itemsize)
        if filters is None:
            return None
        side = plist.get_chunk()
        chunks, missing = self._chunks(side)
        if self._partial_unfiltered(chunks, side, filters):
            return None
        extents.append(chunks[:, 1:3])
        head = self._head(_CHUNKED, plist, missing)
        words = (*side, *filters, len(chunks))
        table: bytes = chunks.tobytes()
        return head + struct.pack(f"={len(words)}Q", *words) + table

    def _head(self, kind: int, plist: Any, incomplete: bool) -> bytes:
        words = (kind, self.dtype.itemsize, len(self.shape), *self.shape)
        descr = self.dtype.str.encode().ljust(_DESCR_BYTES, b"\0")
        fill = self._fill(plist) if incomplete else b""
        padded = fill.ljust(-(-len(fill) // 8) * 8, b"\0")
        return struct.pack(f"={len(words)}Q", *words) + descr + struct.pack("=Q", bool(fill)) + padded

    def _fill(self, plist: Any) -> bytes:
        """Return what stands for items that were never written; empty: zeros do."""
        h5 = h5py()
        if plist.get_fill_time() == h5.h5d.FILL_TIME_NEVER:
            return b""
        if plist.fill_value_defined() != h5.h5d.FILL_VALUE_USER_DEFINED:
            return b""
        value = np.zeros((), self.dtype)
        plist.get_fill_value(value)
        return value.tobytes()

    def _chunks(self, side: tuple[int, ...]) -> tuple[Any, bool]:
        """Return (index, address, size, mask) of each chunk by index, and whether some were never written."""
        found: list[tuple[tuple[int, ...], int, int, int]] = []

        def add(info: Any) -> None:
            found.append((info.chunk_offset, info.byte_offset, info.size, info.filter_mask))

        if hasattr(self.id, "chunk_iter"):
            self.id.chunk_iter(add)
        else:
            for i in range(self.id.get_num_chunks()):
                add(self.id.get_chunk_info(i))
        grid = [-(-n // s) for n, s in zip(self.shape, side, strict=True)]
        chunks = np.empty((len(found), 4), np.uint64)
        if found:
            corners, addresses, sizes, masks = zip(*found, strict=True)
            at, off = np.divmod(np.array(corners, np.uint64), np.array(side, np.uint64))
            if off.any() or (at >= np.array(grid, np.uint64)).any():
                raise FormatError(
                    f"{self.file.path}: a chunk of {self.name!r} lies outside it or off its grid",
                    self.file.path, self.name,
                )  # fmt: skip
            chunks[:, 0] = np.ravel_multi_index(tuple(at.astype(np.int64).T), grid)
            chunks[:, 1], chunks[:, 2], chunks[:, 3] = addresses, sizes, masks
            chunks = chunks[np.argsort(chunks[:, 0], kind="stable")]
        return chunks, len(found) < int(np.prod(grid, dtype=object))

    def _partial_unfiltered(self, chunks: Any, side: tuple[int, ...], filters: Sequence[int]) -> bool:
        """Whether chunks at the edge may be stored unfiltered without saying so (H5Pset_chunk_opts)."""
        if all(position == _NONE for position in filters) or not any(
            n % s for n, s in zip(self.shape, side, strict=True)
        ):
            return False
        plain = self.dtype.itemsize * int(np.prod(side, dtype=object))
        return bool(((chunks[:, 2] == plain) & (chunks[:, 3] == 0)).any())


def _filters(plist: Any, itemsize: int) -> tuple[int, ...] | None:
    """Return where in the pipeline each of the filters is that the core undoes; None: there are others."""
    positions = dict.fromkeys(_FILTERS, _NONE)
    rank = -1
    for i in range(plist.get_nfilters()):
        code, _, values, _ = plist.get_filter(i)
        if _RANK.get(code, -1) <= rank or (code == _SHUFFLE and values[:1] != (itemsize,)):
            return None
        positions[code], rank = i, _RANK[code]
    return tuple(positions.values())


class MetadataFile:
    """A file whose metadata are read; a context manager.

    Attributes
    ----------
    path : str
    size, inode : int
    mtime_ns : int
        Of the very file that h5py has open.
    has_userblock : bool
        Foreign bytes come first, and not all versions of HDF5 count them in addresses.
    """

    def __init__(self, path: str):
        self.path = path
        self._datasets: list[Dataset] = []
        self._object: SeekableFile | None = None

    def __enter__(self) -> MetadataFile:
        if store_of(self.path):
            self._object = SeekableFile(self.path)
            self._object.read(1)  # its block holds most metadata: not while others wait
            self._object.seek(0)
        _one_at_a_time.acquire()
        try:
            with typed_errors(self.path):
                self._open()
        except BaseException:
            _one_at_a_time.release()
            if self._object is not None:
                self._object.close()
            raise
        return self

    def _open(self) -> None:
        h5 = h5py()
        if self._object is not None:
            self._open_object(self._object)
            return
        mode = os.stat(self.path).st_mode  # opening a FIFO would wait for ever
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise NotRegularFileError(f"{self.path}: is not a regular file", self.path)
        self.id = h5.h5f.open(os.fsencode(self.path), h5.h5f.ACC_RDONLY, fapl=_access())
        self._fd = self.id.get_vfd_handle()
        status = os.fstat(self._fd)
        self.size, self.inode, self.mtime_ns = status.st_size, status.st_ino, status.st_mtime_ns
        self._settle()

    def _open_object(self, opened: SeekableFile) -> None:
        h5, access = h5py(), _access().copy()
        access.set_fileobj_driver(h5.h5fd.fileobj_driver, opened)
        self.id = h5.h5f.open(os.fsencode(self.path), h5.h5f.ACC_RDONLY, fapl=access)
        (self.size, self.inode), self.mtime_ns = opened.file.version, 0
        self._settle()

    def _settle(self) -> None:
        self.name: bytes = h5py().h5f.get_name(self.id)
        self.has_userblock = self.id.get_create_plist().get_userblock() != 0

    def __exit__(self, *exc: object) -> None:
        try:
            # Not left to the closing of the file: HDF5 1.14 crashes where another thread, or a virtual
            # dataset, has the same file open.
            for dataset in self._datasets:
                dataset.close()
            self.id.close()
            if self._object is not None:
                self._object.close()
        finally:
            _one_at_a_time.release()

    def check_unchanged(self) -> None:
        """Raise FileChangedError if size or modification time differ from those at opening."""
        if self._object is not None:
            self._object.file.check_unchanged()
            return
        status = os.fstat(self._fd)
        if (status.st_size, status.st_mtime_ns) != (self.size, self.mtime_ns):
            raise FileChangedError(f"{self.path}: the file changed while being read", self.path)

    def names(self) -> list[str]:
        """The datasets at the top, as h5py lists them."""
        h5 = h5py()
        root = h5.h5g.open(self.id, b"/")
        found = []
        for name in root:
            try:
                kind = h5.h5o.get_info(root, name).type
            except (KeyError, RuntimeError, OSError):
                continue  # a link to nothing
            if kind == h5.h5o.TYPE_DATASET:
                found.append(os.fsdecode(name))
        return found

    def dataset(self, name: str) -> Dataset:
        """Open a dataset by its path in the file; MemberError where there is none."""
        try:
            id = h5py().h5d.open(self.id, os.fsencode(name))
        except (KeyError, RuntimeError, ValueError) as error:
            if b"not found" not in str(error).encode() and "doesn't exist" not in str(error):
                raise
            raise MemberError(
                f"{self.path}: no dataset {name!r}; it has {', '.join(self.names()) or 'none'}",
                self.path, name,
            ) from None  # fmt: skip
        try:
            opened = Dataset(self, name, id)
        except BaseException:
            id.close()
            raise
        self._datasets.append(opened)
        opened.check()
        return opened

    def datasets(self, names: Sequence[str] | None) -> list[Dataset]:
        """Open those, by default all at the top; they hold the same number of samples, or SampleError."""
        wanted = self.names() if names is None else list(names)
        if not wanted:
            raise MemberError(f"{self.path}: the file has no datasets at its top", self.path)
        found = [self.dataset(name) for name in wanted]
        counts = {dataset.name: dataset.shape[0] for dataset in found}
        if len(set(counts.values())) > 1:
            raise SampleError(
                f"{self.path}: the datasets disagree about the number of samples: {counts}", self.path
            )
        return found

    def describe(self, names: Sequence[str]) -> bytes:
        """Say where the samples of datasets lie, in the words of csrc/dlf_hdf5.h."""
        datasets = self.datasets(names)
        extents: list[Any] = []
        parts = [dataset.description(extents) for dataset in datasets]
        by_library = any(part is None for part in parts)
        self._check_apart(extents)
        self.check_unchanged()
        words = (self.size, self.inode, self.mtime_ns & _NONE, datasets[0].shape[0], by_library)
        head = struct.pack(f"={len(words)}Q", *words)
        return head + b"".join(part for part in parts if part is not None and not by_library)

    def _check_apart(self, extents: list[Any]) -> None:
        """Raise FormatError where two things claim the same bytes of the file."""
        if sum(map(len, extents)) < 2:
            return
        taken = np.concatenate(extents)
        taken = taken[np.argsort(taken[:, 0], kind="stable")]
        starts, sizes = taken[:, 0], taken[:, 1]
        # The sizes have not been checked yet: no sums that could wrap around.
        overlap = np.nonzero(sizes[:-1] > starts[1:] - starts[:-1])[0]
        if len(overlap):
            at = int(starts[overlap[0] + 1])
            raise FormatError(f"{self.path}: chunks or datasets overlap (at byte {at})", self.path, None, at)
