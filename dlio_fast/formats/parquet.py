"""Parquet: row groups of columns, decoded by pyarrow.

Only the column chunks of the fields that are wanted are read; :mod:`.columns` says what becomes of which
column. Under a DLIO configuration the fields are ``dataset.parquet.columns`` but for those with
``read: false``, and the payload is the first of them; without columns it is `data`, as DLIO writes it then,
else the first column that can be an array.

A row group is decoded whole. What it will take is known from the footer, and refused over
:func:`.columns.block_limit`; that its pages hold no more than the footer says is checked before pyarrow
unpacks them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .. import _core
from .._typing import Values
from ..config import Config
from ..config.data import DatasetSection
from ..errors import DataError, FormatError, TruncatedError, UnsupportedError
from ..storage.memory import shared_pool
from .arrowlib import ArrowTable, ArrowType, pa, pq
from .base import FileSpec
from .column_generating import ParquetGenerator
from .columns import (
    Columns,
    Kind,
    arrow_errors,
    as_specified,
    block_limit,
    check_room,
    column_samples,
    configured_columns,
    field_spec,
    is_bytes,
)
from .decoding import Block, DecodedFormat
from .generating import Generator
from .ranges import Ranges, joined_extents

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
TAIL = 64 << 10
"""Bytes at the end of a file that are read at once: most footers fit."""

HEADER_LIMIT = 1 << 20
"""Longest string and list in a page's header."""

IN_DICTIONARY = 1 << 2 | 1 << 8
"""The encodings of values as numbers in a dictionary, the old one and the new."""

DELTA_LENGTHS, DELTA_BYTES = 1 << 6, 1 << 7
"""Encodings of strings; in the second, a value may be all of the one before it and take no bytes."""

METADATA_FACTOR = 10
"""How much larger pyarrow's footers are in memory than in the file, about."""


class Chunk(NamedTuple):
    """A column of a row group, where it lies in the file and what it takes decoded."""

    column: str
    start: int
    nbytes: int
    values: int
    unpacked: int
    decoded: int


class Wanted(NamedTuple):
    """A column that is read of every row group."""

    name: str
    leaf: int
    kind: Kind
    is_bytes: bool


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
        self.nbytes = METADATA_FACTOR * len(tail)

    def wanted(self, kinds: dict[str, Kind]) -> list[Wanted]:
        """Find columns among Parquet's own, which are the leaves of Arrow's."""
        leaves, number = {}, 0
        for field in self.schema:
            leaves[field.name] = number
            number += _leaves(field.type)
        return [
            Wanted(name, leaves[name], kind, is_bytes(self.schema.field(name).type))
            for name, kind in kinds.items()
        ]

    def row_groups(self) -> list[RowGroup]:
        """The row groups, in order."""
        with arrow_errors(self.path, "the footer"):
            return [RowGroup(self, i) for i in range(self.metadata.num_row_groups)]


class RowGroup:
    """One row group of a file."""

    def __init__(self, footer: Footer, index: int):
        self.footer, self.index = footer, index
        self.found: list[Chunk] | None = None  # for who decodes what has just been read
        self.rows: int = footer.metadata.row_group(index).num_rows
        if self.rows < 0:
            raise FormatError(f"{footer.path}: row group {index} has {self.rows} rows", footer.path)

    def chunks(self, columns: Sequence[Wanted]) -> list[Chunk]:
        """Find the chunks of columns; FormatError where the footer says what cannot be."""
        with arrow_errors(self.footer.path, "the footer"):
            group = self.footer.metadata.row_group(self.index)
            return [self._chunk(group.column(column.leaf), column) for column in columns]

    def _chunk(self, chunk: Any, column: Wanted) -> Chunk:
        kind = column.kind
        start, first = chunk.data_page_offset, chunk.dictionary_page_offset
        if first is not None and 0 < first < start:
            start = first
        nbytes, values, unpacked = (
            chunk.total_compressed_size,
            chunk.num_values,
            chunk.total_uncompressed_size,
        )
        if chunk.file_path:
            raise UnsupportedError(
                f"{self.footer.path}: column {column.name!r} lies in another file",
                self.footer.path,
                column.name,
            )
        if min(start, nbytes) < 0 or start + nbytes > self.footer.size:
            raise self._wrong(column, f"lie at bytes {start} to {start + nbytes} of {self.footer.size}")
        if values < 0 or unpacked < 0 or (not kind.shape and values != self.rows):
            raise self._wrong(column, f"hold {values} values of {unpacked} bytes in {self.rows} rows")
        if column.is_bytes:
            decoded = unpacked + 12 * values  # indices, offsets
        elif kind.shape:
            decoded = max(values * (kind.dtype.itemsize + 4), self.rows * kind.nbytes)  # levels
        else:
            decoded = values * kind.dtype.itemsize
        return Chunk(column.name, start, nbytes, values, unpacked, decoded)

    def _wrong(self, column: Wanted, what: str) -> FormatError:
        return FormatError(
            f"{self.footer.path}: column {column.name!r} of row group {self.index} is said to {what}",
            self.footer.path, column.name,
        )  # fmt: skip


def _extents(chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
    return joined_extents((chunk.start, chunk.nbytes) for chunk in chunks)


def _room(chunks: Sequence[Chunk]) -> int:
    """Return the bytes that chunks take, encoded and decoded."""
    return sum(chunk.nbytes + chunk.decoded for chunk in chunks)


def _decode(
    group: RowGroup, columns: Sequence[Wanted], chunks: Sequence[Chunk], data: Sequence[memoryview]
) -> list[Values]:
    """Return the samples of a row group's columns out of the bytes of their extents."""
    footer = group.footer
    ranges = Ranges(footer.path, footer.size, _extents(chunks), data)
    repeated = set()
    for column, chunk in zip(columns, chunks, strict=True):
        encodings = _check_pages(group, chunk, ranges.slice(chunk.start, chunk.nbytes))
        if column.is_bytes and encodings & IN_DICTIONARY:
            repeated.add(column)
    where = f"row group {group.index}"
    try:
        with arrow_errors(footer.path, where):
            table = _read(group, ranges, columns, repeated)
    except DataError:
        for column in columns:  # which one is it?
            with arrow_errors(footer.path, f"column {column.name!r} of {where}", column.name):
                _read(group, ranges, [column], repeated)
        raise
    found = {name: of.chunks for name, of in zip(table.column_names, table.itercolumns(), strict=True)}
    return [column_samples(footer.path, found[c.name], c.kind, c.name, where) for c in columns]


def _read(group: RowGroup, ranges: Ranges, columns: Sequence[Wanted], repeated: set[Wanted]) -> ArrowTable:
    footer = group.footer
    reader = pq.ParquetFile(
        pa.PythonFile(ranges, mode="r"),
        metadata=footer.metadata,
        # A long value that comes often stays one: written out, it could take any amount of memory.
        read_dictionary=[column.name for column in repeated],
        thrift_string_size_limit=HEADER_LIMIT,
        thrift_container_size_limit=HEADER_LIMIT,
        page_checksum_verification=True,
        pre_buffer=False,
    )
    table = reader.read_row_group(group.index, columns=[c.name for c in columns], use_threads=False)
    if table.num_rows != group.rows:
        raise FormatError(
            f"{footer.path}: row group {group.index} has {table.num_rows} rows, its footer says {group.rows}",
            footer.path,
        )
    return table


def _check_pages(group: RowGroup, chunk: Chunk, data: memoryview) -> int:
    """Refuse pages that hold more than the footer says, by which room was found; return the encodings."""
    path = group.footer.path
    unpacked, values, encodings = _core.parquet_pages(data, path, chunk.column, chunk.start, chunk.values)
    if values != chunk.values or unpacked > chunk.unpacked:
        raise FormatError(
            f"{path}: the pages of column {chunk.column!r} of row group {group.index} hold {values} values "
            f"in {unpacked} bytes, the footer says {chunk.values} in {chunk.unpacked}",
            path, chunk.column, chunk.start,
        )  # fmt: skip
    where = f"column {chunk.column!r} of row group {group.index}"
    if encodings & DELTA_BYTES:
        check_room(path, where, values * unpacked, block_limit())
    if encodings & IN_DICTIONARY and encodings & (DELTA_LENGTHS | DELTA_BYTES):
        raise UnsupportedError(f"{path}: {where} has strings in a way that is not read", path, chunk.column)
    return encodings


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


@dataclass(frozen=True)
class ParquetFormat(DecodedFormat):
    """Parquet files.

    Parameters
    ----------
    columns : Columns
        What a configuration says of the columns.
    limit : int, optional
        Bytes that a row group may take, decoded; default :func:`.columns.block_limit`.
    """

    columns: Columns = Columns()
    limit: int | None = None

    name = "parquet"
    suffixes = (".parquet",)
    label = "label"

    def configured(self, config: Config) -> ParquetFormat:
        return replace(self, columns=configured_columns(config, config.dataset.parquet.columns))

    def field(self, name: str) -> str:
        return name  # a role's column is known once a file is

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        with closing(_core.File(path, shared_pool(), direct=direct)) as file:
            footer = Footer(file)
            kinds = self.columns.chosen(path, footer.schema, fields)
            groups = footer.row_groups()
            columns = footer.wanted(kinds)
            scratch = max((_room(group.chunks(columns)) for group in groups), default=0)
            first = self._first_samples(file, groups, [column for column in columns if column.kind.varies])
        specs = [
            field_spec(name, kind.dtype, self.columns.shaped(name, first.get(name, kind.shape)))
            for name, kind in kinds.items()
        ]
        return FileSpec(tuple(specs), sum(group.rows for group in groups), scratch)

    def _first_samples(
        self, file: _core.File, groups: Sequence[RowGroup], columns: Sequence[Wanted]
    ) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the first samples of columns whose values alone tell them."""
        group = next((group for group in groups if group.rows), None)
        if group is None or not columns:
            return {column.name: tuple(max(n, 0) for n in column.kind.shape) for column in columns}
        chunks = self._checked(group, columns)
        data = [memoryview(file.read(*extent)) for extent in _extents(chunks)]
        values = _decode(group, columns, chunks, data)
        return {column.name: of[0].shape for column, of in zip(columns, values, strict=True)}

    def blocks(self, file: _core.File, spec: FileSpec) -> Sequence[Block]:
        footer = Footer(file)
        names = [field.name for field in spec.fields]
        columns = footer.wanted(self.columns.chosen(file.path, footer.schema, names))
        return [Block(group.rows, (), (group, columns)) for group in footer.row_groups()]

    def nbytes(self, blocks: Sequence[Block]) -> int:
        return blocks[0].key[0].footer.nbytes if blocks else 0

    def extents(self, block: Block, spec: FileSpec) -> Sequence[tuple[int, int]]:
        group, columns = block.key
        group.found = self._checked(group, columns)
        return _extents(group.found)

    def decode(self, path: str, block: Block, data: Sequence[memoryview], spec: FileSpec) -> Sequence[Values]:
        group, columns = block.key
        chunks, group.found = group.found or group.chunks(columns), None
        values = _decode(group, columns, chunks, data)
        return [as_specified(of_field, field) for of_field, field in zip(values, spec.fields, strict=True)]

    def _checked(self, group: RowGroup, columns: Sequence[Wanted]) -> list[Chunk]:
        """Return the chunks of columns, unless they take too much."""
        chunks = group.chunks(columns)
        what = f"row group {group.index}"
        check_room(group.footer.path, what, _room(chunks), self.limit or block_limit())
        return chunks

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return ParquetGenerator(dataset, where)


FORMAT = ParquetFormat()
