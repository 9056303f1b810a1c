"""What a Parquet file's footer says: where the chunks of columns lie, and what they take."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import _core
from ..errors import FormatError, TruncatedError, UnsupportedError
from .arrowlib import ArrowType, pa, pq, types
from .columns import Kind, arrow_errors, is_bytes

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
TAIL = 64 << 10
"""Bytes at the end of a file that are read at once: most footers fit."""

UNCOMPRESSED, LAST_CODEC = 0, 7
"""CompressionCodec, up to LZ4_RAW."""

METADATA_FACTOR = 10
"""How much larger pyarrow's footers are in memory than in the file, about."""


STORED = {
    ("BOOLEAN", "b1"): 0,
    **{("INT32", f"{sign}{size}"): 4 for sign in "iu" for size in (1, 2, 4)},
    **{("INT64", f"{sign}8"): 8 for sign in "iu"},
    ("FLOAT", "f4"): 4,
    ("DOUBLE", "f8"): 8,
    ("FIXED_LEN_BYTE_ARRAY", "f2"): 2,
}
"""Bytes of a value of Parquet's types that stand for numpy's; of BOOLEAN a bit."""


class Chunk(NamedTuple):
    """A column of a row group, where it lies in the file and what it takes decoded."""

    column: str
    start: int
    nbytes: int
    values: int
    unpacked: int
    decoded: int
    codec: int


class Numbers(NamedTuple):
    """How a column of numbers lies in a file, where the core can decode it; see csrc/dlf_column.h."""

    stored: int
    itemsize: int
    definition: int
    list_size: int


class Wanted(NamedTuple):
    """A column that is read of every row group."""

    name: str
    leaf: int
    kind: Kind
    is_bytes: bool
    numbers: Numbers | None


class Footer:
    """What a file's footer says."""

    def __init__(self, file: _core.File):
        self.path, self.size = file.path, file.size
        tail = _read_footer(file)
        with arrow_errors(self.path, "the footer"):
            limit = max(1, len(tail))
            opened = pq.ParquetFile(
                pa.BufferReader(tail), thrift_string_size_limit=limit, thrift_container_size_limit=limit
            )
            self.metadata = opened.metadata
            self.schema = opened.schema_arrow
        if sum(map(_leaves, self.schema.types)) != self.metadata.num_columns:
            raise FormatError(f"{self.path}: the footer's two schemas disagree", self.path)
        groups = self.metadata.num_row_groups
        self.rows, self.chunks = _core.parquet_footer(tail, self.path, groups, self.metadata.num_columns)
        self.nbytes = METADATA_FACTOR * len(tail) + self.chunks.nbytes

    def wanted(self, kinds: dict[str, Kind]) -> list[Wanted]:
        """Find columns among Parquet's own, which are the leaves of Arrow's."""
        leaves, number = {}, 0
        for field in self.schema:
            leaves[field.name] = number
            number += _leaves(field.type)
        found = []
        for name, kind in kinds.items():
            type, leaf = self.schema.field(name).type, leaves[name]
            numbers = _numbers(self.metadata.schema.column(leaf), type, kind)
            found.append(Wanted(name, leaf, kind, is_bytes(type), numbers))
        return found

    def row_groups(self) -> list[RowGroup]:
        """The row groups, in order."""
        return [RowGroup(self, i, rows) for i, rows in enumerate(self.rows.tolist())]


class RowGroup:
    """One row group of a file."""

    def __init__(self, footer: Footer, index: int, rows: int):
        self.footer, self.index, self.rows = footer, index, rows
        self.found: list[Chunk] | None = None  # for who decodes what has just been read

    def chunks(self, columns: Sequence[Wanted]) -> list[Chunk]:
        """Find the chunks of columns; FormatError where the footer says what cannot be."""
        told = self.footer.chunks[self.index, [column.leaf for column in columns]].tolist()
        return [self._chunk(numbers, column) for numbers, column in zip(told, columns, strict=True)]

    def _chunk(self, told: list[int], column: Wanted) -> Chunk:
        codec, values, unpacked, nbytes, start, first, elsewhere = told
        kind = column.kind
        if 0 < first < start:
            start = first
        if elsewhere > 0:
            raise UnsupportedError(
                f"{self.footer.path}: column {column.name!r} lies in another file",
                self.footer.path, column.name,
            )  # fmt: skip
        if min(start, nbytes) < 0 or start + nbytes > self.footer.size:
            raise self._wrong(column, f"lie at bytes {start} to {start + nbytes} of {self.footer.size}")
        if min(values, unpacked) < 0 or (not kind.shape and values != self.rows):
            raise self._wrong(column, f"hold {values} values of {unpacked} bytes in {self.rows} rows")
        if not 0 <= codec <= LAST_CODEC:
            raise self._wrong(column, f"be compressed by codec {codec}")
        if column.is_bytes:
            decoded = unpacked + 12 * values  # indices, offsets
        elif kind.shape:
            decoded = max(values * (kind.dtype.itemsize + 4), self.rows * kind.nbytes)  # levels
        else:
            decoded = values * kind.dtype.itemsize
        return Chunk(column.name, start, nbytes, values, unpacked, decoded, codec)

    def _wrong(self, column: Wanted, what: str) -> FormatError:
        return FormatError(
            f"{self.footer.path}: column {column.name!r} of row group {self.index} is said to {what}",
            self.footer.path, column.name,
        )  # fmt: skip


def _read_footer(file: _core.File) -> memoryview:
    """Return the end of a file, from the footer's first byte on."""
    path, size = file.path, file.size
    if size < 12:
        raise TruncatedError(f"{path}: {size} bytes are no Parquet file", path)
    begin = max(0, size - TAIL)
    tail = memoryview(file.read(begin, size - begin))
    if bytes(tail[-4:]) == ENCRYPTED:
        raise UnsupportedError(f"{path}: the file is encrypted", path)
    if bytes(tail[-4:]) != MAGIC:
        if bytes(file.read(0, 4)) == MAGIC:
            raise TruncatedError(f"{path}: a Parquet file without its end", path, None, size)
        raise FormatError(f"{path}: not a Parquet file", path)
    (length,) = struct.unpack("<I", tail[-8:-4])
    if length > size - 12:
        raise FormatError(f"{path}: a footer of {length} bytes does not fit the file", path, None, size - 8)
    if length + 8 > len(tail):
        return memoryview(file.read(size - 8 - length, length + 8))
    return tail[len(tail) - 8 - length :]


def _leaves(type: ArrowType) -> int:
    """Return how many of Parquet's columns an Arrow type is."""
    if isinstance(type, pa.BaseExtensionType):
        return _leaves(type.storage_type)
    count = getattr(type, "num_fields", 0)
    return sum(_leaves(type.field(i).type) for i in range(count)) if count else 1


def _numbers(leaf: Any, type: ArrowType, kind: Kind) -> Numbers | None:
    """Return how a column of numbers lies in a file; None where the core cannot decode it."""
    list_size = 0
    if types.is_fixed_size_list(type):
        list_size, type = type.list_size, type.value_type
    stored = STORED.get((leaf.physical_type, kind.dtype.str[1:]))
    plain = types.is_integer(type) or types.is_floating(type) or types.is_boolean(type)
    flat = leaf.max_repetition_level == (1 if list_size else 0) and leaf.max_definition_level <= 15
    if stored is None or not plain or not flat:
        return None
    return Numbers(stored, kind.dtype.itemsize, leaf.max_definition_level, list_size)
