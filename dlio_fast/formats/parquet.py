"""Parquet: row groups of columns.

Numbers that are not compressed are decoded by the core, all else by pyarrow, which also has the last word on
whatever is odd: nulls, lists that differ, damage. Only the column chunks of the fields that are wanted are
read; :mod:`.columns` says what becomes of which column. Under a DLIO configuration the fields are
``dataset.parquet.columns`` but for those with ``read: false``, and the payload is the first of them; without
columns it is `data`, as DLIO writes it then, else the first column that can be an array.

A row group is decoded whole. What it will take is known from the footer, and refused over
:func:`.columns.block_limit`; that its pages hold no more than the footer says is checked before pyarrow
unpacks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import IO

import numpy as np

from .. import _core
from .._typing import Values
from ..config.data import DatasetSection
from ..errors import DataError, FormatError, UnsupportedError
from ..storage.memory import shared_pool
from .arrowlib import ArrowTable, pa, pq
from .base import FieldSpec, FileSpec
from .column_format import ColumnFormat
from .column_generating import ParquetGenerator
from .columns import (
    arrow_errors,
    as_specified,
    block_limit,
    check_column,
    check_room,
    column_of,
    column_samples,
)
from .decoding import Block, read_extents
from .generating import Generator
from .packing import Packer, Packing
from .parquet_footer import UNCOMPRESSED, Chunk, Footer, RowGroup, Wanted
from .ranges import Ranges, joined_extents

GROUP_ROWS, GROUP_BYTES = 1024, 64 << 20
"""Of the row groups that are written: DLIO's ``row_group_size``, and what is read at once."""

ALIGNMENT = 64

HEADER_LIMIT = 1 << 20
"""Longest string and list in a page's header."""

IN_DICTIONARY = 1 << 2 | 1 << 8
"""The encodings of values as numbers in a dictionary, the old one and the new."""

DELTA_LENGTHS, DELTA_BYTES = 1 << 6, 1 << 7
"""Encodings of strings; in the second, a value may be all of the one before it and take no bytes."""


def _extents(chunks: Sequence[Chunk]) -> list[tuple[int, int]]:
    return joined_extents((chunk.start, chunk.nbytes) for chunk in chunks)


def _room(chunks: Sequence[Chunk]) -> int:
    """Return the bytes that chunks take, encoded and decoded."""
    return sum(chunk.nbytes + chunk.decoded for chunk in chunks)


def _decode(
    group: RowGroup, columns: Sequence[Wanted], chunks: Sequence[Chunk], data: Sequence[memoryview]
) -> list[Values]:
    """Return the samples of a row group's columns out of the bytes of their extents."""
    ranges = Ranges(group.footer.path, group.footer.size, _extents(chunks), data)
    found = _decode_numbers(group, columns, chunks, ranges)
    rest = [pair for pair in zip(columns, chunks, strict=True) if pair[0].name not in found]
    if rest:
        found |= _decode_by_pyarrow(group, rest, ranges)
    return [found[column.name] for column in columns]


def _decode_numbers(
    group: RowGroup, columns: Sequence[Wanted], chunks: Sequence[Chunk], ranges: Ranges
) -> dict[str, Values]:
    """Return the samples of those columns that the core can decode; pyarrow has to look at the others."""
    names, data, jobs, room = [], [], [], 0
    for column, chunk in zip(columns, chunks, strict=True):
        numbers = column.numbers
        if numbers is None or not chunk.values or chunk.codec != UNCOMPRESSED:
            continue
        if chunk.values == group.rows * (numbers.list_size or 1):
            names.append(column)
            data.append(ranges.slice(chunk.start, chunk.nbytes))
            jobs.append((room, chunk.values, *numbers))
            room += -(-chunk.values * numbers.itemsize // ALIGNMENT) * ALIGNMENT
    if not room:
        return {}
    memory = memoryview(shared_pool().get(room))
    decoded = _core.parquet_columns(data, jobs, memory)
    return {
        column.name: np.frombuffer(memory, column.kind.dtype, values, place).reshape(
            group.rows, *column.kind.shape
        )
        for column, (place, values, *_), done in zip(names, jobs, decoded, strict=True)
        if done
    }


def _decode_by_pyarrow(
    group: RowGroup, wanted: Sequence[tuple[Wanted, Chunk]], ranges: Ranges
) -> dict[str, Values]:
    path, columns, repeated = group.footer.path, [column for column, _ in wanted], set()
    for column, chunk in wanted:
        encodings = _check_pages(group, chunk, ranges.slice(chunk.start, chunk.nbytes))
        if column.is_bytes and encodings & IN_DICTIONARY:
            repeated.add(column)
    where = f"row group {group.index}"
    try:
        with arrow_errors(path, where):
            table = _read(group, ranges, columns, repeated)
    except DataError:
        for column in columns:  # which one is it?
            with arrow_errors(path, f"column {column.name!r} of {where}", column.name):
                _read(group, ranges, [column], repeated)
        raise
    read = {name: of.chunks for name, of in zip(table.column_names, table.itercolumns(), strict=True)}
    for column in columns:
        if not column.kind.plain:
            with arrow_errors(path, f"column {column.name!r} of {where}", column.name):
                for array in read[column.name]:  # pyarrow does not look at the numbers in a dictionary
                    array.validate(full=True)
    return {c.name: column_samples(path, read[c.name], c.kind, c.name, where) for c in columns}


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


@dataclass(frozen=True)
class ParquetFormat(ColumnFormat):
    """Parquet files; a block is a row group."""

    name = "parquet"
    suffixes = (".parquet",)

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
        return FileSpec(self.specs(kinds, first), sum(group.rows for group in groups), scratch)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return ParquetPacker(fields, packing, self.name)

    def _first_samples(
        self, file: _core.File, groups: Sequence[RowGroup], columns: Sequence[Wanted]
    ) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the first samples of columns whose values alone tell them."""
        group = next((group for group in groups if group.rows), None)
        if group is None or not columns:
            return {column.name: tuple(max(n, 0) for n in column.kind.shape) for column in columns}
        chunks = self._checked(group, columns)
        data = read_extents(file, _extents(chunks))
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


class ParquetPacker(Packer):
    """Writes a column a field: numbers, or lists of a fixed size, inside each other for more axes.

    A row group has `GROUP_ROWS` rows at most, or `GROUP_BYTES`.
    """

    compressions = ("none", "snappy", "gzip", "lz4", "zstd")

    def __init__(self, fields: Sequence[FieldSpec], packing: Packing, name: str):
        super().__init__(fields, packing, name)
        for field in self.fields:
            check_column(name, field)

    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        columns = {name: column_of(self.stacked(name, values)) for name, values in samples.items()}
        row = max(1, sum(field.nbytes for field in self.fields))
        pq.write_table(
            pa.table(columns),
            file,
            row_group_size=max(1, min(GROUP_ROWS, GROUP_BYTES // row)),
            compression=self.packing.compression,
            compression_level=self.packing.level,
            use_dictionary=False,
            write_page_checksum=True,
        )


FORMAT = ParquetFormat()
