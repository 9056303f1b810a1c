"""All cases, by name."""

from __future__ import annotations

from collections.abc import Callable

from .cases import (
    fill,
    first_batch,
    generation,
    npy_small,
    npz_cold,
    npz_deflated,
    npz_large,
    npz_warm,
    torch_warm,
)
from .jax_cases import jax_warm
from .runner import Case
from .tensorflow_cases import tensorflow_warm
from .torch_cases import torch_direct, torch_peers, torch_small, torch_wrapper

CASES: dict[str, Callable[[], Case]] = {
    case.__name__: case
    for case in (
        npz_warm, npz_cold, npz_large, npy_small, npz_deflated, torch_warm, torch_small, torch_wrapper,
        torch_direct, torch_peers, tensorflow_warm, jax_warm, first_batch, generation, fill,
    )
}  # fmt: skip
