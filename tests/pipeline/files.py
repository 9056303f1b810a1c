"""Small data sets to read."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_files(folder: Path, samples: list[np.ndarray], names: str = "f{:03d}.npz", **others) -> list[str]:
    """A file a sample, which is its `x` (an .npy its whole); others are further fields. Returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [str(folder / names.format(i)) for i in range(len(samples))]
    for i, (path, sample) in enumerate(zip(paths, samples, strict=True)):
        if path.endswith(".npy"):
            np.save(path, sample)
        else:
            np.savez(path, x=sample, **{name: values[i] for name, values in others.items()})
    return paths


def numbered(count: int, shape: tuple[int, ...] = (2, 3), dtype="i8") -> list[np.ndarray]:
    """Arrays of which no two have an element in common, as far as the dtype reaches."""
    size = int(np.prod(shape))
    return [np.arange(i * size, (i + 1) * size).astype(dtype).reshape(shape) for i in range(count)]
