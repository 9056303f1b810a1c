"""Train a small classifier with JAX, data-parallel over four devices, interrupt it and resume it exactly.

The devices are virtual ones on the CPU; on a machine with accelerators leave the XLA flag out. Run it from
anywhere: everything it writes lies below ./data.

    python examples/train_jax.py
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dlio_fast.jax import DlioJaxDataset

DATA, CHECKPOINT = Path("data/train_jax"), Path("data/train_jax_checkpoint")
FILES, SAMPLES_A_FILE, SIDE, CLASSES = 32, 64, 32, 4
EPOCHS, BATCH, LEARNING_RATE = 4, 64, 0.05

Parameters = dict[str, jax.Array]


def generate() -> None:
    """Write NPZ files as DLIO lays them out: `x`, its last axis the samples, and their classes `y`.

    A sample is a noisy pattern of stripes; its class is their direction.
    """
    shutil.rmtree(DATA, ignore_errors=True)
    DATA.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE, :1][:2]
    for file in range(FILES):
        y = rng.integers(0, CLASSES, SAMPLES_A_FILE)
        angle, phase = y * np.pi / CLASSES, rng.uniform(0, 2 * np.pi, SAMPLES_A_FILE)
        x = np.sin(0.8 * (rows * np.sin(angle) + columns * np.cos(angle)) + phase)
        x += rng.normal(0, 1.5, x.shape)
        np.savez(DATA / f"stripes_{file:03d}_of_{FILES}.npz", x=x.astype(np.float32), y=y)


def initial_parameters() -> Parameters:
    """Return the weights of two convolutions and a linear layer."""
    keys = jax.random.split(jax.random.key(1), 3)
    return {
        "conv1": jax.random.normal(keys[0], (8, 1, 7, 7)) / 7,
        "conv2": jax.random.normal(keys[1], (16, 8, 5, 5)) / (5 * 8**0.5),
        "dense": jax.random.normal(keys[2], (16, CLASSES)) / 4,
        "bias": jnp.zeros(CLASSES),
    }


def loss(parameters: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of a batch."""
    hidden = x[:, None]
    for name in ("conv1", "conv2"):
        hidden = jax.nn.relu(jax.lax.conv(hidden, parameters[name], (2, 2), "SAME"))
    logits = hidden.mean((2, 3)) @ parameters["dense"] + parameters["bias"]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()


@jax.jit
def step(parameters: Parameters, x: jax.Array, y: jax.Array) -> tuple[Parameters, jax.Array]:
    """Return the parameters after one step of gradient descent, and the loss before it."""
    value, gradients = jax.value_and_grad(loss)(parameters, x, y)
    return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, parameters, gradients), value


def save(parameters: Parameters, dataset: DlioJaxDataset) -> None:
    """Write a checkpoint: the parameters, and where in the data the training is."""
    CHECKPOINT.mkdir(parents=True, exist_ok=True)
    np.save(CHECKPOINT / "parameters.npy", ravel_pytree(parameters)[0])
    (CHECKPOINT / "data.json").write_text(json.dumps(dataset.state_dict()))


def restore(dataset: DlioJaxDataset) -> tuple[Parameters, int]:
    """Read a checkpoint: return the parameters and the epoch that goes on, from the data's next batch."""
    parameters: Parameters = ravel_pytree(initial_parameters())[1](np.load(CHECKPOINT / "parameters.npy"))
    state = json.loads((CHECKPOINT / "data.json").read_text())
    dataset.load_state_dict(state)
    return parameters, state["epoch"]


def over_devices(*axes: str) -> NamedSharding:
    """Return a sharding over all devices: ("data",) splits the first axis, () copies to each."""
    mesh = Mesh(np.array(jax.devices()), ("data",))
    return NamedSharding(mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def train(stop_after: int | None = None, resume: bool = False) -> Parameters | None:
    """Train from the beginning, or from a checkpoint; None stands for a training that was stopped early."""
    dataset = DlioJaxDataset(
        data_folder=DATA, batch_size=BATCH, shuffle=True, seed=7, drop_last=True, return_labels=True
    )
    initial, first_epoch = restore(dataset) if resume else (initial_parameters(), 0)
    parameters: Parameters = jax.device_put(initial, over_devices())

    steps = 0
    for epoch in range(first_epoch, EPOCHS):
        began, losses = time.perf_counter(), []
        for x, y in dataset.device_iter(over_devices("data")):
            parameters, value = step(parameters, x, y)
            losses.append(value)
            steps += 1
            if steps == stop_after:
                save(parameters, dataset)
                print(f"  epoch {epoch}: stopped after {len(losses)} steps, checkpoint in {CHECKPOINT}")
                return None
        mean = float(jnp.stack(losses).mean())
        seconds = time.perf_counter() - began
        print(f"  epoch {epoch}: {len(losses)} steps, mean loss {mean:.3f}, {seconds:.1f} s")
    return parameters


def main() -> None:
    print(f"{FILES} NPZ files of {SAMPLES_A_FILE} samples in {DATA}")
    generate()
    print(f"training over {len(jax.devices())} devices, without interruption:")
    expected = train()
    print("the same, interrupted in mid-epoch:")
    train(stop_after=50)
    print("and resumed:")
    resumed = train(resume=True)
    assert expected and resumed
    same = jax.tree.all(jax.tree.map(np.array_equal, expected, resumed))
    print(f"the resumed training ended with {'exactly the same' if same else 'OTHER'} parameters")


if __name__ == "__main__":
    main()
