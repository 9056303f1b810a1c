"""Small data sets in DLIO's layout, written by numpy."""

import os
import time

import numpy as np
import pytest

FILES = 7
SAMPLES_A_FILE = 3
SAMPLES = FILES * SAMPLES_A_FILE


def payload(i):
    """Sample i's `x`; its first element is i."""
    x = np.random.default_rng(i).integers(0, 1000, (16, 20), np.int32)
    x[0, 0] = i
    return x


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """7 NPZ files with 3 samples each: `x` of 16 x 20 int32, `y` the sample's number."""
    root = tmp_path_factory.mktemp("data")
    (root / "train").mkdir()
    for file in range(FILES):
        numbers = range(file * SAMPLES_A_FILE, (file + 1) * SAMPLES_A_FILE)
        x = np.stack([payload(i) for i in numbers], axis=-1)
        np.savez(root / "train" / f"img_{file}_of_{FILES}.npz", x=x, y=np.array(numbers))
    return root


RAGGED_SIDES = (8, 64, 17, 40, 8, 33)


@pytest.fixture(scope="session")
def ragged_folder(tmp_path_factory):
    """6 NPZ files with one sample each, of different sizes."""
    root = tmp_path_factory.mktemp("ragged")
    for i, side in enumerate(RAGGED_SIDES):
        np.savez(root / f"img_{i}.npz", x=np.full((side, side, 1), i, np.uint8), y=np.array([i]))
    return root


def tasks():
    """Threads of this process, those of C too."""
    return len(os.listdir("/proc/self/task"))


def tasks_come_down_to(number):
    """Whether there are no more threads than that; one that has ended is listed a moment longer."""
    deadline = time.monotonic() + 5
    while tasks() > number and time.monotonic() < deadline:
        os.sched_yield()
    return tasks() <= number


def numbers(batches):
    """The numbers of the samples in batches of `x`."""
    return [int(x.flatten()[0]) for batch in batches for x in batch]


def damaged_copy(folder, to):
    """The data set with one byte of the third file's payload changed, that of samples 6, 7 and 8."""
    for file in sorted((folder / "train").iterdir()):
        (to / file.name).write_bytes(file.read_bytes())
    path = sorted(to.iterdir())[2]
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)
