"""Train a small classifier with Keras, interrupt it in mid-epoch and resume it exactly.

Run it from anywhere: everything it writes lies below ./data.

    python examples/train_tensorflow.py
"""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from dlio_fast.tensorflow import DlioTensorFlowDataset

DATA, CHECKPOINT = Path("data/train_tensorflow"), Path("data/train_tensorflow_checkpoint")
FILES, SAMPLES_A_FILE, SIDE, CLASSES = 32, 64, 32, 4
EPOCHS, BATCH, STOP_AFTER = 4, 64, 50


def generate() -> None:
    """Write NPZ files as DLIO lays them out: `x`, its last axis the samples, and their classes `y`.

    A sample is a noisy disc; its class is the quarter of the picture that it lies in.
    """
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE, :1][:2]
    for file in range(FILES):
        y = rng.integers(0, CLASSES, SAMPLES_A_FILE)
        row, column = (
            SIDE / 4 * (1 + 2 * half) + rng.uniform(-4, 4, SAMPLES_A_FILE) for half in divmod(y, 2)
        )
        x = (np.hypot(rows - row, columns - column) < SIDE / 8) + rng.normal(0, 1, (SIDE, SIDE, len(y)))
        np.savez(DATA / f"discs_{file:03d}_of_{FILES}.npz", x=x.astype(np.float32), y=y)


Model: TypeAlias = Any
"""A keras.Model, whose own types are too wide to check anything against."""


def compiled_model() -> Model:
    """Return a small convolutional network, the same one each time."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE)),
            keras.layers.Reshape((SIDE, SIDE, 1)),
            keras.layers.Conv2D(8, 5, 2, activation="relu"),
            keras.layers.Conv2D(16, 3, 2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.02), loss)
    return model


class Interrupting(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Writes a checkpoint after so many steps and stops: the model, and where in the data it is."""

    model: Model

    def __init__(self, dataset: DlioTensorFlowDataset, stop_after: int | None):
        super().__init__()
        self.dataset, self.stop_after, self.steps = dataset, stop_after, 0
        self.epoch, self.of_epoch = 0, 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.epoch, self.of_epoch = epoch, 0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.steps += 1
        self.of_epoch += 1
        if self.steps == self.stop_after:
            CHECKPOINT.mkdir(parents=True, exist_ok=True)
            self.model.save(CHECKPOINT / "model.keras")
            # tf.data has taken batches ahead: say how many of this epoch were trained on.
            (CHECKPOINT / "data.json").write_text(json.dumps(self.dataset.state_dict(batches=batch + 1)))
            print(f"  epoch {self.epoch}: stopped after {batch + 1} steps, checkpoint in {CHECKPOINT}")
            raise Stopped

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {})["loss"]
        print(f"  epoch {epoch}: {self.of_epoch} steps, mean loss {loss:.3f}")


class Stopped(Exception):
    """The training was interrupted."""


def restored(dataset: DlioTensorFlowDataset) -> tuple[Model, int]:
    """Read the checkpoint: return the model and the epoch that goes on, from the data's next batch."""
    state = json.loads((CHECKPOINT / "data.json").read_text())
    dataset.load_state_dict(state)
    return keras.models.load_model(CHECKPOINT / "model.keras"), state["epoch"]


def train(stop_after: int | None = None, resume: bool = False) -> Model:
    """Train from the beginning, or from the checkpoint, to the end or for so many steps."""
    dataset = DlioTensorFlowDataset(
        data_folder=DATA, batch_size=BATCH, shuffle=True, seed=7, return_labels=True
    )
    model, first = restored(dataset) if resume else (compiled_model(), 0)
    callback = Interrupting(dataset, stop_after)
    for epoch in range(first, EPOCHS):  # each is what is left of it, and the next one whole
        batches = dataset.create_dataset()
        model.fit(
            batches, initial_epoch=epoch, epochs=epoch + 1, shuffle=False, verbose=0, callbacks=[callback]
        )
    return model


def main() -> None:
    generate()
    print(f"{FILES} NPZ files of {SAMPLES_A_FILE} samples in {DATA}")
    print("training without interruption:")
    expected = train()
    print("the same, interrupted in mid-epoch:")
    with contextlib.suppress(Stopped):
        train(STOP_AFTER)
    print("and resumed:")
    resumed = train(resume=True)
    same = all(map(np.array_equal, expected.get_weights(), resumed.get_weights()))
    print(f"the resumed training ended with {'exactly the same' if same else 'OTHER'} parameters")


if __name__ == "__main__":
    main()
