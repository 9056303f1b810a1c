"""JPEG, PNG and CSV: reading beside Pillow in PyTorch's loader, generating beside DLIO's own way."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader

import dlio_fast as df
from dlio_fast.workload.generate import generate

from . import data
from .cases import take
from .peers import NumpyFiles
from .runner import Case, Goal
from .torch_cases import wrapper

SIDE, QUALITY = 1024, 86
"""Of a colour image that takes about 300 KB."""


def photographs(count: int) -> list[str]:
    """JPEG files of smooth colours under a little noise, as a camera has it."""

    def make(folder: Path) -> None:
        rng = np.random.default_rng(1)
        for i in range(count):
            coarse = Image.fromarray(rng.integers(0, 256, (SIDE // 16, SIDE // 16, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.int16)
            noisy = np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / f"f{i:04d}.jpeg", quality=QUALITY)

    return data.generated(f"jpeg_{count}x{SIDE}_{QUALITY}", make)


class PillowImages(NumpyFiles):
    """The stock way for images."""

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as image:
            return torch.from_numpy(np.array(image))


def jpeg_torch() -> Case:
    """simplejpeg is used where it is installed, as `make bench` does."""
    files, batch = photographs(240), 16
    data.warm(files)
    stock = DataLoader(PillowImages(files), batch_size=batch, num_workers=2)
    ours = wrapper(files, batch)
    pixels = len(files) * SIDE * SIDE * 3

    def whole(loader: DataLoader) -> int:
        assert take(loader) == pixels, "it must deliver everything"
        return pixels

    return Case(
        "jpeg_torch", "PyTorch, 240 × 300 KB JPEG, batches of 16", pixels,
        {"stock, 2 workers": lambda: whole(stock), "dlio_fast": lambda: whole(ours)},
        [Goal("images/s against Pillow in the stock DataLoader", "dlio_fast", "stock, 2 workers", 1.0, 1.3)],
        items=len(files),
    )  # fmt: skip


def _generation(format: str, count: int, dlio: Callable[[Path], object], **dataset) -> Case:
    folder = data.ROOT / f"generated_{format}"
    config = df.load_config(
        {
            "dataset": {
                "format": format,
                "num_files_train": count,
                "data_folder": str(folder / "ours"),
                **dataset,
            }
        }  # fmt: skip
    )
    payload = count * config.dataset.record_nbytes * (dataset.get("num_samples_per_file") or 1)

    def theirs() -> int:
        out = folder / "dlio"
        out.mkdir(parents=True, exist_ok=True)
        for i in range(count // 4):
            dlio(out / f"img_{i}.{format}")
        return payload // 4

    def ours() -> int:
        assert generate(config).files == count
        return payload

    def clean() -> None:
        shutil.rmtree(folder, ignore_errors=True)

    return Case(
        f"generate_{format}", f"Generate {count} {format} files", payload,
        {"DLIO's method": theirs, "dlio_fast": ours},
        [Goal("against DLIO's method", "dlio_fast", "DLIO's method", 1.5, 2.5)],
        cache="no cache: files are written", before_each=clean, after=clean,
    )  # fmt: skip


def _image(path: Path) -> None:
    kind = path.suffix[1:]
    noise = np.random.randint(255, size=(568, 568), dtype=np.uint8)
    Image.fromarray(noise).save(path, format=kind, bits=8)


def generate_jpeg() -> Case:
    return _generation("jpeg", 400, _image, record_dims=[568, 568])


def generate_png() -> Case:
    return _generation("png", 200, _image, record_dims=[568, 568])


def generate_csv() -> Case:
    import pandas as pd

    samples, columns = 4, 256 * 256

    def rows(path: Path) -> None:
        record = (np.random.default_rng().random(columns, np.float32) * 255).astype(np.uint8)
        pd.DataFrame(data=[record] * samples).to_csv(path, index=False, header=False)

    return _generation("csv", 20, rows, record_dims=[256, 256], num_samples_per_file=samples)
