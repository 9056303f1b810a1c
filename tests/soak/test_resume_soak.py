"""A training is killed at random moments and started again: each epoch is delivered exactly once."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dlio_fast as df

ROOT = Path(__file__).parents[2]
ELASTIC, FIXED, STATEFUL = "elastic", "fixed", "StatefulDataLoader"
KINDS = [ELASTIC, FIXED, STATEFUL]
"""What may change from life to life: all; only threads and prefetching; that, with worker processes."""

DOORS = {
    ELASTIC: ["loader", "loader", "batches", "samples"],
    FIXED: ["loader"],
    STATEFUL: ["batches with workers", "samples with workers"],
}


def saved_place(saved: dict | None) -> str:
    """What a saved state says of its ranks, for who looks into a failure."""
    if saved is None:
        return "the beginning"
    epochs = [entry["epoch"] for entry in saved["entries"]]
    return f"step {saved['step']} of life {saved['life']} in epochs {epochs}"


class Training:
    """A training over random files, and all lives of it."""

    def __init__(self, folder: Path, kind: str, rng: random.Random):
        self.folder, self.kind, self.rng = folder, kind, rng
        self.files, per_file = rng.randint(20, 40), rng.randint(1, 4)
        self.n = self.files * per_file
        (folder / "data").mkdir()
        for file in range(self.files):
            x = np.empty((64, 64, per_file), np.int32)
            x[:] = range(file * per_file, (file + 1) * per_file)
            np.savez(folder / f"data/img_{file:02d}.npz", x=x)
        self.order = {
            "shuffle": rng.choice(["off", "global", "files", "window"]),
            "shuffle_window": rng.choice([0, 100_000]),
            "seed": rng.getrandbits(32),
            "shard_strategy": rng.choice(["contiguous", "hash"]) if kind == FIXED else "interleaved",
        }
        self.door = rng.choice(DOORS[kind])
        self.share = self.random_share()
        self.counted: dict[
            int, int
        ] = {}  # how many steps of a life come before the state that the next went on from

    def random_share(self) -> dict[str, int]:
        most = 2 if self.kind == STATEFUL else 3
        return {"world_size": self.rng.randint(1, most), "batch_size": self.rng.randint(1, 4)}

    def saved(self) -> dict | None:
        state = self.folder / "state.json"
        return json.loads(state.read_text()) if state.exists() else None

    def start(self, number: int, last_epoch: int | None = None) -> subprocess.Popen:
        rng = self.rng
        share = self.random_share() if self.kind == ELASTIC else self.share
        life = {
            "number": number,
            "folder": str(self.folder / "data"),
            "log": str(self.folder / "log"),
            "state": str(self.folder / "state.json"),
            "elastic": self.kind == ELASTIC,
            "restore_from": rng.randrange(3),
            "last_epoch": last_epoch,
            "door": rng.choice(DOORS[ELASTIC]) if self.kind == ELASTIC else self.door,
            "world_size": share["world_size"],
            "sample_batch": rng.randint(1, 4) if self.kind == ELASTIC else share["batch_size"],
            "save_every": rng.randint(1, 4),
            "snapshot_every": rng.randint(1, 3),
            "set_epoch": rng.random() < 0.5,
            "transform": rng.random() < 0.3,
            "options": self.order
            | {
                "batch_size": share["batch_size"],
                "threads": rng.randint(1, 4),
                "prefetch_bytes": rng.choice([1, 50_000, 1 << 20, 1 << 26]),
            },
        }
        print(f"life {number} goes on from {saved_place(self.saved())}: {life}")
        path = self.folder / f"life{number}.json"
        path.write_text(json.dumps(life))
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.soak.training", str(path)],
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    def live_and_be_killed(self, number: int) -> None:
        process = self.start(number)
        steps = self.rng.choice([0, self.rng.randint(1, 25)])
        try:
            done = sum(1 for _ in range(steps) if process.stdout.read(1))
            try:
                process.wait(timeout=self.rng.uniform(0, 0.01 if steps else 1.0))
            except subprocess.TimeoutExpired:
                pass
            assert done == steps and process.poll() is None, "the training ended by itself"
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
        self.note_state()

    def live_to_the_end(self, number: int) -> None:
        saved = self.saved()
        epochs = [entry["epoch"] for entry in saved["entries"]] if saved else [0]
        self.epochs = max(epochs) + 1
        process = self.start(number, self.epochs - 1)
        try:
            while process.stdout.read(1):
                pass
            assert process.wait() == 0
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            process.stdout.close()
        self.counted[number] = sys.maxsize

    def note_state(self) -> None:
        if saved := self.saved():
            self.counted[saved["life"]] = saved["step"]

    def delivered(self) -> list[list[int]]:
        """What each epoch came to: the log without what came after the states that were gone on from."""
        steps: dict[tuple[int, int, int], dict[int, list[int]]] = {}
        for line in (self.folder / "log").read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # else it was being written, and no state can have come after it
                life, step, rank, epoch, numbers = json.loads(line)
                if step <= self.counted.get(life, 0):
                    steps.setdefault((life, step, epoch), {})[rank] = numbers
        epochs: list[list[int]] = [[] for _ in range(self.epochs)]
        for (_, _, epoch), shares in sorted(steps.items(), key=lambda item: item[0]):
            turns = itertools.zip_longest(*(shares[rank] for rank in sorted(shares)))
            epochs[epoch] += [number for turn in turns for number in turn if number is not None]
        return epochs

    def check(self) -> None:
        dataset = df.Dataset({"dataset": {"data_folder": str(self.folder / "data")}}, fields="x")
        sampler = df.Loader(dataset, **self.order, rank=0, world_size=1).sampler
        for epoch, numbers in enumerate(self.delivered()):
            assert sorted(numbers) == list(range(self.n)), f"epoch {epoch}"
            if self.kind != FIXED:
                assert numbers == sampler.ids(epoch, 0, self.n).tolist(), f"epoch {epoch}"


def kill_and_resume(folder: Path, kind: str, kills: int, seed: int) -> None:
    print(f"DLIO_FAST_SOAK_SEED={seed} makes the same choices again")
    training = Training(folder, kind, random.Random(f"{seed} {kind}"))
    for number in range(kills):
        training.live_and_be_killed(number)
    training.live_to_the_end(kills)
    training.check()


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_is_killed_five_times_gets_each_epoch_exactly_once(tmp_path, kind):
    kill_and_resume(tmp_path, kind, 5, int(os.environ.get("DLIO_FAST_SOAK_SEED", 1)))


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_that_is_killed_fifty_times_gets_each_epoch_exactly_once(tmp_path, kind):
    seed = os.environ.get("DLIO_FAST_SOAK_SEED") or random.SystemRandom().getrandbits(32)
    kill_and_resume(tmp_path, kind, 50, int(seed))
