"""Indexed binary: the cases of the table of targets."""

from __future__ import annotations

import os
import shutil
import struct

import numpy as np

import dlio_fast as df
from dlio_fast.workload.generate import generate

from . import data
from .cases import drain
from .runner import Case, Goal

SAMPLE, PER_FILE, FILES, BATCH = 2048, 8192, 16, 1024
MIB = 1 << 20


def config(folder, samples: int, count: int = FILES) -> df.Config:
    return df.load_config(
        {
            "dataset": {
                "format": "indexed_binary", "num_files_train": count, "num_samples_per_file": samples,
                "record_dims": [SAMPLE], "data_folder": str(folder),
            }
        }
    )  # fmt: skip


class PreadvLoop:
    """What a careful script does: files open, offsets at hand, each sample into its row of a reused batch."""

    def __init__(self, files: list[str]):
        self.files = files
        self.offsets = [np.fromfile(f"{path}.off.idx", np.uint64).tolist() for path in files]
        self.batch = memoryview(bytearray(BATCH * SAMPLE))

    def __call__(self) -> None:
        rows = [self.batch[i * SAMPLE : (i + 1) * SAMPLE] for i in range(BATCH)]
        order = np.random.default_rng(1).permutation(len(self.files) * PER_FILE)
        fds = [os.open(path, os.O_RDONLY) for path in self.files]
        for first in range(0, len(order), BATCH):
            for row, sample in zip(rows, order[first : first + BATCH].tolist(), strict=False):
                file, index = divmod(sample, PER_FILE)
                os.preadv(fds[file], [row], self.offsets[file][index])
        for fd in fds:
            os.close(fd)


def indexed_random() -> Case:
    made = data.generated("indexed_binary_small", lambda folder: generate(config(folder, PER_FILE)))
    files = [path for path in made if path.endswith(".indexed_binary")]
    data.warm(files)
    loader = df.Loader(df.Dataset.from_files(files), batch_size=BATCH, shuffle=True, seed=1)
    return Case(
        "indexed_random",
        f"{FILES * PER_FILE:,} samples of 2 KiB in {FILES} indexed binary files, random order, "
        f"batches of {BATCH}",
        data.total_bytes(files),
        {"os.preadv loop": PreadvLoop(files), "dlio_fast": lambda: drain(loader)},
        [Goal("samples/s against a Python os.preadv loop", "dlio_fast", "os.preadv loop", 3.0, 5.0)],
        items=FILES * PER_FILE,
    )


def indexed_generation() -> Case:
    count, samples = 32, 4 * MIB // SAMPLE
    folder = data.ROOT / "generated_indexed"

    def dlio() -> int:
        out = folder / "dlio"
        out.mkdir(parents=True, exist_ok=True)
        for i in range(count // 8):  # an eighth: it is slow
            records = np.random.randint(255, size=samples * SAMPLE, dtype=np.uint8)
            path = out / f"f{i}.indexed_binary"
            path.write_bytes(struct.pack("B" * len(records), *records))
            offsets = range(0, samples * SAMPLE, SAMPLE)
            (out / f"{path.name}.off.idx").write_bytes(struct.pack("Q" * samples, *offsets))
            (out / f"{path.name}.sz.idx").write_bytes(struct.pack("Q" * samples, *[SAMPLE] * samples))
        return count // 8 * samples * SAMPLE

    ours = config(folder / "ours", samples, count)
    return Case(
        "indexed_generation", "Generate 32 indexed binary files of 4 MiB", count * samples * SAMPLE,
        {"DLIO's method": dlio, "dlio_fast": lambda: generate(ours).bytes},
        [Goal("against DLIO's method", "dlio_fast", "DLIO's method", 5.0, 10.0)],
        cache="no cache: files are written",
        before_each=lambda: shutil.rmtree(folder, ignore_errors=True),
        after=lambda: shutil.rmtree(folder, ignore_errors=True),
    )  # fmt: skip
