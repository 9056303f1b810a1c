"""Formats that Python decodes: the core reads the bytes, and its threads call the decoder."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import _core
from .._typing import Int64Array, Values
from ..errors import FileChangedError, SampleError
from .base import FileSpec, Format

TABLES_KEPT = 128 << 20
"""Bytes that the remembered blocks of files may take."""

BLOCK_BYTES = 512
"""Of a block, about."""


@dataclass(frozen=True)
class Block:
    """The least of a file that can be decoded by itself: a file, a row group, a record batch.

    Attributes
    ----------
    samples : int
        How many it holds; the blocks of a file follow one another.
    extents : tuple of (int, int)
        Offset and length in bytes of what has to be read for it.
    key : object
        Whatever the format wants to know it by.
    """

    samples: int
    extents: tuple[tuple[int, int], ...]
    key: Any = None


class DecodedFormat(Format):
    """A format that is decoded by a library, block by block."""

    container = "maker"

    def blocks(self, file: _core.File, spec: FileSpec) -> Sequence[Block]:
        """Return a file's blocks; by default it is one, read whole, with as many samples as the first file.

        Parameters
        ----------
        file : _core.File
            Open; its ``read(offset, length)`` gives bytes, its ``size`` how many there are.
        spec : FileSpec
            What :meth:`inspect` said of the first file.
        """
        return [Block(spec.samples, ((0, file.size),))]

    def nbytes(self, blocks: Sequence[Block]) -> int:
        """Return about what memory a file's blocks take while they are remembered."""
        return BLOCK_BYTES * len(blocks)

    def extents(self, block: Block, spec: FileSpec) -> Sequence[tuple[int, int]]:
        """Return what of the file has to be read for a block, where it does not say so itself."""
        return block.extents

    @abstractmethod
    def decode(self, path: str, block: Block, data: Sequence[memoryview], spec: FileSpec) -> Sequence[Values]:
        """Return the samples of a block.

        Called by several threads at once. Whatever is wrong with the bytes is a DataError that names the
        path; other exceptions reach the caller as they are.

        Parameters
        ----------
        path : str
        block : Block
        data : sequence of memoryview
            The bytes of its extents.
        spec : FileSpec
            Its `fields` are those that are wanted.

        Returns
        -------
        sequence
            For each field of `spec`, in that order: an array (samples, *shape of a sample), or a list of
            arrays where samples differ.
        """

    def reader(self, spec: FileSpec, cache_bytes: int) -> BlockReader:
        return BlockReader(self, spec, cache_bytes)


_Version = tuple[int, int]


@dataclass(frozen=True)
class _Table:
    """The blocks of a file as it was, and the number of the first sample of each."""

    version: _Version
    blocks: Sequence[Block]
    firsts: Int64Array
    nbytes: int


class BlockReader:
    """Reads samples of a :class:`DecodedFormat`, and keeps blocks of which later batches want samples."""

    def __init__(self, format: DecodedFormat, spec: FileSpec, cache_bytes: int):
        self._format, self._spec = format, spec
        self._cache = BlockCache(cache_bytes)
        self._tables: OrderedDict[int, _Table] = OrderedDict()
        self._tables_held = 0
        self._lock = threading.Lock()

    def read(self, task: _core.Task) -> None:
        """Put the samples of a task where they belong, block by block."""
        table = self._table_of(task)
        firsts = table.firsts
        if firsts[-1] != self._spec.samples:
            raise SampleError(
                f"{task.path}: the file holds {firsts[-1]} samples, the first file of the data set "
                f"{self._spec.samples}",
                task.path,
            )
        samples = np.asarray(task.samples, np.int64)
        numbers = np.searchsorted(firsts, samples, side="right") - 1
        ends = [*(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(samples)]
        for begin, end in zip([0, *ends], ends, strict=False):
            number = int(numbers[begin])
            rows = _rows(samples[begin:end] - firsts[number])
            values = self._values(task, table, number, end - begin)
            task.put(end - begin, [_chosen(of_field, rows) for of_field in values])

    def forget(self) -> None:
        """Let go of the blocks that are kept: the pass that wanted samples of them is over."""
        self._cache.forget()

    def _table_of(self, task: _core.Task) -> _Table:
        with self._lock:
            table = self._tables.get(task.file)
            if table is not None:
                self._tables.move_to_end(task.file)
                return table
        file = task.open()
        version, blocks = file.version, self._format.blocks(file, self._spec)
        firsts = np.cumsum([0, *(block.samples for block in blocks)])
        table = _Table(version, blocks, firsts, self._format.nbytes(blocks))
        with self._lock:
            if task.file not in self._tables:
                self._tables[task.file] = table
                self._tables_held += table.nbytes
            while self._tables_held > TABLES_KEPT and len(self._tables) > 1:
                self._tables_held -= self._tables.popitem(last=False)[1].nbytes
        return table

    def _values(self, task: _core.Task, table: _Table, number: int, wanted: int) -> Sequence[Values]:
        def decode() -> Sequence[Values]:
            return self._decoded(task, table, block)

        block = table.blocks[number]
        if block.samples == wanted:  # nobody else will want any
            return decode()
        return self._cache.get((task.file, table.version, number), decode, wanted, block.samples)

    def _decoded(self, task: _core.Task, table: _Table, block: Block) -> Sequence[Values]:
        extents = self._format.extents(block, self._spec)
        if extents and task.open().version != table.version:
            with self._lock:  # the next to ask lists them anew
                known = self._tables.pop(task.file, None)
                self._tables_held -= known.nbytes if known else 0
            raise FileChangedError(f"{task.path}: the file was replaced since it was first read", task.path)
        data = read_extents(task.open(), extents) if extents else []
        values = self._format.decode(task.path, block, data, self._spec)
        if extents:
            task.open().check_unchanged()
        if len(values) != len(self._spec.fields):
            raise SampleError(
                f"{task.path}: {len(values)} fields were decoded of {len(self._spec.fields)}", task.path
            )
        for of_field in values:
            if len(of_field) != block.samples:
                raise SampleError(
                    f"{task.path}: {len(of_field)} samples where {block.samples} were expected", task.path
                )
        return values


def read_extents(file: _core.File, extents: Sequence[tuple[int, int]]) -> list[memoryview]:
    """Return the bytes of extents, read together."""
    buffer, places = file.read_ranges(extents)
    view = memoryview(buffer)
    return [view[place : place + nbytes] for place, (_, nbytes) in zip(places, extents, strict=True)]


Decode = Callable[[], Sequence[Values]]
_Key = tuple[int, _Version, int]


@dataclass
class _Entry:
    values: Sequence[Values] | None = None
    nbytes: int = 0
    taken: int = 0
    loaded: threading.Event = field(default_factory=threading.Event)


class BlockCache:
    """Decoded blocks, within a number of bytes; the least recently used go first.

    The first thread to ask for a block decodes it, the others wait for that. A block goes as soon as all its
    samples have been taken: in a pass over the data nobody will want it again.
    """

    def __init__(self, capacity: int):
        self._capacity = capacity
        self._held = 0
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: _Key, decode: Decode, wanted: int, samples: int) -> Sequence[Values]:
        """Return a block of so many samples, of which the caller takes `wanted`; `decode` makes it."""
        with self._lock:
            entry = self._entries.get(key)
            mine = entry is None
            if entry is None:
                entry = self._entries[key] = _Entry()
            self._entries.move_to_end(key)
        if mine:
            values = self._load(key, entry, decode)
        else:
            entry.loaded.wait()
            # Where loading it failed, or it found no room, each reads for itself.
            values = decode() if entry.values is None else entry.values
        with self._lock:
            entry.taken += wanted
            if entry.taken >= samples:
                self._drop(key, entry)
        return values

    def forget(self) -> None:
        """Let go of all blocks, unless a thread is at it: the collector calls this, too, at any moment."""
        if self._lock.acquire(blocking=False):
            try:
                for key, entry in list(self._entries.items()):
                    if entry.values is not None:
                        self._drop(key, entry)
            finally:
                self._lock.release()

    def _load(self, key: _Key, entry: _Entry, decode: Decode) -> Sequence[Values]:
        try:
            values = decode()
            nbytes = sum(map(_nbytes, values))
            if nbytes <= self._capacity:
                with self._lock:
                    entry.values, entry.nbytes = values, nbytes
                    self._held += nbytes
                    self._make_room(key)
            return values
        finally:
            if entry.values is None:
                with self._lock:
                    self._drop(key, entry)
            entry.loaded.set()

    def _make_room(self, key: _Key) -> None:
        for other, entry in list(self._entries.items()):
            if self._held <= self._capacity:
                return
            if other != key and entry.values is not None:
                self._drop(other, entry)

    def _drop(self, key: _Key, entry: _Entry) -> None:
        if self._entries.get(key) is entry:
            del self._entries[key]
            self._held -= entry.nbytes if entry.values is not None else 0


def _nbytes(values: Values) -> int:
    return values.nbytes if isinstance(values, np.ndarray) else sum(value.nbytes for value in values)


def _rows(rows: Int64Array) -> slice | Int64Array:
    """Return the same rows as a slice where they lie one after the other."""
    first = int(rows[0])
    return slice(first, first + len(rows)) if (np.diff(rows) == 1).all() else rows


def _chosen(values: Values, rows: slice | Int64Array) -> Values:
    """Return some of the samples, of an array a view where they are a slice."""
    if isinstance(values, list) and not isinstance(rows, slice):
        return [values[row] for row in rows.tolist()]
    return values[rows]
