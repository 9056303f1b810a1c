"""Where the record batches of an Arrow IPC file or stream lie: its flatbuffers, as far as that needs them.

pyarrow reads record batches whole. To read only the buffers of the columns that are wanted, their places are
taken from the messages themselves, by the schemas ``File.fbs`` and ``Message.fbs`` of
https://github.com/apache/arrow/tree/main/format and https://flatbuffers.dev/internals/. All that is looked at
is checked to lie inside of what was read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _core
from .._typing import Int64Array
from ..errors import DataError, FormatError, TruncatedError, UnsupportedError

MAGIC, OLD_FEATHER = b"ARROW1", b"FEA1"
CONTINUATION = 0xFFFFFFFF
LONGEST_METADATA = 256 << 20
CODECS = {0: "lz4", 1: "zstd"}  # CompressionType; "lz4" is pyarrow's name of LZ4_FRAME
SCHEMA, DICTIONARY, RECORD_BATCH = 1, 2, 3  # MessageHeader
PAIR = np.dtype(("<i8", 2))
BLOCK = np.dtype([("offset", "<i8"), ("metadata", "<i4"), ("", "<i4"), ("body", "<i8")])


@dataclass(frozen=True)
class Message:
    """A record batch, or that in a dictionary batch.

    Attributes
    ----------
    kind : int
    rows : int
    nodes : numpy.ndarray
        Rows and nulls of each array, parents before children; int64, shape (arrays, 2).
    buffers : numpy.ndarray
        Offset in the file and length of each buffer; int64, shape (buffers, 2).
    codec : str or None
        What buffers are compressed with.
    variadic : tuple of int
        How many buffers each array of views has.
    dictionary : int
        Of a dictionary batch, which it is (part of).
    is_delta : bool
    """

    kind: int
    rows: int
    nodes: Int64Array
    buffers: Int64Array
    codec: str | None
    variadic: tuple[int, ...] = ()
    dictionary: int = -1
    is_delta: bool = False


@dataclass
class Messages:
    """What a file or stream consists of.

    Attributes
    ----------
    schema : bytes
        The schema's message, as pyarrow reads it.
    dictionary_of : list of int
        Of each column of the schema, the dictionary that its values are numbers in; -1: they are not.
    batches : list of Message
    dictionaries : dict of int to Message
    """

    schema: bytes
    dictionary_of: list[int]
    batches: list[Message] = field(default_factory=list)
    dictionaries: dict[int, Message] = field(default_factory=dict)

    def add(self, message: Message, path: str) -> None:
        """Take a message in."""
        if message.kind == RECORD_BATCH:
            self.batches.append(message)
        elif message.is_delta or message.dictionary in self.dictionaries:
            raise UnsupportedError(f"{path}: dictionary {message.dictionary} changes within the file", path)
        else:
            self.dictionaries[message.dictionary] = message


def read_messages(file: _core.File) -> Messages:
    """Find the record batches of a file."""
    head = bytes(file.read(0, min(8, file.size)))
    try:
        if head.startswith(MAGIC):
            return _of_file(file)
        if head[:4] == struct.pack("<I", CONTINUATION):
            return _of_stream(file, 0, file.size)
    except DataError:
        raise
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise FormatError(f"{file.path}: the metadata are malformed: {error}", file.path) from error
    if head.startswith(OLD_FEATHER):
        raise UnsupportedError(
            f"{file.path}: Feather's version 1 is not read: write it anew with pyarrow", file.path
        )
    kind = FormatError if len(head) == 8 else TruncatedError
    raise kind(f"{file.path}: neither an Arrow IPC file nor a stream", file.path)


def _of_file(file: _core.File) -> Messages:
    size = file.size
    if size < 24 or bytes(file.read(size - 6, 6)) != MAGIC:
        raise TruncatedError(f"{file.path}: an Arrow IPC file without its end", file.path, None, size)
    (length,) = struct.unpack("<i", bytes(file.read(size - 10, 4)))
    if not 0 < length <= size - 10 - 8:
        raise FormatError(f"{file.path}: a footer of {length} bytes does not fit the file", file.path)
    footer = _root(bytes(file.read(size - 10 - length, length)))
    found, _ = _schema(file, 8, size)  # what is between magic and footer begins as a stream does
    for slot in (2, 3):  # dictionaries, recordBatches of Footer
        for offset, metadata, _, body in footer.vector(slot, BLOCK).tolist():
            if offset < 0 or metadata < 8 or body < 0 or offset + metadata + body > size:
                raise FormatError(
                    f"{file.path}: a record batch is said to lie at bytes {offset} to "
                    f"{offset + metadata + body}, the file has {size}",
                    file.path, None, max(offset, 0),
                )  # fmt: skip
            _, message, start, _ = _framed(file, offset, size)
            found.add(_message(message, start, body, file.path), file.path)
    return found


def _of_stream(file: _core.File, at: int, end: int) -> Messages:
    found, at = _schema(file, at, end)
    while at < end:
        raw, message, start, body = _framed(file, at, end)
        if not raw:  # the end of the stream
            break
        found.add(_message(message, start, body, file.path), file.path)
        at = start + body
    return found


def _schema(file: _core.File, at: int, end: int) -> tuple[Messages, int]:
    """Return what a schema's message says, and where it ends."""
    raw, message, after, _ = _framed(file, at, end)
    if not raw or message.number(1, "<B") != SCHEMA:
        raise FormatError(f"{file.path}: it does not begin with a schema", file.path, None, at)
    schema = message.table(2)
    if schema.number(0, "<h"):
        raise UnsupportedError(f"{file.path}: its numbers are big-endian", file.path)
    columns = schema.tables(1)
    return Messages(raw, [c.table(4).number(0, "<q") if c.has(4) else -1 for c in columns]), after


def _framed(file: _core.File, at: int, end: int) -> tuple[bytes, _Table, int, int]:
    """Return the framed message at an offset, its table, where its body begins, and the body's length."""
    if at + 8 > end:
        raise TruncatedError(f"{file.path}: the file ends within a message", file.path, None, at)
    mark, length = struct.unpack("<II", bytes(file.read(at, 8)))
    prefix = 8
    if mark != CONTINUATION:  # as written before Arrow 0.15
        prefix, length = 4, mark
    if not length:
        return b"", _Table(b"", 0), at + prefix, 0
    if length > min(LONGEST_METADATA, end - at - prefix):
        raise TruncatedError(f"{file.path}: the file ends within a message", file.path, None, at)
    raw = bytes(file.read(at, prefix + length))
    message = _root(raw[prefix:])
    body = message.number(3, "<q")
    if not 0 <= body <= end - at - prefix - length:
        raise TruncatedError(f"{file.path}: the file ends within a record batch", file.path, None, at)
    return raw, message, at + prefix + length, body


def _message(message: _Table, start: int, body: int, path: str) -> Message:
    kind = message.number(1, "<B")
    batch = message.table(2)
    dictionary, is_delta = -1, False
    if kind == DICTIONARY:
        dictionary, is_delta, batch = batch.number(0, "<q"), bool(batch.number(2, "<B")), batch.table(1)
    elif kind != RECORD_BATCH:
        raise FormatError(f"{path}: a message of kind {kind} where a record batch was expected", path)
    rows = batch.number(0, "<q")
    nodes, buffers = batch.vector(1, PAIR), batch.vector(2, PAIR).copy()
    if rows < 0 or nodes.size and nodes.min() < 0:
        raise FormatError(f"{path}: a record batch has {rows} rows, or columns of fewer than none", path)
    if buffers.size and (buffers.min() < 0 or (buffers > body).any() or (buffers.sum(axis=1) > body).any()):
        raise FormatError(f"{path}: a buffer lies outside of its record batch", path, None, start)
    buffers[:, 0] += start
    codec = None
    if batch.has(3):
        number = batch.table(3).number(0, "<b")
        if number not in CODECS:
            raise UnsupportedError(f"{path}: a record batch is compressed by an unknown codec {number}", path)
        codec = CODECS[number]
    variadic = tuple(batch.vector(4, np.dtype("<i8")).tolist())
    return Message(kind, rows, nodes, buffers, codec, variadic, dictionary, is_delta)


def _root(data: bytes) -> _Table:
    return _Table(data, struct.unpack_from("<I", data)[0])


class _Table:
    """A table of a flatbuffer; what lies outside of the data is a ValueError or struct.error."""

    def __init__(self, data: bytes, at: int):
        self._data, self._at = data, at
        self._vtable, self._size = 0, 0
        if data:
            self._vtable = at - self._get("<i", at)
            self._size = self._get("<H", self._vtable)

    def _get(self, kind: str, at: int) -> int:
        if at < 0:  # struct would count from the end
            raise ValueError("an offset is negative")
        value: int = struct.unpack_from(kind, self._data, at)[0]
        return value

    def _place(self, slot: int) -> int:
        at = 4 + 2 * slot
        offset = self._get("<H", self._vtable + at) if at + 2 <= self._size else 0
        return self._at + offset if offset else 0

    def has(self, slot: int) -> bool:
        """Whether a field is there."""
        return self._place(slot) != 0

    def number(self, slot: int, kind: str) -> int:
        """Return a number, 0 where it is left out."""
        place = self._place(slot)
        return self._get(kind, place) if place else 0

    def table(self, slot: int) -> _Table:
        """Return the table that a field refers to."""
        place = self._place(slot)
        if not place:
            raise ValueError(f"field {slot} of a table is missing")
        return _Table(self._data, place + self._get("<I", place))

    def tables(self, slot: int) -> list[_Table]:
        """Return a vector of tables, empty where it is left out."""
        place = self._place(slot)
        if not place:
            return []
        first = place + self._get("<I", place) + 4
        offsets = self.vector(slot, np.dtype("<u4")).tolist()
        return [_Table(self._data, first + 4 * i + offset) for i, offset in enumerate(offsets)]

    def vector(self, slot: int, dtype: np.dtype[Any]) -> np.ndarray:
        """Return a vector of structures or numbers, empty where it is left out."""
        place = self._place(slot)
        if not place:
            return np.empty(0, dtype)
        start = place + self._get("<I", place)
        return np.frombuffer(self._data, dtype, self._get("<I", start), start + 4)
