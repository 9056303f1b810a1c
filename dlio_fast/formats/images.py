"""What JPEG and PNG have in common: one image a file, its header read here, its pixels decoded by Pillow.

The headers are read by this package and not by Pillow: a size is checked, against the file and against the
cap, before anything is allocated for it, and :meth:`ImageFormat.inspect` reads nothing else.
"""

from __future__ import annotations

import importlib
import io
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np

from .. import _core
from .._typing import Array, Values
from ..errors import (
    ConfigError,
    DataError,
    FormatError,
    MemberError,
    MissingDependencyError,
    TruncatedError,
    UnsupportedError,
)
from ..storage.memory import shared_pool
from .base import FieldSpec, FileSpec
from .decoding import Block, DecodedFormat
from .generating import EncodedGenerator
from .packing import Packer, Packing

if TYPE_CHECKING:
    from ..config.data import DatasetSection

FIELD = "x"
"""What the image of a file is called."""

WINDOW = 16 << 10
"""Bytes that are read at once where headers are looked for."""


@dataclass(frozen=True)
class Header:
    """What an image's headers say of its pixels.

    Attributes
    ----------
    height, width : int
    channels : int
        1: the array has no axis for them.
    dtype : numpy.dtype
    packed : int
        How much has to be packed in the file, in the unit of the format's `largest_ratio`.
    mode : str
        How Pillow has to deliver the pixels, as its ``Image.convert`` calls it; "": as they are.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    packed: int
    mode: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return (self.height, self.width) + ((self.channels,) if self.channels > 1 else ())


class Span:
    """The bytes of a file at offsets; those near each other are read at once.

    Parameters
    ----------
    path : str
    size : int
    read : callable
        ``read(offset, length)`` gives bytes that lie inside the file.
    """

    def __init__(self, path: str, size: int, read: Callable[[int, int], Any]):
        self.path, self.size, self._read = path, size, read
        self._start, self._window = 0, memoryview(b"")

    def at(self, offset: int, length: int, what: str) -> memoryview:
        """Return bytes; TruncatedError, naming what they are, where the file ends before them."""
        if offset + length > self.size:
            raise TruncatedError(
                f"{self.path}: the file ends inside {what}, after {self.size} bytes", self.path, None, offset
            )
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._window):
            wanted = min(max(length, WINDOW), self.size - offset)
            self._start, self._window, begin = offset, memoryview(self._read(offset, wanted)), 0
        return self._window[begin : begin + length]


def pillow(plugin: str) -> ModuleType:
    """Return one of Pillow's modules; MissingDependencyError where it is not installed."""
    try:
        return importlib.import_module(f"PIL.{plugin}")
    except ImportError as error:
        raise MissingDependencyError("images need Pillow: pip install dlio-fast[image]") from error


class ImageFormat(DecodedFormat):
    """Files that are one image each.

    The one field is `x`, of shape (height, width), or (height, width, channels) where there are several;
    which there are is said where :meth:`header` is implemented. Files whose images differ are no fault: their
    batches are lists. Nothing that a file may say of orientation, gamma or colour profile is applied.
    """

    plugin: str
    """The module of Pillow's that decodes it."""

    largest_ratio: int
    """How much no byte of a file can stand for more than: of what `Header.packed` counts."""

    @abstractmethod
    def header(self, span: Span) -> Header:
        """Read the headers. FormatError for what is no such image, UnsupportedError for what is refused."""

    @abstractmethod
    def pixels(self, path: str, data: memoryview, header: Header) -> Array:
        """Decode a whole file: an array of the header's shape and dtype."""

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        if fields is not None and list(fields) != [FIELD]:
            raise MemberError(f"{path}: an image has the one field {FIELD!r}, not {list(fields)}", path)
        with _core.File(path, shared_pool(), direct=direct) as file:
            header = self._checked(Span(file.path, file.size, file.read))
            field = FieldSpec(FIELD, header.dtype, header.shape, b"", header.dtype.str.encode())
            # Pillow keeps a pixel of several channels in 4 bytes.
            return FileSpec((field,), 1, file.size + field.nbytes + 4 * header.height * header.width)

    def decode(self, path: str, block: Block, data: Sequence[memoryview], spec: FileSpec) -> Sequence[Values]:
        whole = data[0]
        header = self._checked(Span(path, len(whole), lambda offset, length: whole[offset : offset + length]))
        array = self.pixels(path, whole, header)
        if array.shape != header.shape or array.dtype != header.dtype:
            raise FormatError(
                f"{path}: the decoded image is {array.dtype} {array.shape}, its header says "
                f"{header.dtype} {header.shape}",
                path,
            )
        return [array[np.newaxis]]

    def _checked(self, span: Span) -> Header:
        header = self.header(span)
        size = f"{header.width} × {header.height} pixels"
        if not header.width or not header.height:
            raise FormatError(f"{span.path}: an image of {size}", span.path)
        cap = pillow("Image").MAX_IMAGE_PIXELS
        if cap is not None and header.width * header.height > cap:
            raise UnsupportedError(
                f"{span.path}: {size} are more than the {cap} that are allowed, which looks like a "
                "decompression bomb; PIL.Image.MAX_IMAGE_PIXELS sets the limit",
                span.path,
            )
        if header.packed > self.largest_ratio * span.size:
            raise TruncatedError(
                f"{span.path}: the header says {size}, which cannot be packed in {span.size} bytes", span.path
            )
        return header

    def by_pillow(self, path: str, source: Any, header: Header) -> Array:
        """Decode with Pillow from a file-like object; it releases the GIL while it does."""
        opened = getattr(pillow(self.plugin), self.plugin.replace("Plugin", "File"))
        try:
            with opened(source) as image:
                array = np.asarray(image.convert(header.mode) if header.mode else image)
        except (DataError, MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:  # what it raises for bad bytes is of no particular kind
            kind = TruncatedError if "truncated" in str(error).lower() else FormatError
            raise kind(f"{path}: Pillow cannot decode the image: {error}", path) from error
        return array.astype(header.dtype, copy=False)


class ImageGenerator(EncodedGenerator):
    """DLIO's images: one of (dims[0], dims[1]) gray bytes a file, however many samples a file shall have."""

    largest_side: ClassVar[int]

    def __init__(self, dataset: DatasetSection, where: str = "dataset"):
        super().__init__(dataset, where)
        self.samples = 1
        if self.dims.shape[1] != 2:
            raise ConfigError(f"{where}.record_dims: an image has 2 dimensions, not {self.dims.shape[1]}")
        if self.dims.size and self.dims.max() > self.largest_side:
            raise ConfigError(
                f"{where}: an image of {self.dims.max()} lines or columns cannot be generated as "
                f"{dataset.format}, which has {self.largest_side} at most"
            )

    def lines(self, index: int, first: int, count: int) -> Array:
        """Return lines [first, first + count) of file `index`, uint8 of shape (count, width)."""
        lines = np.empty((count, self.file_dims(index)[1]), np.uint8)
        self.fill(lines.reshape(-1), index, first * lines.shape[1])
        return lines


class ImagePacker(Packer):
    """Writes an image a file, by Pillow.

    Attributes
    ----------
    channels : tuple of int
        As many of 8 bits as an image may have; 1 is an array without an axis for them.
    deep : bool
        One channel may have 16 bits.
    """

    one_field = True
    one_sample = True
    channels: ClassVar[tuple[int, ...]]
    deep: ClassVar[bool] = False

    def __init__(self, fields: Sequence[FieldSpec], packing: Packing, name: str):
        super().__init__(fields, packing, name)
        field = self.fields[0]
        self.check(field.dtype, field.shape)

    def check(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        """Raise ConfigError unless an array is an image of the format."""
        channels = shape[2] if len(shape) == 3 else 1
        good = len(shape) == 2 or (len(shape) == 3 and channels > 1)
        bits = {"|u1": 8, np.dtype(np.uint16).str: 16}.get(dtype.str, 0)
        good = good and min(shape) > 0 and (
            (bits == 8 and channels in self.channels) or (bits == 16 and channels == 1 and self.deep)
        )  # fmt: skip
        if not good:
            several = ", ".join(str(count) for count in self.channels if count > 1)
            raise ConfigError(
                f"an array {dtype} {shape} is no image of format {self.name}: that is uint8 (height, width) "
                f"or (height, width, {several}){', or uint16 (height, width)' if self.deep else ''}"
            )

    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        [values] = samples.values()
        array = np.ascontiguousarray(values[0])
        self.check(array.dtype, array.shape)
        out = io.BytesIO()
        try:
            pillow("Image").fromarray(array).save(out, self.name.upper(), **self.options())
        except (OSError, ValueError) as error:  # such as more lines than the format has
            raise ConfigError(f"Pillow cannot make a {self.name} image of {array.shape}: {error}") from error
        file.write(out.getbuffer())

    def options(self) -> dict[str, Any]:
        """Return what Pillow is told of the level."""
        return {}
