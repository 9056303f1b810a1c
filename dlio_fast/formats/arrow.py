"""Arrow IPC files and streams (Feather's version 2 is the former): record batches of columns.

Only the buffers of the fields that are wanted are read; :mod:`.columns` says what becomes of which column.
Under a DLIO configuration the fields are ``dataset.arrow.columns``, as with :mod:`.parquet`. What is not
compressed is copied once, from what was read to the batch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import IO, Any

from .. import _core
from .._typing import Values
from ..config.data import DatasetSection
from ..errors import ConfigError, FormatError
from ..storage.memory import shared_pool
from .arrow_messages import Message, Messages, read_messages
from .arrowlib import ArrowArray, ArrowBuffer, pa, types
from .base import FieldSpec, FileSpec
from .column_format import ColumnFormat
from .column_generating import ArrowGenerator
from .columns import (
    Kind,
    arrow_errors,
    as_specified,
    block_limit,
    check_column,
    check_room,
    column_of,
    column_samples,
    null_error,
)
from .decoding import Block, read_extents
from .generating import Generator
from .packing import Packer, Packing
from .ranges import Ranges, joined_extents

GAP = 4096
"""Bytes between wanted buffers that are read with them."""

BATCH_ROWS = 1024
"""Of the record batches that are written."""

BATCH_BYTES = 1024
"""Of a record batch's description in memory, but for its arrays."""


@dataclass(frozen=True)
class Part:
    """An array of a record batch: where its buffers are, those of its children after its own."""

    type: Any
    rows: int
    nulls: int
    buffers: tuple[tuple[int, int], ...]
    children: tuple[Part, ...] = ()

    def needed(self) -> Iterator[tuple[int, int]]:
        """Yield the buffers that are read: not which values are null, as none may be."""
        yield from (buffer for buffer in self.buffers[1:] if buffer[1])
        for child in self.children:
            yield from child.needed()

    def has_null(self) -> bool:
        """Whether anything in it is null."""
        return self.nulls > 0 or any(child.has_null() for child in self.children)


class _Cursor:
    """Goes through the arrays and buffers of a message, in their order."""

    def __init__(self, message: Message):
        self._nodes = iter(message.nodes.tolist())
        self._buffers = iter(map(tuple, message.buffers.tolist()))
        self._variadic = iter(message.variadic)

    def part(self, type: Any) -> Part:
        """Take the next array, which is of that type.

        The layouts: https://arrow.apache.org/docs/format/Columnar.html#buffer-listing-for-each-layout
        """
        if isinstance(type, pa.BaseExtensionType):
            return self.part(type.storage_type)
        try:
            rows, nulls = next(self._nodes)
            buffers = tuple(next(self._buffers) for _ in range(self._count(type)))
        except (StopIteration, RuntimeError):
            raise ValueError("it lacks arrays or buffers that its schema has") from None
        nested = () if types.is_dictionary(type) else range(type.num_fields)
        return Part(type, rows, nulls, buffers, tuple(self.part(type.field(i).type) for i in nested))

    def _count(self, type: Any) -> int:
        if types.is_null(type) or types.is_run_end_encoded(type):
            return 0
        if types.is_struct(type) or types.is_fixed_size_list(type):
            return 1
        if types.is_union(type):
            raise NotImplementedError("files with columns of a union type are not read")
        if types.is_string_view(type) or types.is_binary_view(type):
            return 2 + next(self._variadic)
        if types.is_list_view(type) or types.is_large_list_view(type):
            return 3
        long = (types.is_binary, types.is_string, types.is_large_binary, types.is_large_string)
        return 3 if any(check(type) for check in long) else 2


class ArrowFile:
    """A file's schema and where its record batches lie."""

    def __init__(self, file: _core.File):
        self.path, self.size = file.path, file.size
        self.messages: Messages = read_messages(file)
        with arrow_errors(self.path, "the schema"):
            self.schema = pa.ipc.read_schema(pa.py_buffer(self.messages.schema))
        if len(self.schema) != len(self.messages.dictionary_of):
            raise FormatError(f"{self.path}: the schema is malformed", self.path)

    def batches(self, names: Sequence[str]) -> list[Batch]:
        """The record batches, and in each the columns of these names."""
        with arrow_errors(self.path, "the metadata"):
            return [Batch(self, i, message, names) for i, message in enumerate(self.messages.batches)]


class Batch:
    """A record batch, and the columns of it that are wanted."""

    def __init__(self, file: ArrowFile, index: int, message: Message, names: Sequence[str]):
        self.file, self.where, self.rows = file, f"record batch {index}", message.rows
        cursor = _Cursor(message)
        parts = {column.name: cursor.part(column.type) for column in file.schema}
        self.columns = {name: _Column(file, parts[name], message, name) for name in names}
        for name, column in self.columns.items():
            if column.part.rows != self.rows:
                raise FormatError(
                    f"{file.path}: column {name!r} of {self.where} has {column.part.rows} rows of "
                    f"{self.rows}",
                    file.path, name,
                )  # fmt: skip

    def needed(self) -> Iterator[tuple[int, int]]:
        """Yield the buffers that are read."""
        for column in self.columns.values():
            yield from column.needed()

    def extents(self) -> list[tuple[int, int]]:
        """Return what is read of the file."""
        return joined_extents(self.needed(), GAP)

    def room(self, head: Callable[[int], bytes]) -> int:
        """Return the bytes that it takes, read and decoded; `head` reads a compressed buffer's first 8."""
        packed = [at for c in self.columns.values() for at in c.packed()]
        return sum(length for _, length in self.extents()) + sum(
            _unpacked(head(start)) for start, _ in packed
        )

    def samples(self, data: Sequence[memoryview], kinds: dict[str, Kind], limit: int) -> list[Values]:
        """Return the samples of the columns out of the bytes of the extents."""
        path, found = self.file.path, []
        ranges = Ranges(path, self.file.size, self.extents(), data)
        with arrow_errors(path, self.where):
            room = self.room(lambda start: bytes(ranges.slice(start, 8)))
        check_room(path, self.where, room, limit)
        for name, column in self.columns.items():
            if column.has_null():
                raise null_error(path, name, self.where)
            with arrow_errors(path, f"column {name!r} of {self.where}", name):
                array = column.array(ranges)
                array.validate(full=True)
            found.append(column_samples(path, [array], kinds[name], name, self.where))
        return found


class _Column:
    """A column of a record batch, and its dictionary where it has one."""

    def __init__(self, file: ArrowFile, part: Part, message: Message, name: str):
        self.part, self.codec = part, message.codec
        self.values: _Column | None = None
        if types.is_dictionary(part.type):
            number = file.messages.dictionary_of[file.schema.get_field_index(name)]
            dictionary = file.messages.dictionaries.get(number)
            if dictionary is None or types.is_dictionary(part.type.value_type):
                raise FormatError(f"{file.path}: column {name!r} lacks its dictionary", file.path, name)
            self.values = _Column(file, _Cursor(dictionary).part(part.type.value_type), dictionary, name)

    def needed(self) -> Iterator[tuple[int, int]]:
        """Yield the buffers that are read."""
        yield from self.part.needed()
        if self.values:
            yield from self.values.needed()

    def packed(self) -> Iterator[tuple[int, int]]:
        """Yield those of them that are compressed."""
        if self.codec:
            yield from (buffer for buffer in self.part.needed() if buffer[1] >= 8)
        if self.values:
            yield from self.values.packed()

    def has_null(self) -> bool:
        """Whether anything in it is null."""
        return self.part.has_null() or (self.values is not None and self.values.has_null())

    def array(self, ranges: Ranges) -> ArrowArray:
        """Return it as an array over what was read, which is not validated yet."""
        if self.values is None:
            return self._array(self.part, ranges)
        indices = self._array(replace(self.part, type=self.part.type.index_type), ranges)
        values = self.values.array(ranges)
        values.validate(full=True)
        return pa.DictionaryArray.from_arrays(indices, values)

    def _array(self, part: Part, ranges: Ranges) -> ArrowArray:
        buffers = [self._buffer(ranges.slice(*buffer)) for buffer in part.buffers[1:]]
        children = [self._array(child, ranges) for child in part.children]
        return pa.Array.from_buffers(part.type, part.rows, [None, *buffers], 0, children=children or None)

    def _buffer(self, data: memoryview) -> ArrowBuffer:
        if self.codec is None or not len(data):
            return pa.py_buffer(data)
        size = _unpacked(bytes(data[:8]))
        if not size:
            return pa.py_buffer(data[8:])
        return pa.decompress(data[8:], decompressed_size=size, codec=self.codec)


def _unpacked(head: bytes) -> int:
    """Return the size that a compressed buffer begins with; 0: it is stored as it is."""
    size: int = struct.unpack("<q", head)[0]
    if size < -1:
        raise ValueError(f"a buffer of {size} bytes")
    return max(0, size)


@dataclass(frozen=True)
class ArrowFormat(ColumnFormat):
    """Arrow IPC files and streams; a block is a record batch."""

    name = "arrow"
    suffixes = (".arrow", ".feather")

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        with closing(_core.File(path, shared_pool(), direct=direct)) as file:
            opened = ArrowFile(file)
            kinds = self.columns.chosen(path, opened.schema, fields)
            batches = opened.batches(list(kinds))
            with arrow_errors(path, "a record batch"):
                rooms = [batch.room(lambda start: bytes(file.read(start, 8))) for batch in batches]
            first = self._first_samples(file, opened, {n: k for n, k in kinds.items() if k.varies})
        return FileSpec(self.specs(kinds, first), sum(batch.rows for batch in batches), max(rooms, default=0))

    def _first_samples(
        self, file: _core.File, opened: ArrowFile, kinds: dict[str, Kind]
    ) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the first samples of columns whose values alone tell them."""
        batch = next((batch for batch in opened.batches(list(kinds)) if batch.rows), None)
        if batch is None or not kinds:
            return {name: tuple(max(n, 0) for n in kind.shape) for name, kind in kinds.items()}
        data = read_extents(file, batch.extents())
        values = batch.samples(data, kinds, self.limit or block_limit())
        return {name: of_column[0].shape for name, of_column in zip(kinds, values, strict=True)}

    def blocks(self, file: _core.File, spec: FileSpec) -> Sequence[Block]:
        opened = ArrowFile(file)
        kinds = self.columns.chosen(file.path, opened.schema, [field.name for field in spec.fields])
        batches = opened.batches(list(kinds))
        return [Block(batch.rows, tuple(batch.extents()), (batch, kinds)) for batch in batches]

    def nbytes(self, blocks: Sequence[Block]) -> int:
        return BATCH_BYTES * sum(len(block.key[0].columns) for block in blocks)

    def decode(self, path: str, block: Block, data: Sequence[memoryview], spec: FileSpec) -> Sequence[Values]:
        batch, kinds = block.key
        values = batch.samples(data, kinds, self.limit or block_limit())
        return [as_specified(of_field, field) for of_field, field in zip(values, spec.fields, strict=True)]

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return ArrowGenerator(dataset, where)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return ArrowPacker(fields, packing, self.name)


class ArrowPacker(Packer):
    """Writes a column a field, as Parquet files have them; a record batch has `BATCH_ROWS` rows at most."""

    compressions = ("none", "lz4", "zstd")

    def __init__(self, fields: Sequence[FieldSpec], packing: Packing, name: str):
        super().__init__(fields, packing, name)
        for field in self.fields:
            check_column(name, field)
        if packing.level is not None and packing.compression != "zstd":
            raise ConfigError(f"a level belongs to zstd, not to {packing.compression}")

    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        table = pa.table({name: column_of(self.stacked(name, values)) for name, values in samples.items()})
        codec = None
        if self.packing.compression != "none":
            # Arrow's own name of what is framed as lz4's program does it
            name = {"lz4": "lz4_frame"}.get(self.packing.compression, self.packing.compression)
            codec = pa.Codec(name, self.packing.level)
        with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as out:
            out.write_table(table, max_chunksize=BATCH_ROWS)


FORMAT = ArrowFormat()
