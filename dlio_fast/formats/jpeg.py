"""JPEG (ITU-T T.81), decoded by Pillow, or by simplejpeg where that is installed and can."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .._typing import Array
from ..errors import FormatError, TruncatedError, UnsupportedError
from .base import FieldSpec
from .images import Header, ImageFormat, ImageGenerator, ImagePacker, Span, pillow
from .packing import Packer, Packing

if TYPE_CHECKING:
    from ..config.data import DatasetSection
    from .generating import Generator

SEGMENTS_MAX = 2048
"""Segments before the frame header; an ICC profile of the largest size takes 255."""

SCANS_MAX = 128
"""Scans, of which each goes over the whole image; encoders make about 10."""

_SOI, _SOS, _EOI = 0xD8, 0xDA, 0xD9
_ALONE = {0x01, *range(0xD0, 0xD8)}  # TEM and RSTn have no length
_FRAMES = {0xC0: "", 0xC1: "", 0xC2: ""} | dict.fromkeys(
    (0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "lossless, hierarchical or arithmetic"
)
_MODES = {1: (1, ""), 3: (3, ""), 4: (3, "RGB")}  # components -> channels of the array, conversion


class JpegFormat(ImageFormat):
    """One image a file, 8 bits a sample, baseline or progressive.

    Grayscale is (height, width) uint8, YCbCr and RGB are (height, width, 3) uint8; CMYK and YCCK become RGB
    by Pillow's plain rule, without a colour profile. Pixels are those that Pillow delivers. simplejpeg
    (libjpeg-turbo as well) delivers the same ones faster, since it needs no copy; what it does not like is
    Pillow's to judge, but for images of which a part is missing.
    """

    name = "jpeg"
    suffixes = (".jpeg", ".jpg")
    plugin = "JpegImagePlugin"
    largest_ratio = 1024  # pixels: a block of 64 takes a bit or more, two components' sampling can halve that

    def header(self, span: Span) -> Header:
        if bytes(span.at(0, 2, "its first marker")) != b"\xff\xd8":
            raise FormatError(f"{span.path}: not a JPEG file: it does not begin with FF D8", span.path)
        offset = 2
        for _ in range(SEGMENTS_MAX):
            lead, marker = span.at(offset, 2, "a marker")
            if lead != 0xFF:
                raise FormatError(f"{span.path}: no marker where one has to be", span.path, None, offset)
            if marker == 0xFF:  # fill bytes may precede a marker
                offset += 1
                continue
            if marker in _ALONE:
                offset += 2
                continue
            if marker in (_SOI, _SOS, _EOI, 0x00):
                break
            length = int.from_bytes(span.at(offset + 2, 2, "a segment"), "big")
            if marker in _FRAMES:
                return _frame(span, offset, marker, length)
            if length < 2:
                raise FormatError(f"{span.path}: a segment of {length} bytes", span.path, None, offset)
            offset += 2 + length
        raise FormatError(f"{span.path}: no frame header where one has to be", span.path, None, offset)

    def pixels(self, path: str, data: memoryview, header: Header) -> Array:
        raw = bytes(data)
        scans = raw.count(b"\xff\xda")
        if scans > SCANS_MAX:
            raise UnsupportedError(
                f"{path}: {scans} scans are more than the {SCANS_MAX} that are allowed, which looks like a "
                "decompression bomb",
                path,
            )
        fast = _simplejpeg()
        if fast is not None and not header.mode:
            try:
                array: Array = fast.decode_jpeg(raw, "GRAY" if header.channels == 1 else "RGB", strict=True)
                return array.reshape(header.shape)
            except ValueError as error:
                if "premature end" in str(error).lower():
                    raise TruncatedError(f"{path}: {error}", path) from error
        return self.by_pillow(path, io.BytesIO(raw), header)

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return JpegGenerator(dataset, where)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return JpegPacker(fields, packing, self.name)


class JpegGenerator(ImageGenerator):
    """DLIO's JPEG files, of Pillow's default quality 75."""

    largest_side = 65500  # libjpeg's

    def nbytes(self) -> npt.NDArray[np.float64]:
        # Blocks of noise take 36 bytes each at that quality.
        blocks: npt.NDArray[np.float64] = np.ceil(self.dims / 8).prod(axis=1)
        return blocks * 36 + 1000

    def encode(self, index: int, file: IO[bytes]) -> None:
        image = pillow("Image").fromarray(self.lines(index, 0, self.file_dims(index)[0]))
        # Pillow lets other threads run only while it encodes to a descriptor; that of `file` is not for it.
        with open(os.memfd_create("jpeg"), "w+b", buffering=0) as out:
            image.save(out, "JPEG")
            out.seek(0)
            file.write(out.read())


class JpegPacker(ImagePacker):
    """Writes baseline JPEG; the level is Pillow's quality, 0 to 95, by default 75."""

    exact = False
    channels = (1, 3)

    def options(self) -> dict[str, Any]:
        return {} if self.packing.level is None else {"quality": self.packing.level}


def _frame(span: Span, offset: int, marker: int, length: int) -> Header:
    frame = span.at(offset + 4, 6, "the frame header")
    precision, components = frame[0], frame[5]
    height, width = (int.from_bytes(frame[at : at + 2], "big") for at in (1, 3))
    if length != 8 + 3 * components:
        raise FormatError(f"{span.path}: a frame header of {length} bytes", span.path, None, offset)
    refused = _FRAMES[marker]
    if precision != 8:
        refused = f"{precision} bits a sample"
    elif components not in _MODES:
        refused = f"{components} components"
    elif not height:
        refused = "the height comes after the first scan"
    if refused:
        raise UnsupportedError(f"{span.path}: this kind of JPEG is not supported: {refused}", span.path)
    channels, mode = _MODES[components]
    return Header(height, width, channels, np.dtype(np.uint8), height * width, mode)


@cache
def _simplejpeg() -> ModuleType | None:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


FORMAT = JpegFormat()
