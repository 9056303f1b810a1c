"""The cases of the table of targets, one function each."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

import dlio_fast as df
from dlio_fast.workload.generate import generate

from . import data, peers
from .runner import Case, Goal

MIB = 1 << 20
DLIO_SHAPE = (5 * MIB // 2048, 2048, 1)
"""One sample of 5 MiB, the sample axis last, as in DLIO's files."""


def drain(loader: df.Loader) -> int:
    """Take every batch; the core has put every byte into it and checked it."""
    moved = 0
    for batch in loader:
        moved += (
            batch["x"].nbytes if isinstance(batch["x"], np.ndarray) else sum(x.nbytes for x in batch["x"])
        )
    return moved


def checked(contender: Callable[[], int], nbytes: int) -> Callable[[], int]:
    """That contender; it must deliver everything."""

    def run() -> int:
        moved = contender()
        assert moved == nbytes, f"{moved} of {nbytes} bytes"
        return moved

    return run


def loader(
    files: list[str], batch_size: int = 8, *, direct: bool = False, sample_axis=None, **options
) -> df.Loader:
    addresses = [f"direct://{path}" for path in files] if direct else files
    dataset = df.Dataset.from_files(addresses, fields=["x"], sample_axis=sample_axis)
    return df.Loader(dataset, batch_size=batch_size, **options)


def npz_warm() -> Case:
    ours, aligned = data.numpy_npz(200, DLIO_SHAPE), data.aligned_npz(200, 5 * MIB)
    data.warm(ours + aligned)
    return Case(
        "npz_warm", "200 × 5 MiB stored NPZ, batches of 8", data.total_bytes(ours),
        {
            "numpy.load": lambda: peers.numpy_loop(ours),
            "preadv": peers.PreadvIntoReusedBuffer(ours),
            "dlio_fast": partial(drain, loader(ours)),
            "dlio_fast, aligned files": partial(drain, loader(aligned)),
            "dlio_fast, no crc": partial(drain, loader(ours, verify=False)),
        },
        [
            Goal("numpy's files, crc verified, against numpy.load", "dlio_fast", "numpy.load", 3.5, 4.5),
            Goal("the same against preadv into a reused buffer", "dlio_fast", "preadv", 0.75, 0.9),
            Goal(
                "aligned files, crc verified, against numpy.load",
                "dlio_fast, aligned files", "numpy.load", 3.5, 4.5,
            ),
            Goal(
                "the same against preadv into a reused buffer",
                "dlio_fast, aligned files", "preadv", 0.75, 0.9,
            ),
        ],
    )  # fmt: skip


def npz_cold() -> Case:
    plain, aligned = data.numpy_npz(200, DLIO_SHAPE), data.aligned_npz(200, 5 * MIB)
    size = data.total_bytes(plain)

    def contender(files: list[str], verify: bool):
        it = loader(files, direct=True, verify=verify)
        return lambda: drain(it)

    return Case(
        "npz_cold", "200 × 5 MiB stored NPZ, cold, direct://", size,
        {
            **peers.fio_reading(aligned),
            "aligned, crc": contender(aligned, True),
            "aligned, no crc": contender(aligned, False),
            "numpy's, crc": contender(plain, True),
            "numpy's, no crc": contender(plain, False),
        },
        [
            Goal("aligned files, crc, against the best of fio", "aligned, crc", "fio", 0.90, 0.97),
            Goal("numpy's files, crc, against the best of fio", "numpy's, crc", "fio", 0.90, 0.97),
            Goal("CPU-s/GB, aligned files, crc", "aligned, crc", None, 0.20, 0.15, "cpu", " s/GB"),
            Goal("CPU-s/GB, aligned files, no crc", "aligned, no crc", None, 0.12, 0.06, "cpu", " s/GB"),
            Goal("CPU-s/GB, numpy's files, crc", "numpy's, crc", None, 0.27, 0.20, "cpu", " s/GB"),
            Goal("CPU-s/GB, numpy's files, no crc", "numpy's, no crc", None, 0.22, 0.15, "cpu", " s/GB"),
        ],
        cache="cold (O_DIRECT, caches dropped before each run)",
        before_each=data.drop_caches,
        rounds=8,
    )  # fmt: skip


def npz_large() -> Case:
    files = data.numpy_npz(8, (140_000_000 // 2000, 2000))
    data.warm(files)
    return Case(
        "npz_large", "8 × 140 MB stored NPZ, batches of 1", data.total_bytes(files),
        {"numpy.load": lambda: peers.numpy_loop(files), "dlio_fast": partial(drain, loader(files, 1))},
        [Goal("against numpy.load", "dlio_fast", "numpy.load", 3.0, 4.5)],
    )  # fmt: skip


def npy_small() -> Case:
    files = data.numpy_npy(20_000, 50_000)
    data.warm(files)
    return Case(
        "npy_small", "20,000 × 50 KB NPY, batches of 64", data.total_bytes(files),
        {
            "numpy.load": lambda: peers.numpy_loop(files, None),
            "dlio_fast": partial(drain, loader(files, 64)),
        },
        [Goal("files/s against numpy.load", "dlio_fast", "numpy.load", 5.0, 8.0)],
        items=len(files),
    )  # fmt: skip


def npz_deflated() -> Case:
    files = data.numpy_npz(24, DLIO_SHAPE, compressed=True, high=16)
    data.warm(files)
    return Case(
        "npz_deflated", "24 × 5 MiB savez_compressed, uint8 values 0–15", 24 * 5 * MIB,
        {
            "numpy.load": lambda: peers.numpy_loop(files),
            "dlio_fast, 1 thread": partial(drain, loader(files, threads=1)),
            "dlio_fast, 2 threads": partial(drain, loader(files, threads=2)),
        },
        [
            Goal("one thread against numpy.load", "dlio_fast, 1 thread", "numpy.load", 2.0, 2.7),
            Goal("two threads against numpy.load", "dlio_fast, 2 threads", "numpy.load", 3.5, 5.0),
        ],
    )  # fmt: skip


def take(torch_loader) -> int:
    return sum(batch.nbytes for batch in torch_loader)


def torch_warm() -> Case:
    from dlio_fast.torch import DlioPyTorchDataset

    files = data.numpy_npz(200, DLIO_SHAPE)
    data.warm(files)
    folder = os.path.dirname(files[0])
    dataset = DlioPyTorchDataset(
        config_dict={"dataset": {"data_folder": folder, "format": "npz"}, "reader": {"batch_size": 8}},
        shuffle=True,
    )
    ours = torch.utils.data.DataLoader(dataset.batches(), batch_size=None)
    stock = peers.stock_loader(files, 8)
    return Case(
        "torch_warm", "PyTorch end to end, 200 × 5 MiB NPZ, batches of 8", data.total_bytes(files),
        {"stock DataLoader, 2 workers": lambda: take(stock), "dlio_fast": lambda: take(ours)},
        [Goal("against the stock DataLoader", "dlio_fast", "stock DataLoader, 2 workers", 4.5, 7.0)],
    )  # fmt: skip


def first_batch() -> Case:
    files = data.numpy_npy(20_000, 50_000)[:1000]
    data.warm(files)
    ours = loader(files, 8)
    stock = torch.utils.data.DataLoader(NumpyArrays(files), batch_size=8, num_workers=2)
    return Case(
        "first_batch", "From iter() to the first batch, 1,000 files", 8 * 50_000,
        {
            "stock DataLoader, 2 workers": lambda: next(iter(stock)) is None,
            "dlio_fast": lambda: next(iter(ours)) is None,
        },
        [
            Goal(
                "time against the stock DataLoader",
                "dlio_fast", "stock DataLoader, 2 workers", 0.2, 0.05, "seconds",
            )
        ],
        rounds=15,
    )  # fmt: skip


class NumpyArrays(peers.NumpyFiles):
    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.load(self.files[index]))


def generation() -> Case:
    count, size = 100, 5 * MIB
    folder = data.ROOT / "generated"

    def dlio() -> None:
        out = folder / "dlio"
        out.mkdir(parents=True, exist_ok=True)
        for i in range(count // 5):  # a fifth: it is slow
            rng = np.random.default_rng()
            x = (rng.random((size // 2048, 2048, 1), np.float32) * 255).astype(np.uint8)
            np.savez(out / f"f{i}.npz", x=x, y=np.zeros(1, np.int64))

    def dlio_bytes() -> int:
        dlio()
        return count // 5 * size

    def ours(scheme: str):
        config = {
            "dataset": {
                "format": "npz", "num_files_train": count, "record_dims": [size // 2048, 2048],
                "data_folder": f"{scheme}{folder / 'ours'}",
            }
        }  # fmt: skip
        parsed = df.load_config(config)
        return lambda: generate(parsed).bytes

    def fio_write() -> int:
        begin = time.perf_counter()
        out = folder / "fio"
        out.mkdir(parents=True, exist_ok=True)
        paths = [str(out / f"w{i}") for i in range(4)]
        for path in paths:
            with open(path, "wb") as file:
                os.posix_fallocate(file.fileno(), 0, count * size // 4)
        rate = peers.fio(paths, "psync", jobs=4, depth=1, rw="write")
        return int(rate * (time.perf_counter() - begin))

    def clean() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os.sync()

    return Case(
        "generation", "Generate 100 × 5 MiB NPZ", count * size,
        {
            "DLIO's method": dlio_bytes, "fio write": fio_write,
            "dlio_fast, direct": ours("direct://"), "dlio_fast, buffered": ours(""),
        },
        [
            Goal("direct against DLIO's method", "dlio_fast, direct", "DLIO's method", 10.0, 10.0),
            Goal("direct against fio's sequential write", "dlio_fast, direct", "fio write", 0.8, 0.95),
            Goal("buffered against DLIO's method", "dlio_fast, buffered", "DLIO's method", 3.0, 3.0),
        ],
        cache="no cache: files are written",
        before_each=clean,
        after=clean,
    )  # fmt: skip


def fill() -> Case:
    from dlio_fast import _core

    block = bytearray(MIB)

    def run() -> int:
        for i in range(2000):
            _core.fill(block, 123, i)
        return 2000 * MIB

    return Case(
        "fill", "The random fill alone, one core, 1 MiB block", 2000 * MIB, {"fill": run},
        [Goal("GB/s a core", "fill", None, 4.0, 9.0, "rate", " GB/s")], cache="in cache",
    )  # fmt: skip
