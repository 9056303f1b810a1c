"""NVIDIA DALI on the processor alone, reading NPY and TFRecord. `make bench` installs nvidia-dali-cuda120."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

import dlio_fast as df
from dlio_fast.formats.tfrecord_index import write_index

from . import data, tfrecord_cases
from .cases import MIB, checked, drain
from .peers import THREADS
from .runner import Case, Goal

BATCH = 8


def pipeline(batch_size: int, read: Callable[[], object], batches: int) -> Callable[[], int]:
    """A pass over a DALI pipeline on the processor alone, whose reader copies what it reads (no mapping)."""
    from nvidia.dali import pipeline_def

    @pipeline_def(batch_size=batch_size, num_threads=THREADS, device_id=None, prefetch_queue_depth=2)
    def define() -> object:
        return read()

    built = define()
    built.build()

    def run() -> int:
        moved = 0
        for _ in range(batches):
            (arrays,) = built.run()
            # a dense batch, as ours is
            moved += np.asarray(arrays.as_tensor()).nbytes
        return moved

    return run


def dali_npy() -> Case:
    count = 200
    files = data.numpy_npy(count, 2048, 2560)
    data.warm(files)

    def read() -> object:
        from nvidia.dali import fn

        return fn.readers.numpy(files=files, dont_use_mmap=True, cache_header_information=True)

    ours = df.Loader(df.Dataset.from_files(files), batch_size=BATCH)
    nbytes = count * 5 * MIB
    return Case(
        "dali_npy", f"{count} × 5 MiB NPY beside DALI, batches of {BATCH}", nbytes,
        {
            "DALI": checked(pipeline(BATCH, read, count // BATCH), nbytes),
            "dlio_fast": checked(partial(drain, ours), nbytes),
        },
        [Goal("against DALI", "dlio_fast", "DALI", 1.0, 1.5)],
    )  # fmt: skip


def dali_tfrecord() -> Case:
    files = tfrecord_cases.records(16, 256, tfrecord_cases.RECORD)
    data.warm(files)
    indices = [write_index(path)[0] for path in files]

    def read() -> object:
        from nvidia.dali import fn, tfrecord

        features = {"image": tfrecord.FixedLenFeature((), tfrecord.string, "")}
        found = fn.readers.tfrecord(path=files, index_path=indices, features=features, dont_use_mmap=True)
        return found["image"]

    count, batch = 16 * 256, tfrecord_cases.BATCH
    ours = df.Loader(df.Dataset.from_files(files, fields=["image"]), batch_size=batch)
    nbytes = count * math.isqrt(tfrecord_cases.RECORD) ** 2  # DLIO's images are square
    return Case(
        "dali_tfrecord", "16 × 256 records of 114,660 bytes beside DALI (no crc), batches of 64", nbytes,
        {
            "DALI": checked(pipeline(batch, read, count // batch), nbytes),
            "dlio_fast, crc verified": checked(partial(tfrecord_cases.drain, ours), nbytes),
        },
        [Goal("against DALI", "dlio_fast, crc verified", "DALI", 1.0, 1.5)],
    )  # fmt: skip
