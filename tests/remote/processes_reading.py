"""Run by test_processes.py: read a store again and again from several processes or threads; check every byte.

usage: python -m tests.remote.processes_reading MODE ROOT OPTIONS TIMES
"""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import sys
import threading
import traceback
import warnings

import numpy as np

import dlio_fast as df

FILES = 12
SHAPE = (40, 1000)


def contents(i: int) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 2**31, SHAPE, np.int32)


def check(dataset: df.Dataset, **options) -> None:
    """Read it all and compare it."""
    seen = 0
    with df.Loader(dataset, batch_size=5, threads=4, **options) as loader:
        for batch in loader:
            for values in batch["x"]:
                np.testing.assert_array_equal(values, contents(int(np.flatnonzero(FIRST == values[0, 0])[0])))
                seen += 1
    assert seen == FILES, f"{seen} of {FILES} samples"


FIRST = np.array([contents(i)[0, 0] for i in range(FILES)])


def forked(work) -> int:
    """Do it in a child; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def all_well(pids: list[int]) -> None:
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def fork_before(dataset: df.Dataset) -> None:
    """Children begin; only then the parent. Its own child, so that no round sees the one before."""

    def one_round() -> None:
        pids = [forked(lambda: check(dataset)) for _ in range(2)]
        check(dataset)
        all_well(pids)

    all_well([forked(one_round)])


def fork_during(dataset: df.Dataset) -> None:
    with df.Loader(dataset, batch_size=1, threads=4) as loader:
        batches = iter(loader)
        first = next(batches)
        pids = [forked(lambda: check(dataset)) for _ in range(2)]
        rest = list(batches)
    assert len(first["x"]) + sum(len(batch["x"]) for batch in rest) == FILES
    check(dataset)
    all_well(pids)


def fork_after(dataset: df.Dataset) -> None:
    check(dataset)
    pids = [forked(lambda: check(dataset)) for _ in range(3)]
    check(dataset)
    all_well(pids)


def in_context(method: str):
    def run(dataset: df.Dataset) -> None:
        check(dataset)
        context = multiprocessing.get_context(method)
        children = [context.Process(target=check, args=(dataset,)) for _ in range(2)]
        for child in children:
            child.start()
        check(dataset)
        for child in children:
            child.join()
            assert child.exitcode == 0

    return run


def threads(dataset: df.Dataset) -> None:
    wrong = []

    def work() -> None:
        try:
            check(dataset)
        except BaseException as error:
            wrong.append(error)

    running = [threading.Thread(target=work) for _ in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not wrong, wrong


def torch_workers(dataset: df.Dataset) -> None:
    """PyTorch's workers, forked after the parent has used the store."""
    import torch

    dataset[0]
    loader = torch.utils.data.DataLoader(dataset, batch_size=3, num_workers=2, multiprocessing_context="fork")
    seen = 0
    for batch in loader:
        for values in batch["x"].numpy():
            np.testing.assert_array_equal(values, contents(int(np.flatnonzero(FIRST == values[0, 0])[0])))
            seen += 1
    assert seen == FILES


def ranks(dataset: df.Dataset) -> None:
    """One of several MPI ranks: together they read each sample once."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    with df.Loader(dataset, batch_size=2, rank=world.rank, world_size=world.size) as loader:
        mine = [int(np.flatnonzero(FIRST == values[0, 0])[0]) for batch in loader for values in batch["x"]]
        for batch in loader:
            for values in batch["x"]:
                np.testing.assert_array_equal(values, contents(int(np.flatnonzero(FIRST == values[0, 0])[0])))
    assert sorted(sum(world.allgather(mine), [])) == list(range(FILES))


MODES = {
    "fork before": fork_before,
    "fork during": fork_during,
    "fork after": fork_after,
    "spawn": in_context("spawn"),
    "forkserver": in_context("forkserver"),
    "threads": threads,
    "torch workers": torch_workers,
    "ranks": ranks,
}

if __name__ == "__main__":
    mode, root, options, times = sys.argv[1:]
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads: that is the point
    listed = df.Dataset.from_files(f"{root}/data", format="npy", storage_options=json.loads(options))
    for _ in range(int(times)):
        MODES[mode](pickle.loads(pickle.dumps(listed)))
    print(f"{mode}: {times} times, every byte was right")
