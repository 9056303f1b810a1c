"""PyTorch: the small samples, what the wrapper costs, and the libraries that people use today."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from functools import partial

import numpy as np
import torch
from torch.utils.data import DataLoader

from dlio_fast.torch import DlioPyTorchDataset

from . import data
from .cases import DLIO_SHAPE, MIB, drain, loader, take
from .peers import THREADS, NumpyFiles
from .runner import Case, Goal

BATCH = 8


def wrapper(files: list[str], batch_size: int = BATCH, scheme: str = "", **options) -> DataLoader:
    """Our ready-made batches in PyTorch's DataLoader, from the folder that the files lie in."""
    folder = scheme + os.path.commonpath([os.path.dirname(path) for path in files])
    dataset = DlioPyTorchDataset(data_folder=folder, batch_size=batch_size, **options)
    return DataLoader(dataset.batches(), batch_size=None)


class NumpyArrays(NumpyFiles):
    """The stock way for NPY files."""

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.load(self.files[index]))


def torch_small() -> Case:
    files, batch = data.numpy_npy(20_000, 50_000, 1), 256
    data.warm(files)
    stock = DataLoader(NumpyArrays(files), batch_size=batch, num_workers=2)
    ours = wrapper(files, batch)
    return Case(
        "torch_small", "PyTorch, 20,000 × 50 KB NPY, batches of 256", data.total_bytes(files),
        {"stock, 2 workers": lambda: take(stock), "dlio_fast": lambda: take(ours)},
        [Goal("samples/s against the stock DataLoader", "dlio_fast", "stock, 2 workers", 5.0, 10.0)],
        items=len(files),
    )  # fmt: skip


def torch_wrapper() -> Case:
    files = data.numpy_npz(200, DLIO_SHAPE)
    data.warm(files)
    bare, ours = "df.Loader, no PyTorch", wrapper(files)
    return Case(
        "torch_wrapper", "What the PyTorch wrapper costs, 200 × 5 MiB NPZ, batches of 8",
        data.total_bytes(files),
        {bare: partial(drain, loader(files, BATCH, sample_axis=-1)), "dlio_fast.torch": lambda: take(ours)},
        [Goal("GB/s against the bare df.Loader", "dlio_fast.torch", bare, 0.95, 0.99)],
        rounds=21,
    )  # fmt: skip


def torch_direct() -> Case:
    files = data.aligned_npz(200, 5 * MIB)
    ours = wrapper(files, scheme="direct://", shuffle=True)
    return Case(
        "torch_direct", "PyTorch end to end, 200 × 5 MiB aligned NPZ, direct://, crc verified",
        data.total_bytes(files),
        {"dlio_fast": lambda: take(ours)},
        [Goal("CPU-s/GB", "dlio_fast", None, 0.22, 0.16, "cpu", " s/GB")],
        cache="cold (O_DIRECT, caches dropped before each run)",
        before_each=data.drop_caches,
        rounds=8,
    )  # fmt: skip


def spdl_batches(files: list[str]) -> Iterator[torch.Tensor]:
    """Meta's SPDL: a pipeline that reads files and parses them in C++ on threads, then stacks a batch."""
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    def read(path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def parse(raw: bytes) -> np.ndarray:
        return spdl.io.load_npz(raw)["x"]

    def stack(arrays: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays))

    builder = PipelineBuilder().add_source(files).pipe(read, concurrency=THREADS)
    builder = builder.pipe(parse, concurrency=THREADS).aggregate(BATCH).pipe(stack).add_sink(2)
    pipeline = builder.build(num_threads=THREADS)
    with pipeline.auto_stop():
        yield from pipeline


def s3dlio_batches(folder: str) -> Iterator[torch.Tensor]:
    """s3dlio's data set for PyTorch, whose items are whole files, and numpy.load over each."""
    from s3dlio.torch import ObjectStoreIterableDataset

    # "bytes" are views of its memory; tensors would be another copy
    source = ObjectStoreIterableDataset.from_prefix(f"file://{folder}/", prefetch=BATCH, return_type="bytes")
    samples: list[np.ndarray] = []
    for raw in source:
        if not len(raw):
            continue  # the mark of a complete folder
        with np.load(io.BytesIO(raw)) as npz:
            samples.append(npz["x"])
        if len(samples) == BATCH:
            yield torch.from_numpy(np.stack(samples))
            samples.clear()


def torch_peers() -> Case:
    """Needs spdl-core, spdl-io and s3dlio, which `make bench` installs."""
    files = data.numpy_npz(200, DLIO_SHAPE)
    data.warm(files)
    ours = wrapper(files)

    def all_of(batches: Iterable[torch.Tensor]) -> int:
        moved = take(batches)
        assert moved == 200 * 5 * MIB, "it must deliver everything"
        return moved

    return Case(
        "torch_peers", "PyTorch batches of 8 beside SPDL and s3dlio, 200 × 5 MiB NPZ",
        data.total_bytes(files),
        {
            "SPDL": lambda: all_of(spdl_batches(files)),
            "s3dlio + numpy.load": lambda: all_of(s3dlio_batches(os.path.dirname(files[0]))),
            "dlio_fast": lambda: all_of(ours),
        },
        [
            Goal("against SPDL", "dlio_fast", "SPDL", 1.5, 2.5),
            Goal("against s3dlio + numpy.load", "dlio_fast", "s3dlio + numpy.load", 1.5, 2.5),
        ],
    )  # fmt: skip
