"""TensorFlow end to end: the cases of the table of targets that need it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import tensorflow as tf

from dlio_fast.tensorflow import DlioTensorFlowDataset

from . import data
from .cases import DLIO_SHAPE, drain, loader
from .runner import Case, Goal

BATCH = 8


def take(batches: Iterable[tf.Tensor]) -> int:
    """Take every batch."""
    return sum(batch.shape.num_elements() * batch.dtype.size for batch in batches)


def numpy_samples(files: list[str]) -> Iterator[np.ndarray]:
    """What TensorFlow's users hand to from_generator."""
    for path in files:
        with np.load(path) as npz:
            yield npz["x"]


def tensorflow_warm() -> Case:
    files = data.numpy_npz(200, DLIO_SHAPE)
    data.warm(files)
    stock, bare = "from_generator + numpy.load", "df.Loader, no TensorFlow"
    wrapper = DlioTensorFlowDataset(data_folder=os.path.dirname(files[0]), batch_size=BATCH)
    ours, spec = wrapper.create_dataset(), tf.TensorSpec(DLIO_SHAPE, tf.uint8)
    theirs = tf.data.Dataset.from_generator(partial(numpy_samples, files), output_signature=spec)
    theirs = theirs.batch(BATCH).prefetch(2)
    return Case(
        "tensorflow_warm", "TensorFlow end to end, 200 × 5 MiB NPZ, batches of 8", data.total_bytes(files),
        {
            stock: lambda: take(theirs),
            bare: partial(drain, loader(files, BATCH, sample_axis=-1)),
            "create_dataset": lambda: take(ours),
            "the data set itself": lambda: take(wrapper),
        },
        [
            Goal("against from_generator + numpy.load", "create_dataset", stock, 4.0, 7.0),
            Goal("GB/s against the bare df.Loader", "create_dataset", bare, 0.85, 0.95),
            Goal("iterated over by itself, against the same", "the data set itself", bare, 0.85, 0.95),
        ],
    )  # fmt: skip
