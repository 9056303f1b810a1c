"""Throughput of single operations under pytest-benchmark; `python -m benchmarks` compares them with peers."""

from __future__ import annotations

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast import _core

MIB = 1 << 20


@pytest.fixture(scope="module")
def npz_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("npz")
    rng = np.random.default_rng(1)
    for i in range(16):
        np.savez(folder / f"f{i:02d}.npz", x=rng.integers(0, 256, (2560, 2048), dtype=np.uint8))
    return sorted(map(str, folder.iterdir()))


@pytest.mark.parametrize("scheme", ["", "direct://"], ids=["buffered", "direct"])
def test_loader_over_npz(benchmark, npz_files, scheme):
    loader = df.Loader(df.Dataset.from_files([scheme + path for path in npz_files]), batch_size=8)
    batches = benchmark(lambda: [len(batch["x"]) for batch in loader])
    assert sum(batches) == len(npz_files)


def test_load_npz(benchmark, npz_files):
    def load():
        with df.load(npz_files[0]) as npz:
            return npz["x"]

    assert benchmark(load).nbytes == 5 * MIB


def test_numpy_load_npz(benchmark, npz_files):
    def load():
        with np.load(npz_files[0]) as npz:
            return npz["x"]

    assert benchmark(load).nbytes == 5 * MIB


def test_read_many(benchmark, npz_files):
    assert benchmark(lambda: sum(buffer.nbytes for _, buffer in df.read_many(npz_files))) > 16 * 5 * MIB


@pytest.mark.parametrize("implementation", _core.crc32_implementations())
def test_crc32(benchmark, implementation):
    block = np.random.default_rng(1).bytes(MIB)
    assert benchmark(_core.crc32, block, implementation=implementation) == _core.crc32(block)


def test_fill(benchmark):
    block = bytearray(MIB)
    benchmark(_core.fill, block, 1)
    assert any(block)


def test_sampler_order(benchmark):
    sampler = df.pipeline.Sampler(10**11, shuffle=True, seed=1)
    assert len(np.unique(benchmark(sampler.ids, 0, 10**10, 4096))) == 4096
