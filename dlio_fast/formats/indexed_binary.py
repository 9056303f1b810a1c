"""Indexed binary: raw samples back to back, and beside them where each lies.

The layout is DLIO's (data_generator/indexed_binary_generator.py): ``FILE.off.idx`` holds the offset and
``FILE.sz.idx`` the size in bytes of each sample, as native uint64. The core reads it, csrc/dlf_indexed.c: the
index of a file when its first sample is wanted, checked against the file, and of the file the samples that
are wanted.

DLIO lets the offsets start again at 0 with every ``generation_buffer_size`` of a larger file, 2 GiB by
default. Where they do, and samples of one size fill the file exactly, the samples are taken to lie one after
the other, which is how DLIO has written them. Any other index is followed as it is, overlaps included.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._typing import Array, Values
from ..errors import FormatError, MemberError, TruncatedError
from ..storage.memory import shared_pool
from .base import FieldSpec, FileSpec, Format
from .generating import Generator, LaidOutGenerator
from .layout import FileLayout, raw
from .packing import Packer, Packing

if TYPE_CHECKING:
    from ..config import Config
    from ..config.data import DatasetSection

FIELD = "x"
"""What the one array of a sample is called."""

OFFSETS, SIZES = ".off.idx", ".sz.idx"
ENTRY = np.dtype(np.uint64)


class IndexedBinaryGenerator(LaidOutGenerator):
    """DLIO's files, written in one pass; offsets go on where DLIO's start again."""

    def layout(self, index: int) -> FileLayout:
        return FileLayout(b"", self.samples * self._sample_nbytes(index))

    def companion_names(self, name: str) -> tuple[str, ...]:
        return name + OFFSETS, name + SIZES

    def companions(self, index: int) -> tuple[bytes, ...]:
        size = self._sample_nbytes(index)
        offsets = np.arange(self.samples, dtype=ENTRY) * ENTRY.type(size)
        return offsets.tobytes(), np.full(self.samples, size, ENTRY).tobytes()

    def _sample_nbytes(self, index: int) -> int:
        return math.prod(self.file_dims(index)) * self.dtype.itemsize


class IndexedBinaryPacker(Packer):
    """Writes the bytes of samples of any size; their element type and shape are a configuration's to know."""

    one_field = True

    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        [values] = samples.values()
        for piece in [values] if isinstance(values, np.ndarray) else values:
            file.write(raw(piece))

    def companion_names(self, name: str) -> tuple[str, ...]:
        return name + OFFSETS, name + SIZES

    def companions(self, name: str, samples: Mapping[str, Values]) -> dict[str, bytes]:
        [values] = samples.values()
        sizes = np.fromiter((value.nbytes for value in values), ENTRY, len(values))
        offsets = np.cumsum(sizes, dtype=ENTRY) - sizes
        return {name + OFFSETS: offsets.tobytes(), name + SIZES: sizes.tobytes()}


class IndexedBinaryFormat(Format):
    """Indexed binary files.

    A sample is a uint8 array of its size. Under a DLIO config it has the config's element type, and also its
    shape where it has its size; samples of other sizes are 1-d, and a batch of several sizes is a list.
    """

    name = "indexed_binary"
    suffixes = (".indexed_binary",)
    container = "indexed_binary"

    def __init__(self, dtype: np.dtype[Any] | str = "uint8", dims: tuple[int, ...] | None = None):
        self.dtype, self.dims = np.dtype(dtype), dims

    def configured(self, config: Config) -> IndexedBinaryFormat:
        dataset = config.dataset
        return type(self)(dataset.dtype, None if dataset.sizes_are_ragged else dataset.sample_dims)

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        if fields is not None and list(fields) != [FIELD]:
            raise MemberError(f"{path}: samples have the one field {FIELD!r}, not {list(fields)}", path)
        with _core.File(path, shared_pool(), direct=direct) as data:
            nbytes = data.size
        offsets, offset = _first(path, OFFSETS, direct)
        sizes, size = _first(path, SIZES, direct)
        if offsets != sizes:
            raise FormatError(f"{path}: the index has {offsets} offsets and {sizes} sizes", path, SIZES)
        if offset > nbytes or size > nbytes - offset:
            raise TruncatedError(
                f"{path}: the index has {size} bytes from {offset} on for the first sample, "
                f"the file has {nbytes}",
                path,
                OFFSETS,
                0,
            )
        return FileSpec((self._field(size),), offsets)

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return IndexedBinaryGenerator(dataset, where)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return IndexedBinaryPacker(fields, packing, self.name)

    def _field(self, size: int) -> FieldSpec:
        dtype = self.dtype if size % self.dtype.itemsize == 0 else np.dtype(np.uint8)
        shape: tuple[int, ...] = (size // dtype.itemsize,)
        if self.dims is not None and size == math.prod(self.dims) * self.dtype.itemsize:
            shape = self.dims
        return FieldSpec(FIELD, dtype, shape, b"", dtype.str.encode())


def _first(path: str, ending: str, direct: bool) -> tuple[int, int]:
    """Return how many entries a half of the index has, and the first."""
    with _core.File(path + ending, shared_pool(), direct=direct) as half:
        entries, rest = divmod(half.size, ENTRY.itemsize)
        if rest or not entries:
            raise FormatError(
                f"{path}: {ending} has {half.size} bytes, which are no list of 64-bit numbers",
                path,
                ending,
                0,
            )
        first: Array = np.frombuffer(memoryview(half.read(0, ENTRY.itemsize)), ENTRY)
        return entries, int(first[0])


FORMAT = IndexedBinaryFormat()
