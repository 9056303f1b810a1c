"""As much of HTTP/1.1 as a proxy has to understand to pass it on (RFC 9112)."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator

PIECE = 256 << 10
_HEAD_LIMIT = 256 << 10


class Gone(Exception):
    """The other side closed the connection in mid-message."""


@dataclasses.dataclass
class Head:
    """The first line of a message and its header fields, in order and as they were written."""

    line: str
    fields: list[tuple[str, str]]

    def get(self, name: str, default: str = "") -> str:
        return next((value for field, value in self.fields if field.lower() == name.lower()), default)

    def change(self, name: str, value: str | None) -> None:
        """Replace a field; None drops it."""
        self.fields = [(field, old) for field, old in self.fields if field.lower() != name.lower()]
        if value is not None:
            self.fields.append((name, value))

    def __bytes__(self):
        lines = [self.line, *(f"{name}: {value}" for name, value in self.fields), "", ""]
        return "\r\n".join(lines).encode("latin-1")

    @property
    def status(self) -> int:
        """Of a response."""
        return int(self.line.split()[1])


class Stream:
    """A socket with what was received too early."""

    def __init__(self, sock: socket.socket):
        self.socket = sock
        self._early = b""
        self._buffer = memoryview(bytearray(PIECE))

    def head(self) -> Head | None:
        """The next message's head; None if the other side closed the connection before it."""
        while (end := self._early.find(b"\r\n\r\n")) < 0:
            piece = self.socket.recv(65536)
            if not piece and not self._early:
                return None
            self._early += piece
            if not piece or len(self._early) > _HEAD_LIMIT:
                raise Gone
        text, self._early = self._early[:end].decode("latin-1"), self._early[end + 4 :]
        line, *fields = text.split("\r\n")
        pairs = (field.partition(":") for field in fields)
        return Head(line, [(name, value.strip()) for name, _, value in pairs])

    def body(self, head: Head, *, bodiless: bool = False) -> Iterator[bytes | memoryview]:
        """The message's body in pieces, each valid until the next; a chunked one with its framing."""
        if bodiless:
            return iter(())
        if "chunked" in head.get("Transfer-Encoding").lower():
            return self._chunks()
        if length := head.get("Content-Length"):
            return self._bytes(int(length))
        return self._until_close() if head.line.startswith("HTTP/") else iter(())

    def _some(self, limit: int) -> bytes | memoryview:
        if self._early:
            piece, self._early = self._early[:limit], self._early[limit:]
            return piece
        return self._buffer[: self.socket.recv_into(self._buffer[:limit])]

    def _bytes(self, left: int) -> Iterator[bytes | memoryview]:
        while left:
            piece = self._some(min(left, PIECE))
            if not piece:
                raise Gone
            left -= len(piece)
            yield piece

    def _until_close(self) -> Iterator[bytes | memoryview]:
        while piece := self._some(PIECE):
            yield piece

    def _line(self) -> bytes:
        while (end := self._early.find(b"\n") + 1) == 0:
            piece = self.socket.recv(65536)
            if not piece or len(self._early) > _HEAD_LIMIT:
                raise Gone
            self._early += piece
        line, self._early = self._early[:end], self._early[end:]
        return line

    def _chunks(self) -> Iterator[bytes | memoryview]:
        while True:
            line = self._line()
            yield line
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            yield from self._bytes(size + 2)
        while True:  # the trailers and the empty line
            line = self._line()
            yield line
            if not line.strip():
                return
