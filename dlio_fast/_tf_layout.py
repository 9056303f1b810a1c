"""What an element of a TensorFlow data set is made of, and how arrays become it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from . import _core
from ._typing import Array, Fields, Values
from .errors import DataError, UnsupportedError
from .pipeline.transform import apply

if TYPE_CHECKING:
    from .tensorflow import DlioTensorFlowDataset

ALIGNMENT = 64
"""What TensorFlow wants of memory that it is to share; it aborts the process where DLPack brings it less."""


class Field:
    """A field of an element that is one tensor.

    Attributes
    ----------
    name : str
    spec : TensorSpec or RaggedTensorSpec
    specs : list of TensorSpec
        Of the arrays that the tensor is made from.
    """

    spec: Any
    specs: list[tf.TensorSpec]

    def __init__(self, name: str, dtype: np.dtype[Any], shape: Sequence[int | None]):
        self.name = name
        self._native = dtype.newbyteorder("=")
        self.spec = tf.TensorSpec(shape, _tf_dtype(name, dtype), name=name)
        self.specs = [self.spec]

    def arrays(self, values: Values) -> list[Array]:
        """Return the arrays for a field of a batch, or of a sample."""
        if isinstance(values, list):  # each with memory of its own
            if len({value.shape for value in values}) > 1:
                raise self._misfit(*values)
            values = np.stack([self._checked(value) for value in values])
        if not self.spec.shape.is_compatible_with(values.shape):
            raise self._misfit(values)
        return [self._checked(values)]

    def assembled(self, tensors: Sequence[tf.Tensor]) -> Any:
        """Return the tensor that the arrays make up."""
        return tensors[0]

    def _checked(self, array: Array) -> Array:
        """Return the array as TensorFlow reads one: in the byte order of this machine, text as UTF-8."""
        native = array.dtype.newbyteorder("=")
        if native != self._native and not native.kind == self._native.kind in ("S", "U"):
            raise self._misfit(array)
        if native.kind == "U":
            return np.char.encode(array, "utf-8")
        return array if array.dtype == native else array.astype(native)

    def _misfit(self, *arrays: Array) -> DataError:
        found = ", ".join(sorted({f"{array.dtype} {array.shape}" for array in arrays}))
        return DataError(
            f"field {self.name!r} is {self._native} {self.spec.shape}, but here comes {found}; for samples "
            f"that differ in shape say ragged='batch' (RaggedTensors) or ragged='sample' (single samples)",
            member=self.name,
        )


class RaggedField(Field):
    """A field of a batch whose samples differ in shape: their values one after the other, and row splits."""

    def __init__(self, name: str, dtype: np.dtype[Any], rank: int, pool: _core.Pool):
        super().__init__(name, dtype, [None] * (rank + 1))
        self._pool = pool
        self.specs = [tf.TensorSpec([None], self.spec.dtype)] + [tf.TensorSpec([None], tf.int64)] * rank
        self.spec = tf.RaggedTensorSpec(self.spec.shape, self.spec.dtype, ragged_rank=rank)

    def arrays(self, values: Values) -> list[Array]:
        samples = [self._checked(value) for value in values]
        shapes = [sample.shape for sample in samples]
        if any(len(shape) + 1 != self.spec.shape.rank for shape in shapes):
            raise self._misfit(*samples)
        size = sum(sample.size for sample in samples)
        memory = self._pool.get(max(1, size * self._native.itemsize))
        flat: Array = np.ndarray(size, self._native, memory)  # type: ignore[arg-type] # a buffer, to numpy
        np.concatenate([sample.reshape(-1) for sample in samples], out=flat)
        return [flat, *_row_splits(shapes)]

    def assembled(self, tensors: Sequence[tf.Tensor]) -> Any:
        make = tf.RaggedTensor.from_nested_row_splits  # pyright: ignore[reportAttributeAccessIssue]
        return make(tensors[0], tensors[1:], validate=False)


def _row_splits(shapes: Sequence[tuple[int, ...]]) -> Iterator[Array]:
    """Return the row splits of samples of these shapes as one RaggedTensor, the outermost first."""
    for axis in range(len(shapes[0])):
        lengths = np.repeat([shape[axis] for shape in shapes], [prod(shape[:axis]) for shape in shapes])
        yield np.cumsum(np.concatenate([[0], lengths]), dtype=np.int64)


class Layout:
    """The tensors of an element, and the arrays that they are made from.

    Parameters
    ----------
    dataset : DlioTensorFlowDataset
    """

    def __init__(self, dataset: DlioTensorFlowDataset):
        loader, ragged = dataset.loader, dataset.options["ragged"]
        self._pack, self._names = dataset.pack, dataset.names
        found = _first_sample(dataset)
        size = loader.batch_size if loader.drop_last and loader.on_error == "raise" else None
        self._fields: list[Field] = []
        for name in tf.nest.flatten(self._pack(self._names)):  # which sorts the keys of a dict
            dtype, shape = found[name]
            if ragged == "sample":
                self._fields.append(Field(name, dtype, [None] * len(shape)))
            elif ragged == "batch" and shape:
                self._fields.append(RaggedField(name, dtype, len(shape), loader.resources()[1]))
            else:
                self._fields.append(Field(name, dtype, [size, *shape]))
        self.specs = [spec for field in self._fields for spec in field.specs]
        self.is_flat = len(self.specs) == len(self._fields)
        """The arrays are the element's tensors as they are."""

    @property
    def structure(self) -> Any:
        """The element, of the specs of its tensors."""
        return self._packed([field.spec for field in self._fields])

    def batch(self, fields: Fields) -> list[Array]:
        """Return the arrays of a batch."""
        return [array for field in self._fields for array in field.arrays(fields[field.name])]

    def samples(self, fields: Fields) -> Iterator[list[Array]]:
        """Return the arrays of each sample of a batch."""
        for i in range(len(next(iter(fields.values())))):
            yield self.batch({n: v[i] if isinstance(v, list) else v[i, ...] for n, v in fields.items()})

    def tensors(self, arrays: Sequence[Array]) -> Any:
        """Return the element as eager tensors."""
        return self.assembled(*map(tensor, arrays))

    def assembled(self, *tensors: tf.Tensor) -> Any:
        """Return the element of the tensors over its arrays."""
        rest = iter(tensors)
        return self._packed([field.assembled([next(rest) for _ in field.specs]) for field in self._fields])

    def _packed(self, parts: Sequence[Any]) -> Any:
        by_name = {field.name: part for field, part in zip(self._fields, parts, strict=True)}
        return self._pack([by_name[name] for name in self._names])


def tensor(array: Array) -> tf.Tensor:
    """Return an eager tensor over an array's memory where TensorFlow can share it, else a copy."""
    flags = array.flags
    if array.dtype.kind in "biufc" and flags.c_contiguous and flags.writeable and array.nbytes:
        if array.ctypes.data % ALIGNMENT == 0:
            return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    return tf.constant(array)


def _first_sample(dataset: DlioTensorFlowDataset) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Return dtype and shape of each field of a sample: as the first file or a transform has it."""
    loader = dataset.loader
    if loader.transform is None:
        return {field.name: (field.dtype, field.shape) for field in dataset.dataset.spec.fields}
    fields = apply(loader.transform, dataset.dataset.batch([0]), loader.resources()[1])
    return {name: (np.asarray(values[0]).dtype, np.shape(values[0])) for name, values in fields.items()}


def _tf_dtype(name: str, dtype: np.dtype[Any]) -> tf.DType:
    try:
        if dtype.hasobject:
            raise TypeError
        return tf.as_dtype(dtype.newbyteorder("="))
    except TypeError:
        raise UnsupportedError(
            f"field {name!r} has dtype {dtype}, which no tensor holds: name other fields", member=name
        ) from None
