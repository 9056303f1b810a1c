"""Making HDF5 files in DLIO's layout.

A contiguous file is laid out: h5py makes it once for each shape without the records, in memory, with their
room at a multiple of 4096 bytes, and the core writes what is before, between and behind. A chunked one (with
``hdf5.chunk_dims``, ``hdf5.max_shape`` or a compression) is written by h5py.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError
from .generating import EncodedGenerator, Generator, LaidOutGenerator
from .hdf5_library import h5py
from .layout import ALIGNMENT, FileLayout

if TYPE_CHECKING:
    from ..config.data import DatasetSection

SLAB = 64 << 20
"""Bytes of records that are in memory at once while a chunked file is written, or one row of chunks."""
_HEADERS = 1 << 10  # of a dataset, and its share of the group's, at most
_MAX_LAID_OUT = 32  # datasets whose headers fit into the head of a layout
_FEW_LABELS = 2 << 10  # that fit into the head, too; others are larger than what is between records
_FILTERS = {"none": None, "gzip": "gzip", "zip": "gzip", "lzf": "lzf"}


def new_file(file: Any, align_from: int | None = None) -> Any:
    """Return an h5py.File over an empty file object, of which no byte depends on the time.

    What has at least `align_from` bytes begins at a multiple of 4096.
    """
    h5 = h5py()
    fcpl, fapl = h5.h5p.create(h5.h5p.FILE_CREATE), h5.h5p.create(h5.h5p.FILE_ACCESS)
    fcpl.set_obj_track_times(False)
    fapl.set_fclose_degree(h5.h5f.CLOSE_STRONG)
    fapl.set_libver_bounds(h5.h5f.LIBVER_LATEST, h5.h5f.LIBVER_LATEST)
    if align_from is not None:
        fapl.set_alignment(align_from, ALIGNMENT)
    fapl.set_fileobj_driver(h5.h5fd.fileobj_driver, file)
    return h5.File(h5.h5f.create(repr(file).encode("ascii", "replace"), h5.h5f.ACC_TRUNC, fcpl, fapl))


def new_groups(file: Any, name: str) -> None:
    """Make the groups that a dataset of that path lies in, without the times of their making."""
    h5 = h5py()
    gcpl = h5.h5p.create(h5.h5p.GROUP_CREATE)
    gcpl.set_obj_track_times(False)
    above = [part for part in name.split("/")[:-1] if part]
    for depth in range(1, len(above) + 1):
        group = "/".join(above[:depth])
        if group not in file:
            h5.h5g.create(file.id, group.encode(), gcpl=gcpl)


def hdf5_generator(dataset: DatasetSection, where: str) -> Generator:
    """Return what makes the files of a ``dataset`` section."""
    options = dataset.hdf5
    chunked = options.chunk_dims or options.max_shape or dataset.compression != "none"
    laid_out = not chunked and options.num_dset_per_record <= _MAX_LAID_OUT
    return (ContiguousGenerator if laid_out else ChunkedGenerator)(dataset, where)


def record_shape(dataset: DatasetSection, dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a sample in each of the ``records_k``.

    With several of them the first dimension is shared out, and left out where nothing remains of it.
    """
    parts = dataset.hdf5.num_dset_per_record
    if parts == 1:
        return dims
    first = dims[0] // parts
    return dims[1:] if first == 1 else (first, *dims[1:])


class ContiguousGenerator(LaidOutGenerator):
    """Makes files whose datasets are contiguous."""

    def layout(self, index: int) -> FileLayout:
        shape = (self.samples, *record_shape(self.dataset, self.file_dims(index)))
        return contiguous_layout(
            shape, self.dtype, self.dataset.hdf5.num_dset_per_record, self.dataset.align_payload
        )

    def nbytes(self) -> npt.NDArray[np.float64]:
        between = ALIGNMENT * (self.dataset.hdf5.num_dset_per_record - 1)
        return super().nbytes() + between


class ChunkedGenerator(EncodedGenerator):
    """Makes files whose records are chunked."""

    compressions = tuple(_FILTERS)

    def __init__(self, dataset: DatasetSection, where: str = "dataset"):
        super().__init__(dataset, where)
        self._where = where
        if len(self):
            self._options(self._shape(0))

    def nbytes(self) -> npt.NDArray[np.float64]:
        payloads = self.payload_nbytes()
        if not len(payloads):
            return payloads
        # Random contents hardly compress. Chunks at the edges are stored whole; an index takes bytes a chunk.
        shape = self._shape(int(payloads.argmax()))
        side = _chunks(shape, self.dtype, tuple(self._options(shape).items()))
        in_grid = math.prod(-(-n // s) * s for n, s in zip(shape, side, strict=True))
        per_byte: float = in_grid / math.prod(shape) * (1 + 24 / (math.prod(side) * self.dtype.itemsize))
        parts = self.dataset.hdf5.num_dset_per_record
        payloads *= per_byte
        return payloads + (8 * self.samples + (2 + parts) * 4 * _HEADERS)

    def _shape(self, index: int) -> tuple[int, ...]:
        return (self.samples, *record_shape(self.dataset, self.file_dims(index)))

    def encode(self, index: int, file: IO[bytes]) -> None:
        shape = self._shape(index)
        options = self._options(shape)
        row = math.prod(shape[1:]) * self.dtype.itemsize
        with new_file(file) as out:
            for part in range(self.dataset.hdf5.num_dset_per_record):
                records = out.create_dataset(
                    f"records_{part}", shape, self.dtype, track_times=False, **options
                )
                for start, stop in _slabs(shape[0], records.chunks, row):
                    slab = np.empty((stop - start, *shape[1:]), self.dtype)
                    offset = (part * shape[0] + start) * row
                    self.fill(slab.reshape(-1).view(np.uint8), index, offset)
                    records[start:stop] = slab
            out.create_dataset("labels", data=np.zeros(shape[0], np.int64), track_times=False)

    def _options(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """Return the arguments of create_dataset. Raises ConfigError where they do not fit the shape."""
        chosen = self.dataset.hdf5
        options: dict[str, Any] = {"compression": _FILTERS[self.dataset.compression]}
        if options["compression"] == "gzip":
            options["compression_opts"] = level = self.dataset.compression_level
            if not 0 <= level <= 9:
                raise ConfigError(f"{self._where}.compression_level: {level} is not within 0 ... 9, gzip's")
        most = shape
        if chosen.max_shape:
            options["maxshape"] = most = (shape[0], *chosen.max_shape)
            if len(most) != len(shape) or any(m < n for m, n in zip(most, shape, strict=True)):
                raise ConfigError(
                    f"{self._where}.hdf5.max_shape: {list(chosen.max_shape)} does not hold a sample of "
                    f"shape {list(shape[1:])}"
                )
        if chosen.chunk_dims:
            if len(chosen.chunk_dims) != len(shape):
                raise ConfigError(
                    f"{self._where}.hdf5.chunk_dims: {list(chosen.chunk_dims)} needs {len(shape)} "
                    f"dimensions, those of the records, {list(shape)}, the samples first"
                )
            options["chunks"] = tuple(map(min, chosen.chunk_dims, most))  # HDF5 refuses larger ones
        return {"chunks": True, **options}


@lru_cache(maxsize=8)
def _chunks(shape: tuple[int, ...], dtype: np.dtype[Any], options: tuple[tuple[str, Any], ...]) -> Any:
    """Return the shape of the chunks that h5py gives a dataset."""
    with new_file(_Image()) as file:
        return file.create_dataset("x", shape, dtype, **dict(options)).chunks


def _slabs(samples: int, chunks: tuple[int, ...] | None, row: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, stop) of samples that are written at once: whole chunks."""
    side = chunks[0] if chunks else 1
    step = side * max(1, SLAB // max(1, side * row))
    for start in range(0, samples, step):
        yield start, min(samples, start + step)


@lru_cache(maxsize=8)  # a data set has one layout, or one a file
def contiguous_layout(shape: tuple[int, ...], dtype: np.dtype[Any], parts: int, align: bool) -> FileLayout:
    """Lay out a file of contiguous ``records_0`` ... ``records_{parts-1}``, of that shape, and ``labels``.

    The payload goes from the first of them to the end of the last; what is between them is padding.
    """
    h5 = h5py()
    nbytes = math.prod(shape) * dtype.itemsize
    image = _Image()
    # It aligns whatever is as large, so headers had better be smaller.
    with new_file(image, nbytes if align and nbytes > _HEADERS else None) as file:
        plist = h5.h5p.create(h5.h5p.DATASET_CREATE)
        plist.set_alloc_time(h5.h5d.ALLOC_TIME_LATE)
        plist.set_fill_time(h5.h5d.FILL_TIME_NEVER)
        plist.set_obj_track_times(False)
        kinds = {f"records_{part}": (shape, dtype) for part in range(parts)}
        kinds["labels"] = (shape[:1], np.dtype(np.int64))
        for name, (sides, kind) in kinds.items():
            space, type_id = h5.h5s.create_simple(sides), h5.h5t.py_create(kind, logical=True)
            h5.h5d.create(file.id, name.encode(), type_id, space, plist)
        file.flush()
        # All headers come first: datasets get their room now, one after the other, as they are written to.
        # Small labels would be put between records, if there were any yet.
        small = shape[0] < _FEW_LABELS
        for name in sorted(kinds, key=lambda name: (name == "labels") != small):
            file[name][... if name == "labels" else (0,) * len(shape)] = 0
        starts = [file[f"records_{part}"].id.get_offset() for part in range(parts)]
    start, end = starts[0], starts[-1] + nbytes
    assert starts == sorted(starts)
    return FileLayout(image.read_at(0, start), end - start, image.read_at(end, image.size - end))


class _Image(io.RawIOBase):
    """A file in memory of which only the blocks that were written take room."""

    def __init__(self) -> None:
        self.size = 0
        self._at = 0
        self._blocks: dict[int, bytearray] = {}

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None, /) -> int:
        self.size = self._at if size is None else size
        return self.size

    def readinto(self, out: Any, /) -> int:
        data = self.read_at(self._at, max(0, min(len(out), self.size - self._at)))
        out[: len(data)] = data
        self._at += len(data)
        return len(data)

    def write(self, data: Any, /) -> int:
        with memoryview(data).cast("B") as view:
            for done, block, begin, end in self._pieces(self._at, len(view)):
                kept = self._blocks.setdefault(block, bytearray(ALIGNMENT))
                kept[begin:end] = view[done : done + end - begin]
            self._at += len(view)
            self.size = max(self.size, self._at)
            return len(view)

    def read_at(self, offset: int, nbytes: int) -> bytes:
        """Return bytes; what was never written is zeros."""
        nothing = bytes(ALIGNMENT)
        pieces = self._pieces(offset, nbytes)
        return b"".join(self._blocks.get(block, nothing)[begin:end] for _, block, begin, end in pieces)

    def _pieces(self, offset: int, nbytes: int) -> Iterator[tuple[int, int, int, int]]:
        done = 0
        while done < nbytes:
            block, begin = divmod(offset + done, ALIGNMENT)
            end = min(ALIGNMENT, begin + nbytes - done)
            yield done, block, begin, end
            done += end - begin
