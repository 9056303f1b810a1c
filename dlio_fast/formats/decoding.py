"""Formats that Python decodes: the core reads the bytes, and its threads call the decoder."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from .. import _core
from .._typing import Array, Values
from ..errors import FileChangedError, SampleError
from .base import FileSpec, Format

FILES_KEPT = 1024
"""Files whose blocks are remembered."""


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
_Blocks = tuple[_Version, Sequence[Block]]


class BlockReader:
    """Reads samples of a :class:`DecodedFormat`, and keeps blocks of which later batches want samples."""

    def __init__(self, format: DecodedFormat, spec: FileSpec, cache_bytes: int):
        self._format, self._spec = format, spec
        self._cache = BlockCache(cache_bytes)
        self._blocks: OrderedDict[int, _Blocks] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, task: _core.Task) -> Sequence[Values]:
        """Return the samples of a task, field by field."""
        version, blocks = self._blocks_of(task)
        firsts = np.cumsum([0, *(block.samples for block in blocks)])
        if firsts[-1] != self._spec.samples:
            raise SampleError(
                f"{task.path}: the file holds {firsts[-1]} samples, the first file of the data set "
                f"{self._spec.samples}",
                task.path,
            )
        numbers = np.searchsorted(firsts, task.samples, side="right") - 1
        parts = []
        for number, group in groupby(zip(numbers.tolist(), task.samples, strict=True), lambda pair: pair[0]):
            rows = [sample - int(firsts[number]) for _, sample in group]
            values = self._values(task, version, number, blocks[number], len(rows))
            parts.append([_rows(of_field, rows) for of_field in values])
        return parts[0] if len(parts) == 1 else [_joined(of_field) for of_field in zip(*parts, strict=True)]

    def forget(self) -> None:
        """Let go of the blocks that are kept: the pass that wanted samples of them is over."""
        self._cache.forget()

    def _blocks_of(self, task: _core.Task) -> _Blocks:
        with self._lock:
            known = self._blocks.get(task.file)
        if known is None:
            file = task.open()
            known = file.version, self._format.blocks(file, self._spec)
            with self._lock:
                self._blocks[task.file] = known
                if len(self._blocks) > FILES_KEPT:
                    self._blocks.popitem(last=False)
        return known

    def _values(
        self, task: _core.Task, version: _Version, number: int, block: Block, wanted: int
    ) -> Sequence[Values]:
        def decode() -> Sequence[Values]:
            return self._decoded(task, version, block)

        if block.samples == wanted:  # nobody else will want any
            return decode()
        return self._cache.get((task.file, version, number), decode, wanted, block.samples)

    def _decoded(self, task: _core.Task, version: _Version, block: Block) -> Sequence[Values]:
        if block.extents and task.open().version != version:
            with self._lock:  # the next to ask lists them anew
                self._blocks.pop(task.file, None)
            raise FileChangedError(f"{task.path}: the file was replaced since it was first read", task.path)
        data = [memoryview(task.open().read(*extent)) for extent in block.extents]
        values = self._format.decode(task.path, block, data, self._spec)
        if block.extents:
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


def _rows(values: Values, rows: list[int]) -> Values:
    """Return some of the samples: a view where they lie one after the other."""
    if isinstance(values, list):
        return [values[row] for row in rows]
    if rows == list(range(rows[0], rows[0] + len(rows))):
        return values[rows[0] : rows[0] + len(rows)]
    chosen: Array = values[rows]
    return chosen


def _joined(parts: Sequence[Values]) -> Values:
    """Return the samples of several blocks as one; a list where they differ."""
    first = parts[0]
    if all(
        isinstance(part, np.ndarray) and isinstance(first, np.ndarray)
        and (part.dtype, part.shape[1:]) == (first.dtype, first.shape[1:])
        for part in parts
    ):  # fmt: skip
        return np.concatenate(parts)
    return [sample for part in parts for sample in part]
