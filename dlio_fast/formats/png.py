"""PNG (ISO/IEC 15948), its checksums verified here, its pixels decoded by Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._typing import Array
from ..errors import ChecksumError, FormatError, TruncatedError, UnsupportedError
from .base import FieldSpec
from .generating import PIECE
from .images import Header, ImageFormat, ImageGenerator, ImagePacker, Span
from .packing import Packer, Packing

if TYPE_CHECKING:
    from ..config.data import DatasetSection
    from .generating import Generator

SIGNATURE = b"\x89PNG\r\n\x1a\n"

CHUNKS_MAX = 100_000
"""Chunks of a file; encoders make one of every 8 KiB or more."""

_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by colour type
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PALETTE = 3
_DECODED = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
"""What pixels depend on. Pillow is given no other chunks: text, profiles and animations are not wanted."""

_ADAM7 = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
"""Of each pass: its first column, every which one, its first row, every which one."""

_CHUNK = struct.Struct(">I4s")
_IHDR = struct.Struct(">IIBBBBB")


class PngFormat(ImageFormat):
    """One image a file.

    Grayscale is (height, width), uint8, or uint16 where it has 16 bits; 1, 2 and 4 bits are scaled to 0 to
    255. Grayscale with alpha, RGB and RGBA are (height, width, 2, 3 or 4) uint8; with 16 bits they are
    refused: Pillow would drop half of them. A palette becomes RGB, with transparent entries RGBA. A
    transparent colour (tRNS) of other images changes nothing. Of an animation it is the default image.
    """

    name = "png"
    suffixes = (".png",)
    plugin = "PngImagePlugin"
    largest_ratio = 1032  # bytes: deflate has 258 of 2 bits

    def header(self, span: Span) -> Header:
        if bytes(span.at(0, 8, "the signature")) != SIGNATURE:
            raise FormatError(f"{span.path}: not a PNG file: it does not begin with its signature", span.path)
        length, kind = _CHUNK.unpack(span.at(8, 8, "the header"))
        if kind != b"IHDR" or length != _IHDR.size:
            raise FormatError(f"{span.path}: the first chunk is no IHDR of 13 bytes", span.path, None, 8)
        fields = span.at(16, _IHDR.size, "the header")
        width, height, bits, colour, compression, filtering, interlace = _IHDR.unpack(fields)
        if bits not in _BITS.get(colour, ()) or compression or filtering or interlace > 1:
            raise FormatError(
                f"{span.path}: no PNG has the header {bytes(fields).hex()}", span.path, None, 16
            )
        if bits == 16 and colour:
            raise UnsupportedError(
                f"{span.path}: 16 bits a sample are supported in grayscale only, without alpha", span.path
            )
        packed = _lines_size(width, height, bits * _CHANNELS[colour], interlace)
        if colour == _PALETTE:
            mode = _palette_mode(span)
            return Header(height, width, len(mode), np.dtype(np.uint8), packed, mode)
        dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
        return Header(height, width, _CHANNELS[colour], dtype, packed, "L" if bits < 8 else "")

    def pixels(self, path: str, data: memoryview, header: Header) -> Array:
        chunks: dict[bytes, list[memoryview]] = {kind: [] for kind in _DECODED}
        for kind, start, stop in _chunks(path, data):
            if kind in chunks:
                chunks[kind].append(data[start:stop])
        lines = _inflated(path, b"".join(chunk[8:-4] for chunk in chunks[b"IDAT"]), header.packed)
        # Stored, not deflated, and whole: where lines are missing Pillow would leave them black.
        stored = _chunk(b"IDAT", zlib.compress(lines, 0))
        before = b"".join(chunk for kind in _DECODED[:3] for chunk in chunks[kind])
        return self.by_pillow(path, io.BytesIO(SIGNATURE + before + stored + _chunk(b"IEND", b"")), header)

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return PngGenerator(dataset, where)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return PngPacker(fields, packing, self.name)


class PngGenerator(ImageGenerator):
    """DLIO's PNG files.

    The pixels are stored: random bytes do not deflate, so that is what Pillow's files come to as well, in
    a hundred times the time.
    """

    largest_side = 2**31 - 1

    def nbytes(self) -> npt.NDArray[np.float64]:
        lines: npt.NDArray[np.float64] = self.dims.astype(np.float64) @ [1, 0] * (self.dims[:, 1] + 1)
        return lines * 1.001 + 100

    def encode(self, index: int, file: IO[bytes]) -> None:
        height, width = self.file_dims(index)
        file.write(SIGNATURE + _chunk(b"IHDR", _IHDR.pack(width, height, 8, 0, 0, 0, 0)))
        stream = zlib.compressobj(0)
        step = max(1, PIECE // (width + 1))
        for first in range(0, height, step):
            count = min(step, height - first)
            lines = np.zeros((count, width + 1), np.uint8)  # 0: no filter
            lines[:, 1:] = self.lines(index, first, count)
            stored = stream.compress(lines.data)
            if stored:
                file.write(_chunk(b"IDAT", stored))
        file.write(_chunk(b"IDAT", stream.flush()) + _chunk(b"IEND", b""))


class PngPacker(ImagePacker):
    """Writes PNG; the level is zlib's, 0 to 9."""

    channels = (1, 2, 3, 4)
    deep = True

    def options(self) -> dict[str, Any]:
        return {} if self.packing.level is None else {"compress_level": self.packing.level}


def _inflated(path: str, deflated: bytes, size: int) -> bytes:
    """Return the lines of the image. Bytes behind them are passed over, as libpng does."""
    stream = zlib.decompressobj()
    try:
        lines = stream.decompress(deflated, size)
        if not stream.eof:
            stream.decompress(stream.unconsumed_tail, 1)  # the checksum
    except zlib.error as error:
        raise FormatError(f"{path}: the pixels cannot be inflated: {error}", path) from error
    if len(lines) < size:
        raise TruncatedError(f"{path}: {len(lines)} bytes of pixels where there should be {size}", path)
    return lines


def _lines_size(width: int, height: int, bits: int, interlace: int) -> int:
    """Bytes of the lines that are deflated, with a filter byte each; `bits` is of a pixel."""
    passes = _ADAM7 if interlace else ((0, 1, 0, 1),)
    sizes = ((-(-(width - x) // dx), -(-(height - y) // dy)) for x, dx, y, dy in passes)
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes if columns > 0 and rows > 0)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return _CHUNK.pack(len(data), kind) + data + _core.crc32(data, _core.crc32(kind)).to_bytes(4, "big")


def _palette_mode(span: Span) -> str:
    """Return what a palette becomes: RGBA where entries of it are transparent."""
    offset, kinds = 8, set()
    for _ in range(CHUNKS_MAX):
        length, kind = _CHUNK.unpack(span.at(offset, 8, "its chunks"))
        if kind in (b"IDAT", b"IEND"):
            if b"PLTE" not in kinds:
                raise FormatError(f"{span.path}: the palette is missing", span.path, None, offset)
            return "RGBA" if b"tRNS" in kinds else "RGB"
        kinds.add(kind)
        offset += length + 12
    raise UnsupportedError(f"{span.path}: more than {CHUNKS_MAX} chunks before the pixels", span.path)


def _chunks(path: str, data: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks up to IEND: kind, begin and end in the file. Their checksums have been verified."""
    offset = 8
    for _ in range(CHUNKS_MAX):
        length, kind = _CHUNK.unpack(bytes(data[offset : offset + 8]).ljust(8, b"\0"))
        stop = offset + 12 + length
        if stop > len(data):
            raise TruncatedError(f"{path}: the file ends inside a chunk, or before IEND", path, None, offset)
        crc = int.from_bytes(data[stop - 4 : stop], "big")
        if crc != _core.crc32(data[offset + 4 : stop - 4]):
            raise ChecksumError(f"{path}: the checksum of chunk {kind!r} does not fit it", path, None, offset)
        yield kind, offset, stop
        if kind == b"IEND":
            return
        offset = stop
    raise UnsupportedError(f"{path}: more than {CHUNKS_MAX} chunks", path)


FORMAT = PngFormat()
