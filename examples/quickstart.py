"""A first look: generate a workload, train on it with PyTorch and O_DIRECT, compare with the stock loader.

Run it from anywhere, `make demo` does from the checkout: everything it writes lies below ./data.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

import dlio_fast as df
from dlio_fast.torch import create_pytorch_dataloader
from dlio_fast.workload.generate import generate
from dlio_fast.workload.metrics import Progress
from dlio_fast.workload.pagecache import cache_state, drop_caches, resident_fraction
from dlio_fast.workload.report import plot_throughput
from dlio_fast.workload.run import run

ROUNDS, SECONDS = 5, 1.5
PICTURE = "data/quickstart.png"


class NumpyFiles(torch.utils.data.Dataset[torch.Tensor]):
    """The stock way: a data set over numpy.load."""

    def __init__(self, files: Iterable[str]):
        self.files = list(files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(np.load(self.files[index])["x"])


def read(loader: Iterable[torch.Tensor]) -> tuple[float, int, dict[str, Any]]:
    """Read epochs for a while and use every byte: return GB/s, a sum over an epoch, and GB/s over time."""
    progress, samples, nbytes, seconds, total = Progress(), 0, 0, 0.0, 0
    started = time.perf_counter()
    progress.note(0.0, 0, 0)
    while seconds < SECONDS:
        total = 0
        for batch in loader:
            total += int(batch.flatten().view(torch.int64).sum())
            samples, nbytes = samples + len(batch), nbytes + batch.nbytes
            seconds = time.perf_counter() - started
            progress.note(seconds, samples, nbytes)
    return nbytes / seconds / 1e9, total, progress.series()


def middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the round with the median speed."""
    return sorted(rounds, key=lambda one: one["dlio_fast"][0])[len(rounds) // 2]


def main() -> None:
    # 1. The data set of a bundled workload. Files that are there already are checked and kept.
    cfg = df.load_config("quickstart")
    made = generate(cfg, skip_existing=True)
    print(f"data set: {made.files} files written, {made.skipped} kept in {made.folder}, {made.seconds:.1f} s")

    # 2. Its training: PyTorch, shuffled, past the page cache, with emulated computation.
    print(f"\ntraining, {cfg.train.epochs} epochs from {cfg.data_address} through PyTorch:")
    result = run(cfg)
    for phase in result.phases:
        m = phase.metrics
        print(
            f"  epoch {phase.epoch}: {m.samples_per_second:6.1f} samples/s  {m.gb_per_second:5.2f} GB/s  "
            f"AU {m.au_percent:4.1f} %  stall {m.stall_seconds:.3f} s"
        )

    # 3. The same batches of the same files through the stock loader and ours: warm cache, no computation.
    settings = {"shuffle": False, "num_workers": 0}
    ours = create_pytorch_dataloader(cfg, data_folder=made.folder, **settings)
    files = ours.source.dataset.files
    stock = torch.utils.data.DataLoader(NumpyFiles(files), batch_size=8, num_workers=2, prefetch_factor=2)
    loaders = {"dlio_fast": ours, "stock DataLoader": stock}
    sums = {name: read(loader)[1] for name, loader in loaders.items()}  # warms the page cache, too
    assert len(set(sums.values())) == 1, "the two loaders must deliver the same bytes"
    cache = cache_state(resident_fraction(files))
    print(f"\nthe same files in the same batches of 8, page cache {cache}, no computation, GB/s:")
    rounds = []
    for number in range(1, ROUNDS + 1):
        rounds.append({name: read(loader) for name, loader in loaders.items()})
        speeds = (f"{name} {one[0]:5.2f}" for name, one in rounds[-1].items())
        print(f"  round {number}:", *speeds, sep="  ")
    ratio = statistics.median(r["dlio_fast"][0] / r["stock DataLoader"][0] for r in rounds)
    medians = {name: statistics.median(r[name][0] for r in rounds) for name in loaders}
    print("  median: ", *(f"{name} {speed:5.2f}" for name, speed in medians.items()), sep="  ")
    print(f"  ratio: {ratio:.1f}, the median of the pairs; stock: DataLoader(num_workers=2) over numpy.load")

    # 4. Past the page cache, which was emptied before.
    direct = create_pytorch_dataloader(cfg, data_folder=f"direct://{made.folder}", **settings)
    lines = {f"{name}, page cache {cache}": one[2] for name, one in middle(rounds).items()}
    how, cache = drop_caches(files), cache_state(resident_fraction(files))
    speed, _, lines[f"dlio_fast, direct://, page cache {cache}"] = read(direct)
    refused = direct.source.stats()["fallback_reason"]
    note = f", O_DIRECT was refused: {refused}" if refused else ""
    print(f"\ndirect:// with the page cache {cache} ({how}): {speed:.2f} GB/s{note}")

    # 5. The picture.
    picture = plot_throughput(
        PICTURE,
        lines,
        f"{len(files)} NPZ files of 4 MiB into PyTorch, over and over",
        "Batches of 8, every byte used. Stock: 2 workers over numpy.load, started anew each epoch, "
        f"its default. Ratio {ratio:.1f}.",
    )
    print(f"picture: {picture.resolve()}")


if __name__ == "__main__":
    main()
