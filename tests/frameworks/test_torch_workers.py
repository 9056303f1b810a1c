"""PyTorch's DataLoader with worker processes: the same samples, each once, whatever starts the workers."""

import copy
import gc
import itertools
import multiprocessing
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import dlio_fast as df
from dlio_fast._epochs import SharedEpoch
from dlio_fast.torch import DlioPyTorchDataset, collate
from tests.frameworks.conftest import SAMPLES, numbers, payload, tasks, tasks_come_down_to

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def dataset(folder, **options):
    return DlioPyTorchDataset(data_folder=folder, **{"batch_size": 4, "shuffle": True, **options})


def batched(ds, **kwargs):
    return DataLoader(ds.batches(), batch_size=None, **kwargs)


# -- each sample once --


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_batches_come_in_the_order_of_a_single_process(folder, workers, shuffle, drop_last):
    ds = dataset(folder, shuffle=shuffle, drop_last=drop_last)
    expected = [numbers([batch]) for batch in ds.batches()]
    ds.set_epoch(0)
    got = [numbers([batch]) for batch in batched(ds, num_workers=workers)]
    assert got == expected
    assert len({i for batch in got for i in batch}) == (20 if drop_last else SAMPLES)


@pytest.mark.parametrize("read_batch, batch_size", [(4, 4), (1, 4), (5, 2), (100, 3)])
@pytest.mark.parametrize("workers", [2, 3])
def test_samples_come_once_each_whatever_the_batch_sizes(folder, workers, read_batch, batch_size):
    ds = dataset(folder, batch_size=read_batch)
    loader = DataLoader(ds, batch_size=batch_size, num_workers=workers)
    assert sorted(numbers(loader)) == list(range(SAMPLES))


def test_with_equal_batch_sizes_samples_come_in_the_order_of_a_single_process(folder):
    ds = dataset(folder)
    expected = numbers(DataLoader(ds, batch_size=4))
    ds.set_epoch(0)
    assert numbers(DataLoader(ds, batch_size=4, num_workers=2)) == expected


def test_values_arrive_whole(folder):
    for batch in batched(dataset(folder), num_workers=2):
        assert all(np.array_equal(x.numpy(), payload(int(x[0, 0]))) for x in batch)


def test_ranks_and_workers_share_the_samples_out(folder):
    shares = [numbers(batched(dataset(folder, rank=r, world_size=2), num_workers=2)) for r in range(2)]
    assert sorted(shares[0] + shares[1]) == list(range(SAMPLES))


def test_ragged_pairs_come_through_workers(ragged_folder):
    ds = dataset(ragged_folder, return_labels=True, shuffle=False)
    for loader in (batched(ds, num_workers=2), DataLoader(ds, 4, num_workers=2, collate_fn=collate)):
        assert [int(x[0, 0]) for xs, _ in loader for x in xs] == list(range(6))


# -- epochs --


@pytest.mark.parametrize("persistent", [False, True])
def test_epochs_go_on_and_obey_set_epoch_in_workers(folder, persistent):
    ds = dataset(folder)
    epochs = [numbers(ds.batches()) for _ in range(4)]
    loader = batched(ds, num_workers=2, persistent_workers=persistent)
    ds.set_epoch(0)
    assert [numbers(loader) for _ in range(3)] == epochs[:3]
    ds.set_epoch(1)
    assert [numbers(loader) for _ in range(2)] == epochs[1:3]
    assert numbers(ds.batches()) == epochs[3]


def test_seeding_torch_anew_for_each_pass_changes_nothing(folder):
    ds = dataset(folder)
    epochs = [numbers(ds.batches()) for _ in range(3)]
    loader = batched(ds, num_workers=2)
    got = []
    ds.set_epoch(0)
    for _ in range(3):
        torch.manual_seed(0)
        got.append(numbers(loader))
    assert got == epochs
    torch.manual_seed(0)
    ds.set_epoch(1)
    assert numbers(loader) == epochs[1]


def test_the_number_of_workers_may_change_between_passes(folder):
    ds = dataset(folder)
    epochs = [numbers(ds.batches()) for _ in range(4)]
    ds.set_epoch(0)
    assert [numbers(batched(ds, num_workers=workers)) for workers in (2, 0, 3, 1)] == epochs


def test_two_loaders_over_one_data_set_each_give_every_sample_once(folder):
    ds = dataset(folder)
    pairs = list(zip(batched(ds, num_workers=2), batched(ds, num_workers=2), strict=True))
    for one in zip(*pairs, strict=True):
        assert sorted(numbers(one)) == list(range(SAMPLES))


def test_many_workers_that_start_together_agree(folder):
    ds = dataset(folder, batch_size=1)
    for _ in range(5):
        assert sorted(numbers(batched(ds, num_workers=8))) == list(range(SAMPLES))


def forked(epochs):
    """What a forked worker has: a copy with the same open file."""
    other = copy.copy(epochs)
    os.dup2(epochs._fd, other._fd)
    return other


@given(st.data())
def test_workers_agree_in_whatever_order_they_arrive(data):
    """Passes one after the other, each with its own workers or those of the pass before."""
    epochs = SharedEpoch()
    expected = 0
    for _ in range(data.draw(st.integers(1, 6), label="loaders")):
        seed = data.draw(st.integers(0, 2), label="base seed")
        workers = data.draw(st.integers(1, 4), label="workers")
        processes = [forked(epochs) for _ in range(workers)]
        for _ in range(data.draw(st.integers(1, 3), label="passes of persistent workers")):
            if data.draw(st.booleans(), label="set_epoch"):
                expected = data.draw(st.integers(0, 9), label="epoch")
                epochs.set(expected)
            for w in data.draw(st.permutations(range(workers)), label="arrival"):
                worker = SimpleNamespace(id=w, seed=seed + w, num_workers=workers)
                assert processes[w].take(worker) == (expected, 0)
            expected += 1
        if data.draw(st.booleans(), label="a pass without workers"):
            assert epochs.take() == (expected, 0)
            expected += 1


def begin_passes(epochs, count, queue):
    queue.put([epochs.take()[0] for _ in range(count)])


def test_passes_that_begin_in_several_processes_at_once_are_all_counted():
    epochs = SharedEpoch()
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    processes = [fork.Process(target=begin_passes, args=(epochs, 300, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    taken = [epoch for _ in processes for epoch in queue.get(timeout=60)]
    for process in processes:
        process.join()
    assert sorted(taken) == list(range(1200))


# -- however they are started --


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_are_started_afresh_do_the_same(folder, method):
    ds = dataset(folder)
    epochs = [numbers(ds.batches()) for _ in range(3)]
    loader = batched(ds, num_workers=2, multiprocessing_context=method, persistent_workers=True)
    ds.set_epoch(0)
    assert [numbers(loader), numbers(loader)] == epochs[:2]
    ds.set_epoch(1)
    assert numbers(loader) == epochs[1]
    assert numbers(ds.batches()) == epochs[2]


def test_workers_may_be_forked_in_the_middle_of_a_pass(folder):
    ds = dataset(folder, batch_size=1, shuffle=False)
    running = iter(ds)
    held = [next(running) for _ in range(3)]
    assert numbers(batched(ds, num_workers=2)) == list(range(SAMPLES))
    held += running
    assert [int(x[0, 0]) for x in held] == list(range(SAMPLES))


def test_breaking_off_with_workers_leaves_neither_threads_nor_processes(folder):
    others = set(multiprocessing.active_children())  # torchdata leaves the workers of a refused state behind
    ds = dataset(folder, batch_size=1)
    numbers(batched(ds, num_workers=2))
    before = tasks()
    for _ in range(3):
        for _batch in batched(ds, num_workers=2):
            break
    assert tasks_come_down_to(before)
    end = time.monotonic() + 20  # torch ends its workers one after the other
    while set(multiprocessing.active_children()) - others and time.monotonic() < end:
        gc.collect()
    assert not set(multiprocessing.active_children()) - others
    assert sorted(numbers(batched(ds, num_workers=2))) == list(range(SAMPLES))


def test_what_fails_in_a_worker_has_its_type_and_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere") as caught:
        next(iter(batched(dataset(tmp_path / "nowhere"), num_workers=2)))
    assert isinstance(caught.value, df.DlioFastError)


# -- the map-style data set --


@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_the_map_style_data_set_works_in_the_dataloader(folder, context):
    ds = df.Dataset({"dataset": {"data_folder": str(folder)}})
    assert int(ds[0]["y"]) == 0  # starts the thread that workers must do without
    workers = {} if context is None else {"num_workers": 1, "multiprocessing_context": context}
    batches = list(DataLoader(ds, batch_size=4, **workers))
    assert [int(y) for batch in batches for y in batch["y"]] == list(range(SAMPLES))
    rows = itertools.chain.from_iterable(batch["x"] for batch in batches)
    assert all(np.array_equal(x.numpy(), payload(i)) for i, x in enumerate(rows))


def test_the_map_style_data_set_is_shuffled_by_torch(folder):
    ds = df.Dataset({"dataset": {"data_folder": str(folder)}})
    batches = list(DataLoader(ds, batch_size=4, shuffle=True, num_workers=2))
    assert sorted(int(y) for batch in batches for y in batch["y"]) == list(range(SAMPLES))


def test_the_map_style_data_set_s_ragged_samples_go_through_our_collate(ragged_folder):
    ds = df.Dataset({"dataset": {"data_folder": str(ragged_folder)}})
    (batch,) = DataLoader(ds, batch_size=6, collate_fn=collate)
    assert [int(x[0, 0]) for x in batch["x"]] == batch["y"].tolist() == list(range(6))
