"""Random loaders over random files for many minutes: right to the byte, and nothing left behind."""

import ctypes
import os
import random
import time

import numpy as np
import pytest

import dlio_fast as df

pytestmark = pytest.mark.soak

SECONDS = float(os.environ.get("DLIO_FAST_SOAK_SECONDS", 900))


def random_files(folder, rng: random.Random) -> list[np.ndarray]:
    """A few files of one random kind; returns the arrays in the order of the files."""
    folder.mkdir()
    npz, compressed = rng.random() < 0.7, rng.random() < 0.3
    dtype = rng.choice(["u1", "<f4", ">i2", "<f8", "<c8"])
    shape = tuple(rng.choice([1, 3, 64, 257, 1000]) for _ in range(rng.choice([1, 2, 2, 3])))[:3]
    if np.prod(shape) > 4_000_000:
        shape = shape[:2]
    values = np.random.default_rng(rng.getrandbits(32))
    arrays = []
    for i in range(rng.randint(1, 30)):
        x = values.integers(0, 255, shape).astype(dtype)
        save = np.savez_compressed if compressed else np.savez
        save(folder / f"f{i:03d}.npz", x=x) if npz else np.save(folder / f"f{i:03d}.npy", x)
        arrays.append(x)
    return arrays


def resources() -> tuple[int, int, int]:
    """Threads, open files and resident bytes, without what malloc merely has not given back."""
    ctypes.CDLL(None).malloc_trim(0)
    resident = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd")), resident * 1024


@pytest.mark.timeout(SECONDS * 2 + 600)
def test_random_loaders_deliver_the_right_bytes_and_leave_nothing_behind(tmp_path):
    rng = random.Random(int(os.environ.get("DLIO_FAST_SOAK_SEED", 1)))
    end, rounds, before = time.monotonic() + SECONDS, 0, None
    while time.monotonic() < end:
        arrays = random_files(tmp_path / f"r{rounds}", rng)
        scheme = rng.choice(["", "direct://"])
        dataset = df.Dataset.from_files(f"{scheme}{tmp_path}/r{rounds}")
        loader = df.Loader(
            dataset,
            batch_size=rng.randint(1, 9),
            shuffle=rng.random() < 0.7,
            seed=rng.getrandbits(16),
            drop_last=rng.random() < 0.3,
            threads=rng.randint(1, 12),
            prefetch_bytes=rng.choice([1, 1 << 16, 1 << 20, 1 << 26]),
        )
        for epoch in range(rng.randint(1, 3)):
            order = loader.sampler.ids(epoch, 0, len(dataset))
            held, stop_at, position = [], rng.choice([None, rng.randint(0, 5)]), 0
            for number, batch in enumerate(loader):
                if number == stop_at:
                    break
                held.append((position, batch["x"]))
                position += len(batch["x"])
            for start, x in held:
                expected = np.stack([arrays[i] for i in order[start : start + len(x)]])
                np.testing.assert_array_equal(x, expected)
        loader.close()
        dataset.close()
        for path in (tmp_path / f"r{rounds}").iterdir():
            path.unlink()
        del loader, dataset, held, arrays
        rounds += 1
        if rounds == 20:
            before = resources()
    threads, files, resident = resources()
    assert before is not None, "too short to judge"
    assert threads <= before[0] and files <= before[1]
    assert resident < before[2] + (128 << 20)
