"""Parquet files put together from pages whose values are already as they lie in the file.

Random numbers need no encoder: of 32 and 64 bits they are PLAIN, and of 8 and 16 bits they are their own
numbers in a dictionary of all there are. The schema is pyarrow's; pages, row groups and footer are written
by https://github.com/apache/parquet-format (Thrift's compact protocol).
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .arrowlib import ArrowSchema, pa, pq

MAGIC = b"PAR1"
CODECS: dict[str, tuple[int, str | None]] = {
    "none": (0, None),
    "snappy": (1, "snappy"),
    "gzip": (2, "gzip"),
    "zstd": (6, "zstd"),
    "lz4": (7, "lz4_raw"),
}
PLAIN, RLE, RLE_DICTIONARY = 0, 3, 8
BOOLEAN, INT32, INT64, FLOAT, DOUBLE, BYTES, FIXED_BYTES = 0, 1, 2, 4, 5, 6, 7
I16, I32, I64, BINARY, LIST, STRUCT = 4, 5, 6, 8, 9, 12  # Thrift's compact types
DATA_PAGE, DICTIONARY_PAGE = 0, 2
PACKED_LISTS = 32
"""Lists shorter than this have their levels packed, eight a byte; longer ones in runs."""


def varint(value: int) -> bytes:
    """Return an unsigned number, seven bits a byte."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def structure(*fields: tuple[int, int, Any]) -> bytes:
    """Return a Thrift structure of (number, type, value), in ascending order.

    A list's value is (type, items); structures are given as bytes.
    """
    out, last = bytearray(), 0
    for number, kind, value in fields:
        out.append((number - last) << 4 | kind)
        out += _value(kind, value)
        last = number
    return bytes(out) + b"\0"


def _value(kind: int, value: Any) -> bytes:
    if kind in (I16, I32, I64):
        return varint((value << 1 ^ value >> 63) & (1 << 64) - 1)
    if kind == BINARY:
        return varint(len(value)) + bytes(value)
    if kind == LIST:
        inner, items = value
        many = bytes([0xF0 | inner]) + varint(len(items))
        head = bytes([len(items) << 4 | inner]) if len(items) < 15 else many
        return head + b"".join(_value(inner, item) for item in items)
    assert kind == STRUCT
    return bytes(value)


def levels(rows: int, size: int | None) -> bytes:
    """Return the levels of a page of rows without nulls; `size` items in each row's list, None: no lists."""
    if size is None:
        return _framed(varint(rows << 1) + b"\1")
    count = rows * size
    if size < PACKED_LISTS:
        repeated = np.ones((rows, size), np.uint8)
        repeated[:, 0] = 0
        bits = np.packbits(repeated.reshape(-1), bitorder="little").tobytes()
        repetition = varint(len(bits) << 1 | 1) + bits
    else:
        repetition = (varint(1 << 1) + b"\0" + varint((size - 1) << 1) + b"\1") * rows
    return _framed(repetition) + _framed(varint(count << 1) + b"\3")


def _framed(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def numbered(values: npt.NDArray[Any]) -> list[Any]:
    """Return 8 or 16-bit values as their own numbers in a dictionary of all there are, in parts."""
    itemsize = values.dtype.itemsize
    padded = -len(values) % 8  # packed in groups of eight
    head = bytes([8 * itemsize]) + varint((len(values) + padded) // 8 << 1 | 1)
    return [head, values.view(np.uint8), bytes(padded * itemsize)]


@lru_cache
def dictionary_of(dtype: np.dtype[Any]) -> bytes:
    """Return all values of an 8 or 16-bit type as a dictionary's page."""
    bare = np.dtype(f"u{dtype.itemsize}")
    return np.arange(1 << 8 * dtype.itemsize).astype(bare).view(dtype).astype("<i4").tobytes()


class Chunk:
    """A column chunk that is being written."""

    def __init__(self, physical: int, path: tuple[str, ...]):
        self.physical, self.path = physical, path
        self.values = self.packed = self.unpacked = 0
        self.dictionary: int | None = None
        self.first: int | None = None


class FileWriter:
    """Writes a Parquet file, page by page.

    Parameters
    ----------
    file : file object
        Empty, and written to from its beginning on.
    schema : pyarrow.Schema
    codec : str
        As ``dataset.compression`` has it.
    """

    def __init__(self, file: IO[bytes], schema: ArrowSchema, codec: str):
        self._file, self._at = file, 0
        self._number, self._codec = CODECS[codec]
        self._schema = schema
        self._groups: list[bytes] = []
        self._rows = 0
        self._write(MAGIC)

    def _write(self, data: Any) -> None:
        self._file.write(data)
        self._at += len(data)

    def add_page(self, chunk: Chunk, values: int, body: Sequence[Any], encoding: int) -> None:
        """Write a data page: levels and values, which are bytes in any number of parts."""
        details = structure((1, I32, values), (2, I32, encoding), (3, I32, RLE), (4, I32, RLE))
        if chunk.first is None:
            chunk.first = self._at
        self._add(chunk, body, DATA_PAGE, 5, details)
        chunk.values += values

    def add_dictionary(self, chunk: Chunk, values: int, body: bytes) -> None:
        """Write a chunk's dictionary, before its data pages."""
        chunk.dictionary = self._at
        self._add(chunk, [body], DICTIONARY_PAGE, 7, structure((1, I32, values), (2, I32, PLAIN)))

    def _add(self, chunk: Chunk, body: Sequence[Any], kind: int, number: int, details: bytes) -> None:
        unpacked = sum(map(len, body))
        if self._codec is not None:
            body = [pa.compress(b"".join(body), codec=self._codec, asbytes=True)]
        crc = 0
        for part in body:
            crc = _core.crc32(part, crc)
        packed = sum(map(len, body))
        sizes = (2, I32, unpacked), (3, I32, packed), (4, I32, crc - (crc >> 31 << 32))
        header = structure((1, I32, kind), *sizes, (number, STRUCT, details))
        for part in (header, *body):
            self._write(part)
        chunk.packed += len(header) + packed
        chunk.unpacked += len(header) + unpacked

    def end_row_group(self, rows: int, chunks: Iterable[Chunk]) -> None:
        """Finish a row group of these chunks, all that were written since the last."""
        columns, packed, unpacked, begin = [], 0, 0, None
        for chunk in chunks:
            encodings = [PLAIN, RLE] if chunk.dictionary is None else [PLAIN, RLE, RLE_DICTIONARY]
            assert chunk.first is not None
            start = chunk.first if chunk.dictionary is None else chunk.dictionary
            place = [] if chunk.dictionary is None else [(11, I64, chunk.dictionary)]
            meta = structure(
                (1, I32, chunk.physical),
                (2, LIST, (I32, encodings)),
                (3, LIST, (BINARY, [part.encode() for part in chunk.path])),
                (4, I32, self._number),
                (5, I64, chunk.values),
                (6, I64, chunk.unpacked),
                (7, I64, chunk.packed),
                (9, I64, chunk.first),
                *place,
            )
            columns.append(structure((2, I64, start + chunk.packed), (3, STRUCT, meta)))
            packed, unpacked = packed + chunk.packed, unpacked + chunk.unpacked
            begin = start if begin is None else begin
        self._groups.append(
            structure(
                (1, LIST, (STRUCT, columns)),
                (2, I64, unpacked),
                (3, I64, rows),
                (5, I64, begin),
                (6, I64, packed),
            )
        )
        self._rows += rows

    def close(self) -> None:
        """Write the footer; the file stays open."""
        version_and_schema, rest = _footer_of(self._schema)
        footer = (
            version_and_schema
            + bytes([1 << 4 | I64]) + _value(I64, self._rows)
            + bytes([1 << 4 | LIST]) + _value(LIST, (STRUCT, self._groups))
            + rest
        )  # fmt: skip
        self._write(footer + struct.pack("<I", len(footer)) + MAGIC)


def _footer_of(schema: ArrowSchema) -> tuple[bytes, bytes]:
    """Return the fields of pyarrow's footer before and behind the numbers of rows and the row groups."""
    out = io.BytesIO()
    pq.ParquetWriter(out, schema).close()
    image = out.getvalue()
    footer = image[-8 - int.from_bytes(image[-8:-4], "little") : -8]
    # An empty file's fields 3 and 4: i64 zero and a list of no structures.
    empty = bytes([1 << 4 | I64, 0, 1 << 4 | LIST, STRUCT])
    before, found, rest = footer.partition(empty)
    assert found, "pyarrow writes its footers otherwise"
    return before, rest
