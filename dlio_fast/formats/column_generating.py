"""DLIO's Parquet and Arrow files, as version 3 of MLPerf Storage lays them out.

With ``columns`` each is what its ``dtype`` says: a number or bool, or a fixed_size_list of `size` of them
where `size` is more than 1; "list", a list of `size` float32; "string", ``s_<int>``, an int of ten digits;
"binary", `size` bytes.
Without, there is one column `data`, a fixed_size_list of the elements of a record.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError
from .arrowlib import ArrowArray, ArrowSchema, pa, pq
from .columns import PAYLOAD_COLUMN
from .generating import EncodedGenerator, fill_kind, read_at
from .parquet_layout import (
    BOOLEAN,
    BYTES,
    DOUBLE,
    FIXED_BYTES,
    FLOAT,
    INT32,
    INT64,
    PLAIN,
    RLE_DICTIONARY,
    Chunk,
    FileWriter,
    dictionary_of,
    levels,
    numbered,
)

if TYPE_CHECKING:
    from ..config.data import Column, DatasetSection

ARROW_ROWS = 1024
"""Rows of a record batch where the configuration does not say; what Parquet's row groups have."""

STRINGS = np.dtype("u4")
"""The numbers in strings."""

STRING_NBYTES = 12

PAGE = 1 << 20
"""Bytes of the values of a page, unless those of a row are more."""

LONGEST_ROW = 1 << 30
"""Bytes of a column's values in a row: a page may be 2 GiB."""

PHYSICAL = {"f2": FIXED_BYTES, "f4": FLOAT, "f8": DOUBLE, "b1": BOOLEAN, "i8": INT64, "u8": INT64}
"""Parquet's types; other integers are INT32."""

_FOOTER = 4096
_POWERS = 10 ** np.arange(9, -1, -1, dtype=np.int64)  # of the digits of a STRINGS


class Field:
    """A column to be made: `size` elements of `dtype` in a row, or a string of `size` bytes."""

    def __init__(self, name: str, kind: str, dtype: np.dtype[Any], size: int, part: int):
        self.name, self.kind, self.dtype, self.size, self.part = name, kind, dtype, size, part

    @property
    def type(self) -> Any:
        """Its Arrow type."""
        if self.kind in ("string", "binary"):
            return pa.string() if self.kind == "string" else pa.binary()
        element = pa.from_numpy_dtype(self.dtype)
        if self.kind == "list":
            return pa.list_(element)
        return element if self.kind == "number" else pa.list_(element, self.size)

    @property
    def row_nbytes(self) -> int:
        """Bytes of a row, bare."""
        return STRING_NBYTES if self.kind == "string" else self.size * self.dtype.itemsize

    @property
    def is_bytes(self) -> bool:
        """Whether a row is a string of bytes."""
        return self.kind in ("string", "binary")

    @property
    def is_narrow(self) -> bool:
        """Whether its elements are integers of 8 or 16 bits, which Parquet does not have."""
        return not self.is_bytes and self.dtype.kind in "iu" and self.dtype.itemsize < 4

    @property
    def in_lists(self) -> bool:
        """Whether a row is a list."""
        return self.kind in ("list", "vector")

    def bytes_of(self, values: npt.NDArray[Any], rows: int) -> npt.NDArray[np.uint8]:
        """Return the strings of rows, uint8 of shape (rows, length), made of the elements of all of them."""
        if self.kind == "binary":
            return values.reshape(rows, self.size)
        digits = values[:, np.newaxis] // _POWERS % 10 + ord("0")
        return np.concatenate([np.full((rows, 2), (ord("s"), ord("_"))), digits], axis=1).astype(np.uint8)

    def array(self, values: npt.NDArray[Any], rows: int) -> ArrowArray:
        """Return its rows, made of the elements of all of them."""
        if self.is_bytes:
            strings = self.bytes_of(values, rows)
            ends = np.arange(rows + 1, dtype=np.int32) * np.int32(strings.shape[1])
            parts = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(strings))]
            return pa.Array.from_buffers(self.type, rows, parts)
        elements = pa.array(values)
        if self.kind == "list":
            ends = pa.array(np.arange(0, rows * self.size + 1, self.size, dtype=np.int32))
            return pa.ListArray.from_arrays(ends, elements)
        return elements if self.kind == "number" else pa.FixedSizeListArray.from_arrays(elements, self.size)


class ColumnGenerator(EncodedGenerator):
    """Makes files of columns."""

    columns: tuple[Column, ...] = ()

    def __init__(self, dataset: DatasetSection, where: str = "dataset"):
        super().__init__(dataset, where)
        section = f"{where}.{dataset.format}"
        self._configured = [_field(column, i, section) for i, column in enumerate(self.columns)]
        names = [field.name for field in self._configured]
        if len(set(names)) < len(names):
            raise ConfigError(f"{section}.columns: {max(names, key=names.count)!r} is there twice")
        for field in self.fields(0) if len(self) else []:
            if field.row_nbytes > LONGEST_ROW:
                raise ConfigError(f"{section}: {field.row_nbytes} bytes a row in {field.name!r} are too many")

    def fields(self, index: int) -> list[Field]:
        """Return the columns of file `index`."""
        size = int(np.prod(self.dims[index]))
        return self._configured or [Field(PAYLOAD_COLUMN, "vector", self.dtype, size, 0)]

    def schema(self, index: int) -> ArrowSchema:
        """Return the schema of file `index`."""
        return pa.schema([(field.name, field.type) for field in self.fields(index)])

    def values(self, index: int, field: Field, start: int, stop: int) -> npt.NDArray[Any]:
        """Return the elements of a column in rows [start, stop) of file `index`."""
        values = np.empty((stop - start) * field.size, field.dtype)
        offset = start * field.size * field.dtype.itemsize
        self.fill(values.view(np.uint8), index, offset, dtype=field.dtype, part=field.part)
        return values

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield the first row of each block of a file, and the row behind its last."""
        raise NotImplementedError

    def payload_nbytes(self) -> npt.NDArray[np.float64]:
        if not self._configured:
            return super().payload_nbytes()
        return np.full(len(self), float(self.samples * sum(field.row_nbytes for field in self._configured)))

    def nbytes(self) -> npt.NDArray[np.float64]:
        rows = next((stop - start for start, stop in self.blocks()), 0)
        fields = self.fields(0) if len(self) else []
        stored = self.samples * sum(self.stored_nbytes(field, rows) for field in fields)
        bare = self.samples * sum(field.row_nbytes for field in fields)
        return self.payload_nbytes() * (stored / bare if bare else 1) + _FOOTER

    def stored_nbytes(self, field: Field, rows: int) -> float:
        """Return about the bytes that a row of a column takes in a file, in blocks of so many rows."""
        return field.row_nbytes + 4


def _field(column: Column, part: int, section: str) -> Field:
    where = f"{section}.columns: {column.name!r}"
    if column.dtype == "string":
        return Field(column.name, "string", STRINGS, 1, part)
    if column.dtype == "binary":
        return Field(column.name, "binary", np.dtype("u1"), column.size, part)
    if column.dtype == "list":
        return Field(column.name, "list", np.dtype("f4"), column.size, part)
    try:
        dtype = np.dtype(column.dtype)
        fill_kind(dtype, where)
        if dtype.kind == "c":
            raise TypeError
    except (TypeError, ConfigError):
        raise ConfigError(
            f"{where}: dtype {column.dtype!r} cannot be generated; what can: bool, (u)int8 ... 64, float16, "
            "float32, float64, list, string, binary"
        ) from None
    return Field(column.name, "number" if column.size == 1 else "vector", dtype, column.size, part)


class ParquetGenerator(ColumnGenerator):
    """Makes Parquet files, a row group at a time."""

    compressions = ("none", "gzip", "snappy", "lz4", "zstd")

    def __init__(self, dataset: DatasetSection, where: str = "dataset"):
        self.columns = dataset.parquet.columns
        super().__init__(dataset, where)
        if dataset.parquet.partition_by:
            raise ConfigError(f"{where}.parquet.partition_by: partitioned data sets cannot be generated")

    def blocks(self) -> Iterator[tuple[int, int]]:
        parquet = self.dataset.parquet
        batch = parquet.generation_batch_size or parquet.row_group_size
        for start in range(0, self.samples, batch):
            stop = min(start + batch, self.samples)
            for first in range(start, stop, parquet.row_group_size):
                yield first, min(first + parquet.row_group_size, stop)

    def encode(self, index: int, file: IO[bytes]) -> None:
        writer = FileWriter(file, self.schema(index), self.dataset.compression)
        for block in self.blocks():
            self._write_row_group(writer, index, *block)
        writer.close()

    def stored_nbytes(self, field: Field, rows: int) -> float:
        wide = 4 - field.dtype.itemsize if field.is_narrow else 0  # more than bare
        saved = max(0, _saved_by_dictionary(field, rows)) / max(1, rows)
        level = min(field.size / 8, 8) if field.in_lists else 0.01
        return field.row_nbytes + field.size * wide - saved + level + 4 * field.is_bytes

    def _write_row_group(self, writer: FileWriter, index: int, start: int, stop: int) -> None:
        chunks = [self._write_chunk(writer, index, field, start, stop) for field in self.fields(index)]
        writer.end_row_group(stop - start, chunks)

    def _write_chunk(self, writer: FileWriter, index: int, field: Field, start: int, stop: int) -> Chunk:
        physical = BYTES if field.is_bytes else PHYSICAL.get(field.dtype.str[1:], INT32)
        chunk = Chunk(physical, (field.name, "list", "element") if field.in_lists else (field.name,))
        narrow = _saved_by_dictionary(field, stop - start) > 0
        if narrow:
            dictionary = dictionary_of(field.dtype)
            writer.add_dictionary(chunk, len(dictionary) // 4, dictionary)
        rows = max(1, PAGE // field.row_nbytes)
        for first in range(start, stop, rows):
            last = min(first + rows, stop)
            values = self.values(index, field, first, last)
            encoded = numbered(values) if narrow else [_plain(field, values, last - first)]
            level = levels(last - first, field.size if field.in_lists else None)
            count = (last - first) * (field.size if field.in_lists else 1)
            writer.add_page(chunk, count, [level, *encoded], RLE_DICTIONARY if narrow else PLAIN)
        return chunk

    def matches(self, index: int, file: IO[bytes]) -> bool:
        """Compare the first row group byte by byte, and the sizes in the footer."""
        blocks = list(self.blocks())
        try:
            writer = FileWriter(
                cast(IO[bytes], _Compared(file)), self.schema(index), self.dataset.compression
            )
            self._write_row_group(writer, index, *blocks[0])
            found = pq.ParquetFile(file)
            groups = [found.metadata.row_group(i).num_rows for i in range(found.num_row_groups)]
            same: bool = found.schema_arrow.equals(self.schema(index))
        except (_Differs, pa.ArrowException, OSError, ValueError):
            return False
        return same and groups == [stop - start for start, stop in blocks]


def _saved_by_dictionary(field: Field, rows: int) -> int:
    """Return how many bytes fewer integers take as numbers in a dictionary: PLAIN, each takes four."""
    if not field.is_narrow:
        return 0
    return rows * field.size * (4 - field.dtype.itemsize) - len(dictionary_of(field.dtype))


class _Differs(Exception):
    """A file holds something else than what would be written."""


class _Compared:
    """A file object that compares what is written to it with what a file holds."""

    def __init__(self, file: IO[bytes]):
        self._file, self._at = file, 0

    def write(self, data: Any) -> int:
        """Compare the next bytes."""
        if read_at(self._file, len(data), self._at) != bytes(data):
            raise _Differs
        self._at += len(data)
        return len(data)


def _plain(field: Field, values: npt.NDArray[Any], rows: int) -> npt.NDArray[np.uint8]:
    """Return values in Parquet's encoding PLAIN."""
    if field.is_bytes:
        strings = field.bytes_of(values, rows)
        framed = np.empty((rows, 4 + strings.shape[1]), np.uint8)
        framed[:, :4] = np.array([strings.shape[1]], "<u4").view(np.uint8)
        framed[:, 4:] = strings
        return framed.reshape(-1)
    if field.dtype.kind == "b":
        return np.packbits(values, bitorder="little")
    wide = values.astype("<i4") if field.is_narrow else values
    return wide.view(np.uint8)


class ArrowGenerator(ColumnGenerator):
    """Makes Arrow IPC files, a record batch at a time."""

    compressions = ("none", "lz4", "zstd")

    def __init__(self, dataset: DatasetSection, where: str = "dataset"):
        self.columns = dataset.arrow.columns
        super().__init__(dataset, where)

    def blocks(self) -> Iterator[tuple[int, int]]:
        longest = max((field.row_nbytes for field in self.fields(0)), default=1) if len(self) else 1
        rows = self.dataset.arrow.generation_batch_size or ARROW_ROWS
        rows = max(1, min(rows, LONGEST_ROW // longest))  # in memory, and counted by 32 bits
        for start in range(0, self.samples, rows):
            yield start, min(start + rows, self.samples)

    def encode(self, index: int, file: IO[bytes]) -> None:
        self._encode(index, file, self.blocks())

    def _encode(self, index: int, file: IO[bytes], blocks: Iterable[tuple[int, int]]) -> None:
        codec = self.dataset.compression
        options = pa.ipc.IpcWriteOptions(compression=None if codec == "none" else codec)
        schema = self.schema(index)
        with pa.ipc.new_file(pa.PythonFile(file, mode="w"), schema, options=options) as writer:
            for start, stop in blocks:
                arrays = [
                    field.array(self.values(index, field, start, stop), stop - start)
                    for field in self.fields(index)
                ]
                writer.write_batch(pa.record_batch(arrays, schema=schema))

    def matches(self, index: int, file: IO[bytes]) -> bool:
        """Compare the first record batch byte by byte, and how many there are."""
        blocks = list(self.blocks())
        planned = io.BytesIO()
        self._encode(index, planned, blocks[:1])
        image = planned.getvalue()
        footer = 10 + int.from_bytes(image[-10:-6], "little")
        same = len(image) - footer - 8  # behind it, more record batches or the end of the stream
        try:
            if read_at(file, same, 0) != image[:same]:
                return False
            return bool(pa.ipc.open_file(file).num_record_batches == len(blocks))
        except (pa.ArrowException, OSError, ValueError):
            return False
