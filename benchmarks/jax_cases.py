"""JAX end to end: the cases of the table of targets that need it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from dlio_fast.jax import DlioJaxDataset

from . import data
from .cases import DLIO_SHAPE, drain, loader
from .runner import Case, Goal

BATCH = 8


def take(batches: Iterable[jax.Array]) -> int:
    """Take every batch, each once it is where it belongs."""
    return sum(batch.block_until_ready().nbytes for batch in batches)


def numpy_batches(files: list[str]) -> Iterable[jax.Array]:
    """What JAX's users write without a data loader."""
    for first in range(0, len(files), BATCH):
        samples = []
        for path in files[first : first + BATCH]:
            with np.load(path) as npz:
                samples.append(npz["x"])
        yield jnp.asarray(np.stack(samples))


def jax_warm() -> Case:
    files = data.numpy_npz(200, DLIO_SHAPE)
    data.warm(files)
    ours = DlioJaxDataset(data_folder=os.path.dirname(files[0]), batch_size=BATCH)
    stock, bare = "numpy.load + jnp.asarray", "df.Loader, no JAX"
    return Case(
        "jax_warm", "JAX end to end, 200 × 5 MiB NPZ, batches of 8", data.total_bytes(files),
        {
            stock: lambda: take(numpy_batches(files)),
            bare: partial(drain, loader(files, BATCH)),
            "device_iter": lambda: take(ours.device_iter()),
        },
        [
            Goal("against numpy.load + jnp.asarray", "device_iter", stock, 5.0, 10.0),
            Goal("GB/s against the bare df.Loader", "device_iter", bare, 0.95, 0.99),
        ],
    )  # fmt: skip
