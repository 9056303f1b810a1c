"""What the tests of the JAX wrapper share: four devices on the CPU, and data sets that tell samples apart."""

from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

DEVICES = 4
jax.config.update("jax_num_cpu_devices", DEVICES)  # before any test makes JAX look for its devices


def sharding(*axes):
    """A sharding over all devices; `axes` says for each dimension of an array whether it is split ("d")."""
    return NamedSharding(Mesh(np.array(jax.devices()), ("d",)), PartitionSpec(*axes))


def numbers(batches):
    """The numbers of the samples in batches of the fixture `folder`, batch by batch."""
    return [np.asarray(batch)[:, 0, 0].tolist() for batch in batches]


def write_planes(folder: Path, count: int, side: int = 64, dtype="f4") -> Path:
    """Write a file a sample, a square whose every element is the sample's number."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        np.savez(folder / f"plane_{i:03d}.npz", x=np.full((side, side, 1), i, dtype), y=np.array([i]))
    return folder


def damaged_copy(folder: Path, to: Path, file: int = 2) -> Path:
    """The data set with one byte of one file's payload changed."""
    (to / "train").mkdir(parents=True)
    for path in sorted((folder / "train").iterdir()):
        (to / "train" / path.name).write_bytes(path.read_bytes())
    path = sorted((to / "train").iterdir())[file]
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)
    return to


def deliveries(batches):
    """What comes of iterating to the end, exceptions in their places."""
    got = []
    while True:
        try:
            got.append(next(batches))
        except StopIteration:
            return got
        except Exception as error:
            got.append(error)
