"""The files that are read, made once and kept under ``data/bench``."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np

import dlio_fast as df
from dlio_fast.workload.generate import generate

ROOT = Path(os.environ.get("DLIO_FAST_BENCH_DIR", "data/bench")).resolve()


def made(name: str, make) -> Path:
    """A folder of files: `make` makes them where they are not there yet."""
    folder = ROOT / name
    if not (folder / ".complete").exists():
        folder.mkdir(parents=True, exist_ok=True)
        make(folder)
        subprocess.run(["sync"], check=True)  # or the reads compete with the write-back
        (folder / ".complete").touch()
    return folder


def generated(name: str, make) -> list[str]:
    """The paths of the files of such a folder."""
    folder = made(name, make)
    return sorted(str(path) for path in folder.rglob("*") if path.is_file() and path.name != ".complete")


def numpy_npz(count: int, shape: tuple[int, ...], *, compressed: bool = False, high: int = 256) -> list[str]:
    """Files as ``numpy.savez`` writes them: the payload at an odd offset."""

    def make(folder: Path) -> None:
        rng = np.random.default_rng(1)
        save = np.savez_compressed if compressed else np.savez
        for i in range(count):
            x = rng.integers(0, high, shape, dtype=np.uint8)
            save(folder / f"f{i:05d}.npz", x=x, y=np.zeros(1, np.int64))

    kind = "deflated" if compressed else "stored"
    return generated(f"npz_{kind}_{count}x{'x'.join(map(str, shape))}", make)


def aligned_npz(count: int, nbytes: int) -> list[str]:
    """Files as ``dlio-fast generate`` writes them: the payload on a page boundary."""

    def make(folder: Path) -> None:
        config = {
            "dataset": {
                "format": "npz", "num_files_train": count, "record_dims": [nbytes // 2048, 2048],
                "data_folder": str(folder),
            }
        }  # fmt: skip
        generate(df.load_config(config))

    return generated(f"npz_aligned_{count}x{nbytes}", make)


def numpy_npy(count: int, *shape: int) -> list[str]:
    """Small NPY files of bytes, 1,000 a folder."""

    def make(folder: Path) -> None:
        rng = np.random.default_rng(1)
        for i in range(count):
            sub = folder / f"{i // 1000:03d}"
            sub.mkdir(exist_ok=True)
            np.save(sub / f"f{i:06d}.npy", rng.integers(0, 256, shape, dtype=np.uint8))

    return generated(f"npy_{count}x{'x'.join(map(str, shape))}", make)


def total_bytes(files: list[str]) -> int:
    return sum(os.path.getsize(path) for path in files)


def warm(files: list[str]) -> None:
    """Bring the files into the page cache."""
    for path in files:
        with open(path, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass


def drop_caches() -> None:
    """Empty the page cache. Needs root."""
    subprocess.run(["sync"], check=True)
    Path("/proc/sys/vm/drop_caches").write_text("3")
