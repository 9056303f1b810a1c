"""Objects that appear whole or not at all, made by the same generators and encoders as local files."""

from __future__ import annotations

import io
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

from .. import _core
from ..errors import ClosedError
from ..storage.uploading import MOST_PARTS, PART, PARTS_AT_ONCE, WHOLE, put_object, put_parts
from .layout import FileLayout
from .writing import full_disk, typed_errors

if TYPE_CHECKING:
    from ..storage.remote import RemoteStore

PIECE = 1 << 20
CLIENT_COPIES = 3
"""How often s3fs and adlfs have a request's bytes in memory: theirs, aiohttp's, and the socket's."""


class ObjectWriter:
    """Writes to a store, from any number of threads at once, with the methods of the local Writer.

    A file of at most `whole` bytes is made in memory and written by one request. A larger one goes in parts,
    as it is made, or from a temporary local file where only its encoder knows what it will be.

    Parameters
    ----------
    store : RemoteStore
    whole : int
        Bytes.
    """

    direct = False
    sync = False

    def __init__(self, store: RemoteStore, *, whole: int = WHOLE):
        self.store = store
        self.cancelled = False
        self._whole = min(whole, WHOLE)
        self._written = 0
        self._lock = threading.Lock()
        self._own = threading.local()

    def cancel(self) -> None:
        """Make running and later calls raise ClosedError, from any thread; nothing stays of their objects."""
        self.cancelled = True

    @property
    def bytes_written(self) -> int:
        """Bytes sent so far, by objects that are not finished too."""
        return self._written

    def write_layout(
        self, path: str, layout: FileLayout, *, seed: int, stream: int, kind: int
    ) -> tuple[int, str | None]:
        """As :meth:`Writer.write_layout`."""
        fill = _Fill(seed, stream, kind, lambda: self._check(path))
        if layout.nbytes <= self._whole:
            self._put(path, fill.image(layout, self._memory(layout.nbytes)))
        else:
            self._put_parts(path, fill.parts(layout, _part_size(layout.nbytes)))
        return layout.nbytes, None

    def write_encoded(
        self, path: str, encode: Callable[[IO[bytes]], object], *, direct: bool | None = None
    ) -> tuple[int, str | None]:
        """As :meth:`Writer.write_encoded`."""
        with closing(_Spool(self._whole, lambda: self._check(path))) as file:
            with full_disk(tempfile.gettempdir()), typed_errors("writing failed", path):
                try:
                    encode(file)
                except BaseException as error:
                    # Libraries make exceptions of their own of what the file object raised.
                    if self.cancelled and not isinstance(error, ClosedError):
                        raise ClosedError(f"{path}: writing was cancelled") from error
                    if file.failure is not None and file.failure is not error:
                        raise file.failure from error
                    raise
            nbytes = file.seek(0, io.SEEK_END)
            file.seek(0)
            if nbytes <= self._whole:
                self._put(path, file.contents())
            else:
                self._put_parts(path, iter(lambda: file.read(_part_size(nbytes)), b""))
        return nbytes, None

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a small object."""
        self._put(path, data)

    def _put(self, path: str, data: Any) -> None:
        self._check(path)
        put_object(self.store, path, data, self._is_cancelled)
        self._count(len(data))

    def _put_parts(self, path: str, parts: Iterator[Any]) -> None:
        def counted() -> Iterator[Any]:
            for part in parts:
                self._check(path)
                yield part
                self._count(len(part))

        put_parts(self.store, path, counted(), self._is_cancelled)

    def _is_cancelled(self) -> bool:
        return self.cancelled

    def _check(self, path: str) -> None:
        if self.cancelled:
            raise ClosedError(f"{path}: writing was cancelled")

    def _count(self, nbytes: int) -> None:
        with self._lock:
            self._written += nbytes

    def _memory(self, nbytes: int) -> bytearray:
        """This thread's, of the file before where that had as many bytes."""
        if len(getattr(self._own, "memory", b"")) != nbytes:
            self._own.memory = bytearray()  # given back first
            self._own.memory = bytearray(nbytes)
        memory: bytearray = self._own.memory
        return memory


def memory_of(store: RemoteStore, nbytes: float) -> float:
    """Return the bytes of memory that a file of that many bytes takes while it is written."""
    if nbytes > WHOLE:
        return (1 + CLIENT_COPIES * PARTS_AT_ONCE) * max(PART, nbytes / MOST_PARTS)
    return nbytes * (1 if hasattr(store.core(), "put") else CLIENT_COPIES)


class _Fill:
    """Lays out a file of random contents, as csrc/dlf_write.c does."""

    def __init__(self, seed: int, stream: int, kind: int, check: Callable[[], None]):
        self._what = seed, stream
        self._kind = kind
        self._check = check

    def image(self, layout: FileLayout, memory: bytearray) -> bytearray:
        """The whole file."""
        begin, end = len(layout.head), len(layout.head) + layout.payload_nbytes
        memory[:begin], memory[end:] = layout.head, layout.tail
        with memoryview(memory) as view:
            crc = _core.crc32(layout.head[layout.crc_from :])
            for piece, offset in _pieces(view[begin:end]):
                self._fill(piece, offset)
                crc = _core.crc32(piece, crc)  # while it is in cache
            for at in _crc_places(layout):
                view[at : at + 4] = crc.to_bytes(4, "little")
        return memory

    def parts(self, layout: FileLayout, size: int) -> Iterator[bytearray]:
        """The file piece by piece; its head goes first, so the checksum in it is computed beforehand."""
        places, crc = _crc_places(layout), 0
        if places:
            crc = _core.crc32(layout.head[layout.crc_from :])
            buffer = memoryview(bytearray(PIECE))
            for start in range(0, layout.payload_nbytes, PIECE):
                piece = buffer[: min(PIECE, layout.payload_nbytes - start)]
                self._fill(piece, start)
                crc = _core.crc32(piece, crc)
        at = 0
        for start in range(0, max(1, layout.payload_nbytes), size):
            stop = min(start + size, layout.payload_nbytes)
            head = layout.head if start == 0 else b""
            tail = layout.tail if stop == layout.payload_nbytes else b""
            part = bytearray(len(head) + stop - start + len(tail))
            part[: len(head)], part[len(part) - len(tail) :] = head, tail
            with memoryview(part)[len(head) : len(head) + stop - start] as payload:
                for piece, offset in _pieces(payload):
                    self._fill(piece, start + offset)
            for place in places:
                if at <= place < at + len(part):
                    part[place - at : place - at + 4] = crc.to_bytes(4, "little")
            at += len(part)
            yield part

    def _fill(self, piece: memoryview, offset: int) -> None:
        self._check()
        _core.fill(piece, *self._what, offset, self._kind)


def _pieces(view: memoryview) -> Iterator[tuple[memoryview, int]]:
    for offset in range(0, len(view), PIECE):
        yield view[offset : offset + PIECE], offset


def _crc_places(layout: FileLayout) -> list[int]:
    """Where in the file its checksum is kept."""
    places = [] if layout.crc_in_head is None else [layout.crc_in_head]
    behind = len(layout.head) + layout.payload_nbytes
    return places if layout.crc_in_tail is None else [*places, behind + layout.crc_in_tail]


def _part_size(nbytes: int) -> int:
    """So that the store takes as many parts; a multiple of 1 MiB."""
    return max(PART, -(-nbytes // MOST_PARTS // PIECE) * PIECE)


class _Spool(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
    """A file in memory, of which the bytes lie in a temporary file once they are more than allowed."""

    def __init__(self, most: int, check: Callable[[], None]):
        super().__init__(max_size=most)
        self.failure: BaseException | None = None
        self._most = most
        self._check_cancelled = check

    def fileno(self) -> int:
        """Refuse: libraries would write to it behind the object's back."""
        raise io.UnsupportedOperation("fileno")

    def write(self, s: Any) -> int:
        try:
            self._check_cancelled()
            if self.tell() + memoryview(s).nbytes > self._most:
                self.rollover()
            return super().write(s)
        except BaseException as error:
            self.failure = self.failure or error
            raise

    def contents(self) -> bytes:
        """All of it, without a copy where it lies in memory."""
        file: Any = self._file
        data: bytes = file.getvalue() if isinstance(file, io.BytesIO) else file.read()
        return data
