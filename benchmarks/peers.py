"""What dlio_fast is compared with."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

THREADS = len(os.sched_getaffinity(0))


def numpy_loop(files: list[str], key: str | None = "x") -> None:
    """One array after the other, as most training scripts begin."""
    for path in files:
        loaded = np.load(path)
        if key is not None:
            with loaded:
                loaded[key]


class PreadvIntoReusedBuffer:
    """The limit for reads through the page cache: no parsing, no checksum, one batch of huge pages."""

    def __init__(self, files: list[str], batch: int = 8, block: int = 256 << 10):
        self.files, self.batch, self.block = files, batch, block
        self.slot = -(-max(os.path.getsize(path) for path in files) // 4096) * 4096
        self.memory = mmap.mmap(-1, self.slot * batch + (2 << 20))
        self.memory.madvise(mmap.MADV_HUGEPAGE)
        self.view = memoryview(self.memory)

    def _work(self, first: int) -> None:
        for i in range(first, len(self.files), THREADS):
            fd = os.open(self.files[i], os.O_RDONLY)
            size, done = os.fstat(fd).st_size, 0
            base = i % self.batch * self.slot
            while done < size:
                part = min(size - done, self.block)
                done += os.preadv(fd, [self.view[base + done : base + done + part]], done)
            os.close(fd)

    def __call__(self) -> None:
        threads = [threading.Thread(target=self._work, args=(t,)) for t in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class NumpyFiles(torch.utils.data.Dataset):
    """The stock PyTorch way: a map-style data set over numpy.load."""

    def __init__(self, files: list[str]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with np.load(self.files[index]) as npz:
            return torch.from_numpy(npz["x"])


def stock_loader(files: list[str], batch_size: int, workers: int = 2) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(
        NumpyFiles(files), batch_size=batch_size, num_workers=workers, prefetch_factor=2, shuffle=True
    )


def fio_reading(files: list[str]) -> dict[str, Callable[[], int]]:
    """fio over the files as contenders that return bytes: those that it would have read in the time taken.

    It starts up and lays out threads outside of what it measures, so that its own figure counts.
    """

    def run(engine: str, jobs: int, depth: int) -> int:
        begin = time.perf_counter()
        rate = fio(files, engine, jobs=jobs, depth=depth)
        return int(rate * (time.perf_counter() - begin))

    return {"fio psync": partial(run, "psync", 8, 1), "fio io_uring": partial(run, "io_uring", 4, 8)}


def fio(files: list[str], engine: str, *, jobs: int, depth: int, rw: str = "read") -> float:
    """Bytes per second of fio over the files, each read once, O_DIRECT, 1 MiB requests."""
    folder = os.path.commonpath([os.path.dirname(path) for path in files])
    # relative: a line of a job file has 4,096 characters at most
    names = [os.path.relpath(path, folder) for path in files]
    lines = [
        "[global]", f"directory={folder}", f"ioengine={engine}", f"iodepth={depth}", "direct=1", "bs=1m",
        f"rw={rw}", "thread=1", "group_reporting=1", "file_service_type=sequential", "invalidate=0",
        *(["fixedbufs=1"] if engine == "io_uring" else []),
    ]  # fmt: skip
    for job in range(jobs):
        lines += [f"[job{job}]", "filename=" + ":".join(names[job::jobs])]
    with tempfile.NamedTemporaryFile("w", suffix=".fio") as spec:
        spec.write("\n".join(lines) + "\n")
        spec.flush()
        out = subprocess.run(
            ["fio", "--output-format=json", *(["--readonly"] if rw == "read" else []), spec.name],
            check=True, stdout=subprocess.PIPE, text=True,
        ).stdout  # fmt: skip
    report = json.loads(out[out.index("{") :])
    return sum(job["read" if rw == "read" else "write"]["bw_bytes"] for job in report["jobs"])
