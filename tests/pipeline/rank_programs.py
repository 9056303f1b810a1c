"""What the processes of a launched job do: ``python -m tests.pipeline.rank_programs PROGRAM FOLDER OUT ...``.

Each reads its share of a folder of numbered files and notes in a file of its own which samples it got.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

import dlio_fast as df

BATCH_SIZE, SEED = 3, 11
LIES = {"RANK": "6", "WORLD_SIZE": "7"}


def share(folder: str, **options: Any) -> dict[str, Any]:
    """What a loader of this process delivers, and which share it takes that to be."""
    dataset = df.Dataset({"dataset": {"data_folder": folder}}, fields="x")
    with df.Loader(dataset, batch_size=BATCH_SIZE, shuffle=True, seed=SEED, **options) as loader:
        return {
            "rank": loader.rank,
            "world_size": loader.world_size,
            "from": loader.ranks_from,
            "ids": numbers(batch["x"] for batch in loader),
        }


def numbers(batches: Any) -> list[int]:
    """The samples of batches; the first element of each is its number."""
    return [int(np.asarray(x).flat[0]) for batch in batches for x in batch]


def launched(folder: str) -> dict[str, Any]:
    """Nothing but the launcher's environment says the rank."""
    found = {"launched": share(folder), "alone": share(folder, shard=False)}
    assert not {"torch", "jax"} & sys.modules.keys()
    return found


def torch(folder: str) -> dict[str, Any]:
    """The environment before torch.distributed is initialised, and that from then on."""
    found = launched(folder)
    import torch.distributed
    from torch.utils.data import DataLoader, DistributedSampler

    from dlio_fast.torch import DlioPyTorchDataset, collate

    torch.distributed.init_process_group("gloo")
    os.environ.update(LIES)
    found["initialised"] = share(folder)
    found["explicit"] = share(folder, rank=2, world_size=5)
    ds = DlioPyTorchDataset({}, data_folder=folder, batch_size=BATCH_SIZE, shuffle=True, seed=SEED)
    for context, workers in (("fork", 2), ("spawn", 1)):
        ds.set_epoch(0)
        loader = DataLoader(
            ds.batches(), batch_size=None, num_workers=workers, multiprocessing_context=context
        )
        found[context] = {"ids": numbers(loader)}
    indices = DistributedSampler(ds.map_style(), shuffle=False)
    loader = DataLoader(ds.map_style(), batch_size=BATCH_SIZE, sampler=indices, collate_fn=collate)
    found["sampler"] = {"ids": numbers(loader)}
    torch.distributed.destroy_process_group()
    return found


def jax(folder: str, address: str, store: str, rank: str, world_size: str) -> dict[str, Any]:
    """Only jax.distributed tells the truth, until torch.distributed has this process alone."""
    os.environ.update(LIES)
    import jax

    jax.distributed.initialize(address, int(world_size), int(rank))
    found = {"initialised": share(folder)}
    import torch.distributed

    method = f"file://{store}{rank}"
    torch.distributed.init_process_group("gloo", init_method=method, rank=0, world_size=1)
    found["both"] = share(folder)
    torch.distributed.destroy_process_group()
    return found


if __name__ == "__main__":
    program, folder, out, *arguments = sys.argv[1:]
    found = globals()[program](folder, *arguments)
    (Path(out) / f"{os.getpid()}.json").write_text(json.dumps(found))
