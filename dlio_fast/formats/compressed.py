"""Files that are compressed whole, whatever their names say: gzip, bzip2, xz and ZIP, told by their magic."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from ..errors import ChecksumError, FormatError, TruncatedError, UnsupportedError

FREE = 32 << 20
RATIO = 100
"""A file may unpack to RATIO times its size, or to FREE bytes where that is more."""

STEP, FEED = 4 << 20, 64 << 10
"""Bytes that are unpacked at once, and bytes that are given to the decoder at once."""

STREAMS_MAX = 65536
"""Streams in a file; blocked gzip makes one of every 64 KiB."""

XZ_MEMORY = 256 << 20
"""What a decoder of xz may take; the highest preset needs 65 MiB."""

_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 1

_STREAMS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: _Gzip(),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, XZ_MEMORY),
}
_ZIP = b"PK"


def unpacked(path: str, data: memoryview) -> bytes:
    """Return a file's contents, unpacked where its first bytes are those of a compressed file.

    Raises
    ------
    UnsupportedError
        It unpacks to more than is allowed, see `RATIO`; or a ZIP archive's method, or encryption.
    TruncatedError, ChecksumError, FormatError
        The compressed data end early, are damaged, or a ZIP archive holds more or less than one file.
    """
    for magic, decoder in _STREAMS.items():
        if data[: len(magic)] == magic:
            return _unpack(path, data, decoder)
    return _unzip(path, data) if data[:2] == _ZIP else bytes(data)


PACKERS: dict[str, Callable[[IO[bytes], int], IO[bytes]]] = {
    "gzip": lambda file, level: cast(IO[bytes], gzip.GzipFile("", "wb", level, file, mtime=0)),
    "bz2": lambda file, level: cast(IO[bytes], bz2.BZ2File(file, "wb", compresslevel=max(1, level))),
    "xz": lambda file, level: cast(IO[bytes], lzma.LZMAFile(file, "wb", preset=level)),
}
"""What writes a stream to a file object; the same bytes at any time of day."""


@contextmanager
def packing(file: IO[bytes], compression: str, level: int, name: str) -> Iterator[IO[bytes]]:
    """Give a file object; what is written to it comes compressed into `file`, which stays open.

    Parameters
    ----------
    file : file object
    compression : str
        "none", "zip", or one of `PACKERS`.
    level : int
        0 to 9.
    name : str
        Of the file in a ZIP archive.
    """
    if compression == "none":
        yield file
    elif compression == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            member = zipfile.ZipInfo(name)
            member.compress_type, member._compresslevel = zipfile.ZIP_DEFLATED, level  # type: ignore[attr-defined]
            with archive.open(member, "w", force_zip64=True) as out:
                yield out
    else:
        with PACKERS[compression](file, level) as out:
            yield out


class _Gzip:
    """zlib's decoder of gzip members, with the methods of those of bz2 and lzma."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def decompress(self, data: Any, max_length: int) -> bytes:
        return self._stream.decompress(self._stream.unconsumed_tail or data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._stream.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data


def _unpack(path: str, data: memoryview, decoder: Callable[[], Any]) -> bytes:
    """Unpack streams that follow one another."""
    pieces: list[bytes] = []
    room = _Room(path, len(data))
    at = 0
    try:
        for _ in range(STREAMS_MAX):
            stream = decoder()
            while not stream.eof:
                fed: Any = data[at : at + FEED] if stream.needs_input else b""
                if stream.needs_input and not len(fed):
                    raise TruncatedError(f"{path}: the compressed data end early", path)
                at += len(fed)
                pieces.append(stream.decompress(fed, STEP))
                room.take(len(pieces[-1]))
            at -= len(stream.unused_data)
            if at == len(data) or (data[at] == 0 and not bytes(data[at:]).strip(b"\0")):  # padding
                return b"".join(pieces)
    except (zlib.error, OSError, EOFError, lzma.LZMAError) as error:
        raise FormatError(f"{path}: the compressed data are damaged: {error}", path) from error
    raise UnsupportedError(f"{path}: more than {STREAMS_MAX} compressed streams in one file", path)


def _unzip(path: str, data: memoryview) -> bytes:
    room = _Room(path, len(data))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) != 1:
                raise FormatError(f"{path}: a ZIP archive of {len(members)} files where one is wanted", path)
            (member,) = members
            if member.flag_bits & _ENCRYPTED or member.compress_type not in _ZIP_METHODS:
                raise UnsupportedError(
                    f"{path}: only stored and deflated ZIP members are supported, not encrypted ones", path
                )
            pieces: list[bytes] = []
            with archive.open(member) as file:
                while piece := file.read(STEP):
                    room.take(len(piece))
                    pieces.append(piece)
            return b"".join(pieces)
    except EOFError as error:
        raise TruncatedError(f"{path}: the compressed data end early", path) from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, ValueError) as error:
        if isinstance(error, FormatError | UnsupportedError):
            raise
        kind = ChecksumError if "CRC" in str(error) else FormatError
        raise kind(f"{path}: the ZIP archive is damaged: {error}", path) from error


class _Room:
    """How much may still be unpacked."""

    def __init__(self, path: str, packed: int):
        self._path, self._allowed, self._left = path, max(FREE, RATIO * packed), 0
        self._left = self._allowed

    def take(self, nbytes: int) -> None:
        self._left -= nbytes
        if self._left < 0:
            raise UnsupportedError(
                f"{self._path}: the file unpacks to more than the {self._allowed} bytes that are allowed "
                f"({RATIO} times its size), which looks like a decompression bomb",
                self._path,
            )
