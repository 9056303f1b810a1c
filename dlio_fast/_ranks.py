"""Which of how many processes this one is."""

from __future__ import annotations

import operator
import os
import sys
from collections.abc import Mapping
from typing import Any

LAUNCHERS = (
    # torchrun, and all that set up torch.distributed's "env://"
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # MPICH, Intel MPI, Cray
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),  # MVAPICH2
    # A step that srun has launched. The shell of an sbatch script has SLURM_PROCID and SLURM_NTASKS too,
    # but is alone.
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
"""The environment variables of rank and world size that launchers set, the first found counts."""


def find_ranks(
    rank: int | None = None,
    world_size: int | None = None,
    *,
    shard: bool = True,
    environ: Mapping[str, str] = os.environ,
) -> tuple[int, int, str]:
    """Return rank, world size, and where they come from.

    Those given count first; then torch.distributed and jax.distributed where this process has initialised
    them; then the environment variables of torchrun, Open MPI, MPICH, MVAPICH2 or a Slurm step; else the
    process is alone.

    Parameters
    ----------
    rank, world_size : int, optional
        Both or neither.
    shard : bool
        False: the process reads everything, whoever shares the data out.

    Raises
    ------
    ValueError
        Impossible numbers; names where they come from.
    """
    if rank is not None or world_size is not None:
        if rank is None or world_size is None:
            raise ValueError(f"give rank and world_size together, not rank {rank}, world_size {world_size}")
        if not shard:
            raise ValueError("shard=False reads everything: leave rank and world_size out")
        return _checked(operator.index(rank), operator.index(world_size), "arguments")
    if not shard:
        return 0, 1, "shard=False"
    return _torch_ranks() or _jax_ranks() or _launcher_ranks(environ) or (0, 1, "single process")


def _checked(rank: int, world_size: int, source: str) -> tuple[int, int, str]:
    if world_size < 1 or not 0 <= rank < world_size:
        raise ValueError(f"need 0 <= rank < world_size, not rank {rank} of {world_size} (from {source})")
    return rank, world_size, source


def _torch_ranks() -> tuple[int, int, str] | None:
    distributed: Any = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return _checked(distributed.get_rank(), distributed.get_world_size(), "torch.distributed")


def _jax_ranks() -> tuple[int, int, str] | None:
    jax: Any = sys.modules.get("jax")
    initialized = getattr(getattr(jax, "distributed", None), "is_initialized", None)
    if initialized is None or not initialized():
        return None
    return _checked(jax.process_index(), jax.process_count(), "jax.distributed")


def _launcher_ranks(environ: Mapping[str, str]) -> tuple[int, int, str] | None:
    for rank, world_size in LAUNCHERS:
        if rank in environ and world_size in environ:
            source = f"{rank} and {world_size} of the environment"
            try:
                return _checked(int(environ[rank]), int(environ[world_size]), source)
            except ValueError:
                raise ValueError(
                    f"{source} are {environ[rank]!r} and {environ[world_size]!r}: no rank of a world; "
                    f"give rank and world_size, or shard=False"
                ) from None
    return None
