"""Options of the framework wrappers, as a configuration gives them."""

from __future__ import annotations

from typing import Annotated, Literal

from .data import Names
from .fields import Count, Free, Limit, Positive, Section, Seed, ShuffleKind, words

FRAMEWORKS = ("pytorch", "tensorflow", "jax")


class ProfileSection(Section):
    """Options of a framework's wrapper that all frameworks share; absent ones follow `reader` and `train`."""

    batch_size: Positive | None = None
    shuffle: ShuffleKind | None = None
    shuffle_window: Count | None = None
    seed: Seed | None = None
    drop_last: bool | None = None
    pad: bool | None = None
    shard_strategy: Annotated[Literal["interleaved", "contiguous", "hash"], words()] | None = None
    fields: Names | None = None
    threads: Positive | None = None
    prefetch_bytes: Positive | None = None
    verify: bool | None = None


class PyTorchProfile(ProfileSection):
    """Options of the PyTorch wrapper."""

    num_workers: Count | None = None
    pin_memory: bool | None = None
    prefetch_factor: Positive | None = None
    persistent_workers: bool | None = None
    return_type: Annotated[Literal["tensor", "numpy", "bytes", "reader"], words()] | None = None
    distributed: Free = None


class TensorFlowProfile(ProfileSection):
    """Options of the TensorFlow wrapper; -1 stands for AUTOTUNE, and for ever."""

    shuffle_buffer_size: Count | None = None
    num_parallel_calls: Limit | None = None
    prefetch_buffer_size: Limit | None = None
    deterministic: bool | None = None
    drop_remainder: bool | None = None
    reshuffle_each_iteration: bool | None = None
    writable: bool | None = None
    ragged: Annotated[Literal["batch", "sample"], words()] | None = None
    repeat: Limit | None = None


class JaxProfile(ProfileSection):
    """Options of the JAX wrapper."""

    prefetch_buffer_size: Limit | None = None
    writable: bool | None = None


class ProfilesSection(Section):
    """One set of options a framework; ``pytorch_config`` and its like win over them."""

    pytorch: PyTorchProfile = PyTorchProfile()
    tensorflow: TensorFlowProfile = TensorFlowProfile()
    jax: JaxProfile = JaxProfile()
