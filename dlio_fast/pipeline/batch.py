"""From a delivered batch of the core to arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import _core
from .._typing import Array, Fields, Values
from ..formats import FieldSpec, FileSpec


class SampleList(list[Any]):
    """Samples that were read together; `batch` is what they are views of."""

    def __init__(self, samples: Iterable[Any], batch: Any):
        super().__init__(samples)
        self.batch = batch


def batch_arrays(batch: _core.Batch, spec: FileSpec) -> Fields:
    """The fields of a batch, over the batch's own memory.

    Returns
    -------
    dict
        Field -> array of shape (B, *sample shape); a list of B arrays where samples differ in shape or
        dtype. Writable, and the first sample 64-byte aligned, a list's every sample.
    """
    buffer = batch.buffer()
    return {field.name: _field(batch, buffer, i, field) for i, field in enumerate(spec.fields)}


def whole_batch(batch: _core.Batch, spec: FileSpec) -> Fields:
    """As :func:`batch_arrays`, but raises the first failure of a batch that lacks samples.

    The batch refers to the exception, whose traceback refers to the caller: who keeps no name for the batch
    leaves no cycle.
    """
    failures = batch.failures()
    if failures:
        try:
            raise failures[0][0]
        finally:
            del failures, batch  # for the same reason
    return batch_arrays(batch, spec)


def _field(batch: _core.Batch, buffer: _core.Buffer | None, index: int, field: FieldSpec) -> Values:
    loose = batch.loose(index)
    offset = batch.offset(index)
    if loose is None:
        return _array((len(batch), *field.shape), field.dtype, buffer, offset)
    samples = []
    for i, sample in enumerate(loose):
        if sample is None:
            samples.append(_array(field.shape, field.dtype, buffer, offset + i * field.nbytes))
        else:
            memory, descr, shape = sample
            dtype = field.dtype if not descr or descr == field.descr else np.dtype(descr.decode("latin-1"))
            samples.append(_array(shape, dtype, memory, 0))
    return samples


def _array(shape: tuple[int, ...], dtype: np.dtype[Any], buffer: _core.Buffer | None, offset: int) -> Array:
    return np.ndarray(shape, dtype, buffer, offset)  # type: ignore[arg-type] # a buffer, to numpy
