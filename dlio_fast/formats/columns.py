"""Columns of Arrow tables as samples: what Parquet and Arrow IPC have in common.

A row is a sample, a column a field. How a type becomes an array:

===================================  ===============================================================
Arrow                                a sample
===================================  ===============================================================
(u)int8 … 64, float16 … 64, bool     () of that dtype
timestamp, duration, date            () of datetime64 or timedelta64; a time zone is dropped (it is UTC)
time                                 () of the int32 or int64 that counts its unit
fixed_size_list<T>[n]                (n, *shape of T)
list<T>, large_list<T>               (n, *shape of T), n as the row has it
fixed_size_binary[n]                 (n,) uint8
binary, string and their kin         (n,) uint8: the bytes, of text those of its UTF-8, as with TFRecord
dictionary<T>, extension of T        as T
===================================  ===============================================================

Columns of other types (struct, map, decimal, lists of lists) cannot be fields. A null is an error: there is
no value of these dtypes that says "none".
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from .._limits import memory_limit
from .._typing import Array, Values
from ..config import Config
from ..config.data import Column
from ..errors import (
    ChecksumError,
    ConfigError,
    DataError,
    FormatError,
    MemberError,
    UnsupportedError,
)
from .arrowlib import ArrowArray, ArrowBuffer, ArrowSchema, ArrowType, pa, types
from .base import PAYLOAD, FieldSpec, Role

PAYLOAD_COLUMN = "data"
"""The payload of DLIO's files without configured columns."""

BYTES = np.dtype(np.uint8)

MOST_DIMS, LARGEST_SAMPLE = 32, 1 << 40
"""Dimensions and bytes of a sample of a fixed shape."""

COPIED = 256
"""Bytes of a dictionary's value that is written out for each row that has it."""


@dataclass(frozen=True)
class Kind:
    """What the samples of a column are.

    Attributes
    ----------
    dtype : numpy.dtype
    shape : tuple of int
        -1: as each sample has it.
    plain : bool
        Arrow's arrays are as numpy's.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    plain: bool = False

    @property
    def varies(self) -> bool:
        """Whether only the values tell the shape."""
        return -1 in self.shape

    @property
    def nbytes(self) -> int:
        """Bytes of a sample; 0 where they vary."""
        return 0 if self.varies else self.dtype.itemsize * int(np.prod(self.shape, dtype=object))


def kind_of(type: ArrowType) -> Kind | None:
    """Return what samples of a column of that type are; None: it cannot be a field."""
    if isinstance(type, pa.BaseExtensionType) or types.is_dictionary(type):
        inner = kind_of(type.value_type if types.is_dictionary(type) else type.storage_type)
        return inner and replace(inner, plain=False)
    if types.is_fixed_size_binary(type):
        return _sized(BYTES, type.byte_width)
    if _is_bytes(type):
        return Kind(BYTES, (-1,))
    if types.is_fixed_size_list(type) or _is_list(type):
        items = kind_of(type.value_type)
        if items is None or items.varies or types.is_dictionary(type.value_type):
            return None
        if types.is_fixed_size_list(type):
            return _sized(items.dtype, type.list_size, *items.shape)
        return Kind(items.dtype, (-1, *items.shape))
    if types.is_integer(type) or types.is_floating(type):
        return Kind(np.dtype(type.to_pandas_dtype()), plain=True)
    if types.is_boolean(type):
        return Kind(np.dtype(bool))
    if types.is_time(type):
        return Kind(np.dtype(f"i{type.bit_width // 8}"))
    if types.is_timestamp(type):
        return Kind(np.dtype(f"M8[{type.unit}]"))
    if types.is_duration(type):
        return Kind(np.dtype(f"m8[{type.unit}]"))
    if types.is_date(type):
        return Kind(np.dtype("M8[D]" if types.is_date32(type) else "M8[ms]"))
    return None


def _sized(dtype: np.dtype[Any], *shape: int) -> Kind | None:
    """Return samples of a fixed shape, unless it is one that a damaged schema has."""
    kind = Kind(dtype, shape)
    return kind if min(shape) >= 0 and len(shape) <= MOST_DIMS and kind.nbytes <= LARGEST_SAMPLE else None


def is_bytes(type: ArrowType) -> bool:
    """Tell whether a column is of strings of bytes of any length, in a dictionary or not."""
    if isinstance(type, pa.BaseExtensionType):
        return is_bytes(type.storage_type)
    return is_bytes(type.value_type) if types.is_dictionary(type) else _is_bytes(type)


def _is_bytes(type: ArrowType) -> bool:
    return bool(
        types.is_binary(type) or types.is_large_binary(type) or types.is_string(type)
        or types.is_large_string(type)
    )  # fmt: skip


def _is_list(type: ArrowType) -> bool:
    return bool(types.is_list(type) or types.is_large_list(type))


class _HasNulls(Exception):
    """A column has a null."""


def column_samples(path: str, chunks: Sequence[ArrowArray], kind: Kind, name: str, where: str) -> Values:
    """Return the samples of a column, of which there is a chunk; UnsupportedError where it has a null."""
    try:
        if kind.plain and len(chunks) == 1 and not chunks[0].null_count:
            return np.asarray(chunks[0].to_numpy())
        found = [samples_of(chunk) for chunk in chunks]
        return found[0] if len(found) == 1 else _joined(found)
    except _HasNulls:
        raise null_error(path, name, where) from None


def null_error(path: str, name: str, where: str) -> UnsupportedError:
    """Return what a column with a null is refused with."""
    return UnsupportedError(
        f"{path}: column {name!r} has a null in {where}, which no array can hold: fill it, or choose other "
        f"columns with fields=",
        path, name,
    )  # fmt: skip


def samples_of(array: ArrowArray) -> Values:
    """Return the rows of an array as samples, where possible without a copy.

    The array has to be valid: `pyarrow.Array.validate` is called by whoever got it out of a file unchecked.

    Returns
    -------
    numpy.ndarray or list of numpy.ndarray
        (rows, *shape of a sample), read-only; a list where the samples differ in shape.
    """
    if isinstance(array, pa.ExtensionArray):
        return samples_of(array.storage)
    if array.null_count:
        raise _HasNulls
    type = array.type
    if types.is_dictionary(type):
        return _taken(samples_of(array.dictionary), np.asarray(samples_of(array.indices)))
    if types.is_fixed_size_list(type):
        items = np.asarray(samples_of(array.flatten()))
        return items.reshape(len(array), type.list_size, *items.shape[1:])
    if _is_list(type):
        offsets = array.offsets.to_numpy()
        items = np.asarray(samples_of(array.values.slice(offsets[0], offsets[-1] - offsets[0])))
        return _cut(items, offsets - offsets[0])
    if types.is_fixed_size_binary(type):
        width = type.byte_width
        items = _window(array.buffers()[1], BYTES, array.offset * width, len(array) * width)
        return items.reshape(len(array), width)
    if _is_bytes(type):
        width = 8 if types.is_large_binary(type) or types.is_large_string(type) else 4
        _, ends, data = array.buffers()
        if ends is None or not len(array):
            return np.empty((0, 0), BYTES)
        offsets = _window(ends, np.dtype(f"i{width}"), array.offset, len(array) + 1)
        return _cut(
            _window(data, BYTES, int(offsets[0]), int(offsets[-1] - offsets[0])), offsets - offsets[0]
        )
    if types.is_boolean(type):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    if types.is_time(type) or types.is_date(type):
        days = types.is_date32(type)
        numbers: Array = array.view(pa.int32() if type.bit_width == 32 else pa.int64()).to_numpy()
        return numbers if types.is_time(type) else numbers.astype("M8[D]" if days else "M8[ms]")
    return np.asarray(array.to_numpy(zero_copy_only=True))


def _window(buffer: ArrowBuffer | None, dtype: np.dtype[Any], first: int, count: int) -> Array:
    if buffer is None:
        return np.empty(0, dtype)
    return np.frombuffer(buffer, dtype, count, first * dtype.itemsize) if count else np.empty(0, dtype)


def _cut(items: Array, offsets: Array) -> Values:
    """Return the items between each offset and the next; in one array where all are as many."""
    sizes = np.diff(offsets)
    if not len(sizes) or (sizes == sizes[0]).all():
        return items.reshape(len(sizes), int(sizes[0]) if len(sizes) else 0, *items.shape[1:])
    ends = offsets.tolist()
    return [items[first:end] for first, end in zip(ends, ends[1:], strict=False)]


def _taken(values: Values, indices: Array) -> Values:
    """Return values of a dictionary. Long ones are not copied: it may be a million times the same."""
    if isinstance(values, list) or values[:1].nbytes > COPIED:
        return [values[i] for i in indices.tolist()]
    return values[indices]


def _joined(parts: Sequence[Values]) -> Values:
    """Return the samples of several chunks as one; a list where they differ."""
    first = parts[0]
    if all(
        isinstance(part, np.ndarray) and isinstance(first, np.ndarray)
        and (part.dtype, part.shape[1:]) == (first.dtype, first.shape[1:])
        for part in parts
    ):  # fmt: skip
        return np.concatenate(parts)
    return [sample for part in parts for sample in part]


@dataclass(frozen=True)
class Columns:
    """Which columns of a file make up a sample, as a configuration or a user says.

    Attributes
    ----------
    configured : tuple of str
        Columns that a configuration wants read, () where it names none.
    shape : tuple of int, optional
        Of a sample in the column that stands for DLIO's record.
    """

    configured: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None

    def chosen(self, path: str, schema: ArrowSchema, fields: Sequence[str] | None) -> dict[str, Kind]:
        """Return the columns that are wanted of a file, and what they hold.

        Raises
        ------
        MemberError
            The file has no such column, or several.
        UnsupportedError
            It cannot be a field.
        """
        with arrow_errors(path, "the schema"):  # names need not be text
            names = Counter(schema.names)
            kinds = {column.name: kind_of(column.type) for column in schema if names[column.name] == 1}
            shown_types = {column.name: str(column.type) for column in schema}
        usable = {name: kind for name, kind in kinds.items() if kind}
        wanted = [*self.configured] or [*usable] if fields is None else [*fields]
        wanted = [self._name(path, name, usable) if isinstance(name, Role) else name for name in wanted]
        for name in wanted:
            if name not in names:
                shown = ", ".join([*names][:20]) or "none"
                raise MemberError(f"{path}: no column {name!r}; it has {shown}", path, name)
            if name not in kinds:
                raise MemberError(f"{path}: several columns are called {name!r}", path, name)
            if name not in usable:
                raise UnsupportedError(
                    f"{path}: column {name!r} of type {shown_types[name]} cannot be an array: choose "
                    f"others with fields=",
                    path, name,
                )  # fmt: skip
        if not wanted:
            raise MemberError(f"{path}: it has no column that can be an array", path)
        return {name: usable[name] for name in wanted}

    def _name(self, path: str, role: Role, usable: dict[str, Kind]) -> str:
        if role != PAYLOAD:
            return str.__str__(role)
        if self.configured:
            return self.configured[0]
        if not usable:
            raise MemberError(f"{path}: it has no column that can be an array", path)
        return PAYLOAD_COLUMN if PAYLOAD_COLUMN in usable else next(iter(usable))

    def shaped(self, name: str, sample: tuple[int, ...]) -> tuple[int, ...]:
        """Return a sample's shape as the configuration has it, where that is of as many elements."""
        if self.configured or name != PAYLOAD_COLUMN or self.shape is None:
            return sample
        return self.shape if np.prod(self.shape, dtype=object) == np.prod(sample, dtype=object) else sample


def configured_columns(config: Config, columns: Sequence[Column]) -> Columns:
    """Return what a DLIO configuration says of the columns of its files."""
    dataset = config.dataset
    told = any(config.is_set(f"dataset.{key}") for key in ("record_dims", "record_length_bytes"))
    return Columns(
        tuple(column.name for column in columns if column.read), dataset.sample_dims if told else None
    )


def check_column(format: str, field: FieldSpec) -> None:
    """Raise ConfigError unless a field can be a column of numbers or of lists of a fixed size."""
    if field.dtype.kind not in "biuf" or field.dtype.itemsize > 8 or not field.dtype.isnative:
        raise ConfigError(f"{format} has no column for field {field.name!r} of {field.dtype}")
    if 0 in field.shape:
        raise ConfigError(f"{format} has no column for field {field.name!r} of shape {field.shape}")


def column_of(samples: Array) -> ArrowArray:
    """Return samples (rows, *shape) as a column: numbers, or lists of a fixed size inside each other."""
    column = pa.array(samples.reshape(-1))
    for size in reversed(samples.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def field_spec(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> FieldSpec:
    """Describe a column."""
    return FieldSpec(name, dtype, shape, name.encode("utf-8", "surrogateescape"), dtype.str.encode())


def as_specified(values: Values, field: FieldSpec) -> Values:
    """Return samples in the shape of their field, where the elements are as many."""
    if isinstance(values, np.ndarray) and values.shape[1:] != field.shape:
        if values[:1].size == np.prod(field.shape, dtype=object) and len(values):
            return values.reshape(len(values), *field.shape)
    return values


@cache
def block_limit() -> int:
    """Bytes that a row group or record batch may take, decoded: half of what this process may use."""
    return memory_limit() // 2


def check_room(path: str, what: str, nbytes: int, limit: int) -> None:
    """Refuse, before any of it is allocated, what would take more than `limit` bytes."""
    if nbytes > limit:
        raise UnsupportedError(
            f"{path}: {what} takes {nbytes} bytes decoded, more than the {limit} that are let: "
            f"choose fewer columns with fields=, or rewrite the file in smaller pieces",
            path,
        )


@contextmanager
def arrow_errors(path: str, what: str, member: str | None = None) -> Iterator[None]:
    """Turn what pyarrow raises at bad bytes into errors of ours that name the file and what in it is bad."""
    try:
        yield
    except DataError:
        raise
    except NotImplementedError as error:
        raise UnsupportedError(
            f"{path}: {what} cannot be decoded: {_one_line(error)}", path, member
        ) from error
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        OverflowError,
        struct.error,
    ) as error:
        text = _one_line(error)
        kind = ChecksumError if re.search(r"\bCRC\b", text) else FormatError
        raise kind(f"{path}: {what} is malformed: {text}", path, member) from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
