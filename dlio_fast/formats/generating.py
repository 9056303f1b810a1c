"""The interface of what makes the files of a data set.

A :class:`Generator` belongs to one format and one ``dataset`` section; :meth:`Format.generator` gives it. A
format derives it from one of two classes:

- :class:`LaidOutGenerator` where all of a file but its random contents is known beforehand: the core writes
  head, payload and tail, as fast as the storage takes them;
- :class:`EncodedGenerator` where a file is encoded (compressed, framed, checksummed record by record): it
  writes to a file object, which takes the bytes past the page cache where that is asked for.

Files are numbered over both splits, training files first. What is in file `index` is a pure function of the
section and `index`: the same bytes for every number of threads and processes. Generators are used by several
threads at once and keep nothing that a file leaves behind.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from .. import _core
from ..errors import ConfigError
from .base import Format, format_named, format_names, known_formats
from .layout import FileLayout

if TYPE_CHECKING:
    from ..config.data import DatasetSection
    from .object_writing import ObjectWriter
    from .writing import Writer

PIECE = 1 << 20
_SPOT = 4096  # bytes of an existing payload's ends that are compared
_LARGEST_ELEMENT = 16
_PART_SHIFT = 40  # of fill()'s `part`, above every file's number


class Generator(ABC):
    """Makes the files of one data set.

    Parameters
    ----------
    dataset : DatasetSection
    where : str
        What messages call that section.

    Attributes
    ----------
    compressions : tuple of str
        What of ``dataset.compression`` it can write.
    dtype : numpy.dtype
        Of a record's elements.
    kind : int
        What :func:`_core.fill` calls their random contents.
    samples : int
        Samples of each file.
    dims : numpy.ndarray
        Shape of the samples of each file, by DLIO's rules; int64, shape (number of files, ndim).

    Raises
    ------
    ConfigError
        For a compression or element type that cannot be generated.
    """

    compressions: ClassVar[tuple[str, ...]] = ("none",)

    def __init__(self, dataset: DatasetSection, where: str = "dataset"):
        check_choice(f"{where}.compression", dataset.compression, self.compressions)
        self.dataset = dataset
        self.dtype = dataset.dtype
        self.kind = fill_kind(self.dtype, f"{where}.record_element_type")
        self.seed = dataset.seed
        self.samples = dataset.num_samples_per_file
        self.dims = dataset.dims_table()

    def __len__(self) -> int:
        return len(self.dims)

    def file_dims(self, index: int) -> tuple[int, ...]:
        """Return the shape of one sample of file `index`."""
        return tuple(self.dims[index].tolist())

    @abstractmethod
    def nbytes(self) -> npt.NDArray[np.float64]:
        """Return the bytes of each file, at most a few too many; float64, shape (number of files,).

        It is what a disk's room is compared with and what a progress bar counts. Companions may be left out.
        """

    @abstractmethod
    def write(self, index: int, path: str, writer: Writer | ObjectWriter) -> tuple[int, str | None]:
        """Write file `index`, whole or not at all.

        Returns
        -------
        (int, str or None)
            Its bytes, and why O_DIRECT was not used although it was asked for.
        """

    @abstractmethod
    def matches(self, index: int, file: IO[bytes]) -> bool:
        """Tell whether an open file is complete and of this data set; False where it is damaged.

        `file` can be sought in; of an object, each 256 KiB that are read are a request.
        """

    def companion_names(self, name: str) -> tuple[str, ...]:
        """Return the names of the index files that belong to a file.

        `name` and they are relative to the data set's folder: ``train/img_0_of_8.tfrecord`` has
        ``index/train/img_0_of_8.tfrecord.idx``. No reader may take them for data.
        """
        return ()

    def companions(self, index: int) -> tuple[bytes, ...]:
        """Return the contents of the index files of file `index`. They are in place before the file is."""
        return ()

    def payload_nbytes(self) -> npt.NDArray[np.float64]:
        """Return the bytes of the samples of each file, bare; float64, shape (number of files,)."""
        payloads: npt.NDArray[np.float64] = self.dims.prod(axis=1, dtype=np.float64)
        return payloads * (self.samples * self.dtype.itemsize)

    def fill(
        self, out: Any, index: int, offset: int = 0, *, dtype: np.dtype[Any] | None = None, part: int = 0
    ) -> None:
        """Fill a buffer with bytes [offset, offset + its length) of the random contents of file `index`.

        Parameters
        ----------
        out : writable buffer
            Of bytes, or a contiguous array.
        index : int
        offset : int
            A multiple of the element size.
        dtype : numpy.dtype, optional
            Of other elements than the data set's; integers get their full range, floats [0, 1).
        part : int
            Which of several independent streams of the file, for formats of several columns: below 2**24.
        """
        kind = self.kind if dtype is None else fill_kind(dtype, f"the dtype {dtype.str!r}")
        if isinstance(out, np.ndarray):
            out = out.reshape(-1, copy=False).view(np.uint8)
        _core.fill(out, self.seed, part << _PART_SHIFT | index, offset, kind)

    def payload(self, index: int, start: int = 0, stop: int | None = None) -> Iterator[memoryview]:
        """Yield bytes [start, stop) of the random contents of file `index` in pieces that share one buffer.

        `start` is a multiple of the element size. Default for `stop`: where the file's samples end.
        """
        if stop is None:
            stop = int(self.dims[index].prod()) * self.samples * self.dtype.itemsize
        buffer = bytearray(max(0, min(PIECE, stop - start)))
        for offset in range(start, stop, PIECE):
            piece = memoryview(buffer)[: min(PIECE, stop - offset)]
            self.fill(piece, index, offset)
            yield piece


class LaidOutGenerator(Generator):
    """Makes files that are a head, a random payload and a tail."""

    @abstractmethod
    def layout(self, index: int) -> FileLayout:
        """Return the layout of file `index`; its payload is that of :meth:`payload`."""

    def nbytes(self) -> npt.NDArray[np.float64]:
        payloads = self.payload_nbytes()
        if len(payloads):
            largest = self.layout(int(payloads.argmax()))
            payloads += largest.nbytes - largest.payload_nbytes
        return payloads

    def write(self, index: int, path: str, writer: Writer | ObjectWriter) -> tuple[int, str | None]:
        return writer.write_layout(path, self.layout(index), seed=self.seed, stream=index, kind=self.kind)

    def matches(self, index: int, file: IO[bytes]) -> bool:
        """Compare size, head and tail byte by byte, and the payload's first and last 4 KiB."""
        layout = self.layout(index)
        if size_of(file) != layout.nbytes:
            return False
        begin, end = len(layout.head), len(layout.head) + layout.payload_nbytes
        head = read_at(file, begin, 0)
        crc = None if layout.crc_in_head is None else head[layout.crc_in_head : layout.crc_in_head + 4]
        last = max(0, layout.payload_nbytes - _SPOT) // _LARGEST_ELEMENT * _LARGEST_ELEMENT
        spots = ((0, min(_SPOT, layout.payload_nbytes)), (last, layout.payload_nbytes))
        ends = (read_at(file, stop - start, begin + start) for start, stop in spots)
        planned = (b"".join(map(bytes, self.payload(index, start, stop))) for start, stop in spots)
        return (
            head == _with_crc(layout.head, layout.crc_in_head, crc)
            and read_at(file, len(layout.tail), end) == _with_crc(layout.tail, layout.crc_in_tail, crc)
            and all(map(bytes.__eq__, ends, planned))
        )


class EncodedGenerator(Generator):
    """Makes files by writing to a file object."""

    @abstractmethod
    def encode(self, index: int, file: IO[bytes]) -> None:
        """Write file `index` to a file object that is empty, and can be read and sought in too.

        Large pieces are written fastest. What `file` raises is let through; it raises ClosedError where the
        run is being stopped.
        """

    def write(self, index: int, path: str, writer: Writer | ObjectWriter) -> tuple[int, str | None]:
        return writer.write_encoded(path, lambda file: self.encode(index, file))

    def matches(self, index: int, file: IO[bytes]) -> bool:
        """Compare with what would be written, byte by byte, in memory; formats that know better do better."""
        planned = io.BytesIO()
        self.encode(index, planned)
        with planned.getbuffer() as image:
            if size_of(file) != len(image):
                return False
            file.seek(0)
            return all(
                file.read(PIECE) == bytes(image[start : start + PIECE])
                for start in range(0, len(image), PIECE)
            )


def size_of(file: IO[bytes]) -> int:
    """The bytes of an open file."""
    return file.seek(0, io.SEEK_END)


def read_at(file: IO[bytes], nbytes: int, offset: int) -> bytes:
    """Bytes of an open file, fewer where it ends before."""
    file.seek(offset)
    return file.read(nbytes)


def generated_formats() -> tuple[str, ...]:
    """The formats that can be generated."""
    formats = known_formats().items()
    return tuple(name for name, format in formats if type(format).generator is not Format.generator)


def generator_for(dataset: DatasetSection, where: str = "dataset") -> Generator:
    """Return what makes the files of a ``dataset`` section.

    Raises
    ------
    ConfigError
        Nothing can.
    MissingDependencyError
        The format needs a library that is not installed.
    """
    if dataset.format in format_names():
        format = format_named(dataset.format)
        if type(format).generator is not Format.generator:
            return format.generator(dataset, where)
    choices = ", ".join(generated_formats())
    raise ConfigError(f"{where}.format: {dataset.format!r} cannot be generated; what can: {choices}")


def check_choice(key: str, value: str, choices: Iterable[str]) -> None:
    """Raise ConfigError unless a key of the configuration has one of the values that can be generated."""
    if value not in choices:
        raise ConfigError(f"{key}: {value!r} cannot be generated; what can: {', '.join(choices)}")


def fill_kind(dtype: np.dtype[Any], where: str) -> int:
    """Return which random contents an element type gets: integers their full range, floats [0, 1)."""
    if dtype.kind in "iu":
        return _core.FILL_KINDS["bytes"]
    if dtype.kind == "b":
        return _core.FILL_KINDS["bool"]
    real = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
    if dtype.kind in "fc" and dtype.newbyteorder("<") == dtype and real in (2, 4, 8):
        return _core.FILL_KINDS[f"float{8 * real}"]
    raise ConfigError(
        f"{where}: {dtype.str!r} cannot be generated; what can: bool, integers, and "
        "float16, float32, float64, complex64, complex128 in little-endian order"
    )


def _with_crc(part: bytes, at: int | None, crc: bytes | None) -> bytes:
    """Return head or tail of a layout with the checksum put in."""
    return part if at is None or crc is None else part[:at] + crc + part[at + 4 :]
