"""A training that is killed and started again: ``python -m tests.soak.training LIFE.json``.

It notes which samples each step got, saves its state every few steps, and goes on from the last one saved.
Its ranks are processes that go in step, as if they exchanged gradients.
"""

from __future__ import annotations

import json
import os
import sys
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import dlio_fast as df


class Ranks:
    """The processes of the training; this one, the first, forks the others."""

    def __init__(self, world_size: int):
        self.rank = 0
        self.links = []
        for rank in range(1, world_size):
            ours, theirs = Pipe()
            if os.fork() == 0:
                self.rank, self.links = rank, [theirs]
                return
            theirs.close()
            self.links.append(ours)

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, once all have come here."""
        if self.rank:
            self.links[0].send(value)
            return self.links[0].recv()
        values = [value, *(link.recv() for link in self.links)]
        for link in self.links:
            link.send(values)
        return values


class Door(NamedTuple):
    """A way to read the data."""

    batches: Any  # to iterate over
    data: Any  # has set_epoch
    state: Any  # has state_dict and load_state_dict


def unchanged(batch):
    return batch


def open_door(life: dict[str, Any], rank: int) -> Door:
    options = life["options"] | {"rank": rank, "world_size": life["world_size"]}
    if life["transform"]:
        options["transform"] = unchanged
    config = {"dataset": {"data_folder": life["folder"]}}
    if life["door"] == "loader":
        loader = df.Loader(df.Dataset(config, fields="x"), **options)
        return Door(loader, loader, loader)
    from dlio_fast.torch import DlioPyTorchDataset

    ds = DlioPyTorchDataset(config, **options)
    whole = life["door"].startswith("batches")
    source, size = (ds.batches(), None) if whole else (ds, life["sample_batch"])
    if life["door"].endswith("with workers"):
        from torchdata.stateful_dataloader import StatefulDataLoader

        every = life["snapshot_every"]
        loader = StatefulDataLoader(source, size, num_workers=2, snapshot_every_n_steps=every)
        return Door(loader, ds, loader)
    from torch.utils.data import DataLoader

    return Door(DataLoader(source, size), ds, ds)


def numbers(batch: Any) -> list[int]:
    x = batch["x"] if isinstance(batch, dict) else batch
    return [int(np.asarray(sample).flat[0]) for sample in x]


def save(path: Path, state: Any) -> None:
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state))
    new.replace(path)


def train(life: dict[str, Any]) -> None:
    """Each rank's entry in a saved state says which epoch that is in, and where its loader is."""
    state, ranks = Path(life["state"]), Ranks(life["world_size"])
    log = os.open(life["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    door = open_door(life, ranks.rank)
    epoch = own_epoch = step = 0
    if state.exists():
        entries = json.loads(state.read_text())["entries"]
        if life["elastic"]:  # any rank's serves all
            entries = [entries[life["restore_from"] % len(entries)]]
        own = entries[ranks.rank % len(entries)]
        epoch, own_epoch = min(entry["epoch"] for entry in entries), own["epoch"]
        door.state.load_state_dict(own["loader"])
    while life["last_epoch"] is None or epoch <= life["last_epoch"]:
        batches = None
        if own_epoch == epoch:
            if life["set_epoch"]:
                door.data.set_epoch(epoch)
            batches = iter(door.batches)
        going_on = True
        while going_on:
            step += 1
            batch = None if batches is None else next(batches, None)
            if batch is None:
                batches, own_epoch = None, epoch + 1
            else:
                record = [life["number"], step, ranks.rank, epoch, numbers(batch)]
                os.write(log, json.dumps(record).encode() + b"\n")
            saving = step % life["save_every"] == 0
            entry = None
            if saving:
                saved = door.state.state_dict()
                # Ours says itself in which epoch it goes on: torch's DataLoader over single samples knows of
                # the end with its last, short batch, before whoever iterates over it does.
                entry = {"epoch": saved.get("epoch", own_epoch), "loader": saved}
            gathered = ranks.gather((batch is not None, entry))
            if ranks.rank == 0:
                if saving:
                    entries = [entry for _, entry in gathered]
                    save(state, {"life": life["number"], "step": step, "entries": entries})
                os.write(1, b".")
            going_on = any(got for got, _ in gathered)
        epoch += 1


if __name__ == "__main__":
    train(json.loads(Path(sys.argv[1]).read_text()))
