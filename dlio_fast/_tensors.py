"""From numpy's arrays to PyTorch's tensors, over the same memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from ._typing import Array, Values
from .errors import UnsupportedError
from .pipeline.batch import SampleList


def collate(samples: Sequence[Any]) -> Any:
    """Put samples together as torch's default_collate does, but leave those that differ in shape a list.

    For ``DataLoader(ds, batch_size=n, collate_fn=collate)``; takes samples of :class:`dlio_fast.Dataset`,
    too. Samples that were read together, by a map-style data set, are not copied again.
    """
    if isinstance(samples, SampleList):
        return collated(samples.batch)
    first = samples[0]
    if isinstance(first, Mapping):
        return {name: collate([sample[name] for sample in samples]) for name in first}
    if isinstance(first, tuple):
        return tuple(collate(values) for values in zip(*samples, strict=True))
    if isinstance(first, (np.ndarray, np.generic)):
        natives = [np.asarray(sample, sample.dtype.newbyteorder("=")) for sample in samples]
        return collate([tensor("", array) for array in natives])
    alike = all(
        isinstance(s, torch.Tensor) and (s.shape, s.dtype) == (first.shape, first.dtype) for s in samples
    )
    return default_collate(list(samples)) if alike else list(samples)


def collated(batch: Any) -> Any:
    """Return a batch that was read whole with tensors in the place of arrays, over the same memory."""
    if isinstance(batch, Mapping):
        return {name: collated(values) for name, values in batch.items()}
    if isinstance(batch, (tuple, list)):
        return type(batch)(collated(values) for values in batch)
    return tensor("", batch) if isinstance(batch, np.ndarray) else batch


def tensors(name: str, value: Values) -> torch.Tensor | list[torch.Tensor]:
    """Return a field of a batch, or each of its samples where they differ in shape, as tensors."""
    return [tensor(name, array) for array in value] if isinstance(value, list) else tensor(name, value)


def tensor(name: str, array: Array) -> torch.Tensor:
    """Return a tensor over an array's memory; of a big-endian, read-only or reversed one over a copy."""
    dtype = array.dtype
    if not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    try:
        return torch.from_numpy(array)
    except TypeError:
        raise UnsupportedError(
            f"field {name!r} has dtype {dtype}, which no tensor holds: name other fields, or take its bytes "
            f"with return_type='bytes'",
            member=name,
        ) from None
