"""Train a small 3-D CNN on volumes with PyTorch, interrupt it in mid-epoch and resume it exactly.

Run it from anywhere: everything it writes lies below ./data.

    python examples/train_torch.py
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from dlio_fast.torch import DlioPyTorchDataset

DATA, CHECKPOINT = Path("data/train_torch"), Path("data/train_torch_checkpoint.pt")
FILES, SAMPLES_A_FILE, SIDE, CLASSES = 24, 32, 16, 3
EPOCHS, BATCH, LEARNING_RATE = 4, 32, 0.005


def generate() -> None:
    """Write NPZ files as DLIO lays them out: `x`, its last axis the samples, and their classes `y`.

    A sample is a noisy ball in a volume; its class is the ball's size.
    """
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    rng = np.random.default_rng(0)
    grid = np.mgrid[:SIDE, :SIDE, :SIDE, :1][:3]
    for file in range(FILES):
        y = rng.integers(0, CLASSES, SAMPLES_A_FILE)
        centers = rng.uniform(0.3 * SIDE, 0.7 * SIDE, (3, 1, 1, 1, SAMPLES_A_FILE))
        x = (np.square(grid - centers).sum(0) < np.square(2 + 1.5 * y)).astype(np.float32)
        x += rng.normal(0, 0.3, x.shape)
        np.savez(DATA / f"balls_{file:03d}_of_{FILES}.npz", x=x.astype(np.float32), y=y)


class Training:
    """A model, its optimizer, and where in the data it is."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.model = nn.Sequential(
            nn.Conv3d(1, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv3d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool3d(1),
            nn.Flatten(),
            nn.Linear(16, CLASSES),
        )
        self.optimizer = torch.optim.Adam(self.model.parameters(), LEARNING_RATE)
        self.dataset = DlioPyTorchDataset(
            data_folder=DATA, batch_size=BATCH, shuffle="files", seed=7, drop_last=True, return_labels=True
        )
        self.epoch = 0

    def save(self) -> None:
        """Write a checkpoint: the model, the optimizer, and the data's next batch."""
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        torch.save({**parts, "data": self.dataset.state_dict()}, CHECKPOINT)

    def restore(self) -> None:
        """Go on from the checkpoint, with the exact next batch."""
        saved = torch.load(CHECKPOINT)
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.dataset.load_state_dict(saved["data"])
        self.epoch = saved["data"]["epoch"]

    def run(self, stop_after: int | None = None) -> None:
        """Train to the end, or save and stop after so many steps."""
        # The batches are ready-made, and read ahead on threads: no workers are needed.
        batches = DataLoader(self.dataset.batches(), batch_size=None)
        steps = 0
        for epoch in range(self.epoch, EPOCHS):
            began, losses = time.perf_counter(), []
            for x, y in batches:
                losses.append(self.step(x, y))
                steps += 1
                if steps == stop_after:
                    self.save()
                    print(f"  epoch {epoch}: stopped after {len(losses)} steps, checkpoint in {CHECKPOINT}")
                    return
            seconds = time.perf_counter() - began
            print(f"  epoch {epoch}: {len(losses)} steps, mean loss {np.mean(losses):.3f}, {seconds:.1f} s")

    def step(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Take one step of the optimizer; return the loss before it."""
        loss = nn.functional.cross_entropy(self.model(x[:, None]), y)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.item()


def main() -> None:
    print(f"{FILES} NPZ files of {SAMPLES_A_FILE} volumes in {DATA}")
    generate()
    print("training without interruption:")
    whole = Training()
    whole.run()
    print("the same, interrupted in mid-epoch:")
    Training().run(stop_after=30)
    print("and resumed:")
    resumed = Training()
    resumed.restore()
    resumed.run()
    pairs = zip(whole.model.parameters(), resumed.model.parameters(), strict=True)
    same = all(torch.equal(a, b) for a, b in pairs)
    print(f"the resumed training ended with {'exactly the same' if same else 'OTHER'} parameters")


if __name__ == "__main__":
    main()
