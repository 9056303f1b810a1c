"""TFRecord: framed records, each a tf.train.Example; read and written without TensorFlow.

Fields are the features of a file's first good record:

- bytes, one value: an array of the value's bytes, uint8, shape (n,); the record of a DLIO config has that
  config's element type and shape, since DLIO stores no more than its bytes;
- bytes, several values of one length: uint8, shape (count, n);
- int64 and float: int64 and float32, shape (count,); a single number has shape (), as DLIO's own reader
  parses its ``size``.

A record that has something else in a feature than that one is delivered as it is, see csrc/dlf_record_put.h.
"""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import accumulate
from typing import IO, TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from .. import _core
from .._typing import Array, Values
from ..errors import ConfigError, DataError, FormatError, MemberError, UnsupportedError
from ..storage.memory import shared_pool
from .base import FieldSpec, FileSpec, Format
from .generating import EncodedGenerator, Generator, read_at, size_of
from .layout import raw
from .packing import Packer, Packing
from .tfrecord_index import dlio_index_name, index_lines

if TYPE_CHECKING:
    from ..config import Config
    from ..config.data import DatasetSection

FRAME_NBYTES = 16
READ_AT_ONCE = 1 << 20
"""Larger records take memory of their own past the page cache; see csrc/dlf_tfrecord.c."""

RECORDS_TRIED = 100
"""Records of a file looked into for one that says what a sample is."""

_Feature = tuple[bytes, str | None, int, int | None]  # see RecordFile.features
_SPOT = 4096  # bytes of an existing record's ends that are compared
_DTYPES = {"bytes": "|u1", "float": "<f4", "int64": "<i8"}


def mask(crc: int) -> int:
    """Return what TFRecord stores of a CRC-32C."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def record_head(nbytes: int) -> bytes:
    """Return the 12 bytes before a record's data: their length, and its masked CRC-32C."""
    length = struct.pack("<Q", nbytes)
    return length + struct.pack("<I", mask(_core.crc32c(length)))


def _good_features(file: _core.RecordFile) -> list[_Feature]:
    """Return the features of the first record that is not damaged; of damaged ones alone, those of the first.

    A damaged record fails like any other when it is read as a sample.
    """
    damage: DataError | None = None
    for i in range(min(len(file), RECORDS_TRIED)):
        try:
            return file.features(i)
        except DataError as error:
            damage = damage or error
    try:
        return file.features(0, verify=False)
    except DataError:
        assert damage is not None
        raise damage from None


class TfRecordFormat(Format):
    """Has beside what :class:`Format` has the dtype and shape of `payload`, None where they are not known."""

    name = "tfrecord"
    suffixes = (".tfrecord", ".tfrecords")
    container = "tfrecord"
    payload = "image"
    label = "size"

    def __init__(self, dtype: np.dtype | None = None, shape: tuple[int, ...] | None = None):
        self.dtype, self.shape = dtype, shape

    def configured(self, config: Config) -> TfRecordFormat:
        dataset = config.dataset
        return TfRecordFormat(dataset.dtype, None if dataset.sizes_are_ragged else dataset.sample_dims)

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        with closing(_core.RecordFile(path, shared_pool(), direct=direct)) as file:
            if not len(file):
                raise FormatError(f"{path}: the file has no records", path, None, 0)
            found = {feature[0].decode("utf-8", "replace"): feature for feature in _good_features(file)}
            wanted = (
                [name for name in found if found[name][1]] if fields is None else list(dict.fromkeys(fields))
            )
            missing = [name for name in wanted if name not in found or not found[name][1]]
            if missing or not wanted:
                reason = f"no feature {missing[0]!r}" if missing else "no features"
                raise MemberError(
                    f"{path}: the first good record has {reason}; it has {', '.join(found) or 'none'}",
                    path, missing[0] if missing else None,
                )  # fmt: skip
            specs = tuple(self._field(name, found[name], path) for name in wanted)
            scratch = 2 * file.unpacked_bytes  # while it grows
            if direct and file.extent(0)[1] > READ_AT_ONCE:
                scratch += file.extent(0)[1]
            return FileSpec(specs, len(file), scratch)

    def _field(self, name: str, feature: _Feature, path: str) -> FieldSpec:
        raw, kind, count, size = feature
        assert kind is not None
        if size is None:
            raise UnsupportedError(
                f"{path}: the values of feature {name!r} differ in length: name the others with fields=",
                path,
                name,
            )
        dtype = np.dtype(_DTYPES[kind])
        shape: tuple[int, ...] = () if count == 1 else (count,)
        letter = kind[0] if kind != "bytes" or count == 1 else "m"
        if kind == "bytes":
            shape += (size,)
            if name == self.payload and letter == "b" and self.dtype and size % self.dtype.itemsize == 0:
                dtype, shape = self.dtype, (size // self.dtype.itemsize,)
        if name == self.payload and self.shape and math.prod(shape) == math.prod(self.shape):
            shape = self.shape
        return FieldSpec(name, dtype, shape, letter.encode() + raw, dtype.str.encode())

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return TfRecordGenerator(dataset, where)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return TfRecordPacker(fields, packing, self.name)


# -- writing --


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _message(number: int, *parts: bytes, more: int = 0) -> bytes:
    """Return a delimited field of these parts, and of `more` bytes that are still to come."""
    body = b"".join(parts)
    return _varint(number << 3 | 2) + _varint(len(body) + more) + body


def example_ends(nbytes: int) -> tuple[bytes, bytes]:
    """Return what lies before and behind the raw bytes of a record in DLIO's Example.

    It has two features: ``image``, the bytes, and ``size``, how many there are.
    """
    size = _message(2, _message(3, _message(1, _varint(nbytes))))
    tail = _message(1, _message(1, b"size"), size)
    value = _message(1, _message(1, more=nbytes), more=nbytes)
    entry = _message(1, _message(1, b"image"), _message(2, value, more=nbytes), more=nbytes)
    head = _message(1, entry, tail, more=nbytes)[: -len(tail)]
    return head, tail


class TfRecordGenerator(EncodedGenerator):
    """Makes files as DLIO's generator does, with their index; deterministic."""

    def _lengths(self, index: int) -> tuple[int, int]:
        """Bytes of a sample of a file, and of its record with framing."""
        nbytes = math.prod(self.file_dims(index)) * self.dtype.itemsize
        head, tail = example_ends(nbytes)
        return nbytes, FRAME_NBYTES + len(head) + nbytes + len(tail)

    def nbytes(self) -> npt.NDArray[np.float64]:
        payloads = self.payload_nbytes()
        if len(payloads):
            nbytes, length = self._lengths(int(payloads.argmax()))
            payloads += (length - nbytes) * self.samples
        return payloads

    def companion_names(self, name: str) -> tuple[str, ...]:
        found = dlio_index_name(name)
        return (found,) if found else ()

    def companions(self, index: int) -> tuple[bytes, ...]:
        _, length = self._lengths(index)
        return (index_lines([(i * length, length) for i in range(self.samples)]),)

    def encode(self, index: int, file: IO[bytes]) -> None:
        nbytes, length = self._lengths(index)
        head, tail = example_ends(nbytes)
        before = record_head(length - FRAME_NBYTES) + head
        for i in range(self.samples):
            file.write(before)
            crc = _core.crc32c(head)
            for piece in self.payload(index, i * nbytes, (i + 1) * nbytes):
                crc = _core.crc32c(piece, crc)
                file.write(piece)
            file.write(tail + struct.pack("<I", mask(_core.crc32c(tail, crc))))

    def matches(self, index: int, file: IO[bytes]) -> bool:
        """Compare size, the framing of every record, and the first and last 4 KiB of its bytes."""
        nbytes, length = self._lengths(index)
        if size_of(file) != self.samples * length:
            return False
        head, tail = example_ends(nbytes)
        before = record_head(length - FRAME_NBYTES) + head
        return all(
            read_at(file, len(before), i * length) == before
            and read_at(file, len(tail), (i + 1) * length - 4 - len(tail)) == tail
            and all(
                read_at(file, stop - start, i * length + len(before) + start)
                == self._spot(index, i, start, stop)
                for start, stop in _spots(nbytes, self.dtype.itemsize)
            )
            for i in range(self.samples)
        )

    def _spot(self, index: int, i: int, start: int, stop: int) -> bytes:
        nbytes, _ = self._lengths(index)
        return b"".join(map(bytes, self.payload(index, i * nbytes + start, i * nbytes + stop)))


def _spots(nbytes: int, itemsize: int) -> Iterator[tuple[int, int]]:
    yield 0, min(_SPOT, nbytes)
    yield max(0, nbytes - _SPOT) // itemsize * itemsize, nbytes


class TfRecordPacker(Packer):
    """Writes an Example a sample: the record as its bytes, as DLIO does, other fields as what they are.

    Where there is no field that stands for it, ``size`` is added, without which DLIO's reader fails.
    """

    compressions = ("none", "gzip")

    def __init__(self, fields: Sequence[FieldSpec], packing: Packing, name: str):
        super().__init__(fields, packing, name)
        for field in self.fields:
            self._kind(field)

    def _kind(self, field: FieldSpec) -> int:
        """Return the number of a Feature's field that holds it: 1 bytes, 2 float, 3 int64."""
        dtype, ndim = field.dtype.newbyteorder("="), len(field.shape)
        if field.name == FORMAT.payload or (dtype == np.uint8 and 0 < ndim < 3):
            return 1
        if dtype in (np.float32, np.int64) and ndim < 2 and field.dtype.isnative:
            return 2 if dtype == np.float32 else 3
        raise ConfigError(
            f"field {field.name!r}, {field.dtype} {field.shape}, cannot be a feature of a TFRecord: that "
            f"is uint8 of one or two dimensions, float32 or int64 of one at most, or, whatever it is, "
            f"{FORMAT.payload!r}"
        )

    def nbytes(self) -> int:
        return super().nbytes() + self.packing.samples * (FRAME_NBYTES + 32 * (1 + len(self.fields)))

    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        if self.packing.compression == "gzip":
            level = 6 if self.packing.level is None else self.packing.level
            with gzip.GzipFile("", "wb", level, file, mtime=0) as packed:
                self._write(samples, cast(IO[bytes], packed))
        else:
            self._write(samples, file)

    def _write(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        for example in self._examples(samples):
            file.write(record_head(len(example)))
            file.write(example)
            file.write(struct.pack("<I", mask(_core.crc32c(example))))

    def _examples(self, samples: Mapping[str, Values]) -> Iterator[bytes]:
        for i in range(self.packing.samples):
            features = {field.name: self._feature(field, samples[field.name][i]) for field in self.fields}
            if FORMAT.payload in features and FORMAT.label not in features:
                nbytes = samples[FORMAT.payload][i].nbytes
                features[FORMAT.label] = _message(3, _message(1, _varint(nbytes)))
            entries = (
                _message(1, _message(1, name.encode()), _message(2, feature))
                for name, feature in features.items()
            )
            yield _message(1, *entries)

    def _feature(self, field: FieldSpec, value: Array) -> bytes:
        kind = self._kind(field)
        if kind == 1:
            rows = value if field.name != FORMAT.payload and value.ndim == 2 else [value]
            return _message(1, *(_message(1, bytes(raw(np.asarray(row)))) for row in rows))
        if kind == 2:
            return _message(2, _message(1, value.astype("<f4", copy=False).tobytes()))
        numbers = b"".join(_varint(number & (1 << 64) - 1) for number in value.reshape(-1).tolist())
        return _message(3, _message(1, numbers))

    def companion_names(self, name: str) -> tuple[str, ...]:
        found = dlio_index_name(name) if self.packing.compression == "none" else None
        return (found,) if found else ()

    def companions(self, name: str, samples: Mapping[str, Values]) -> dict[str, bytes]:
        names = self.companion_names(name)
        lengths = [FRAME_NBYTES + len(example) for example in self._examples(samples)] if names else []
        ends = zip(accumulate(lengths), lengths, strict=True)
        return dict.fromkeys(names, index_lines([(end - length, length) for end, length in ends]))


FORMAT = TfRecordFormat()
