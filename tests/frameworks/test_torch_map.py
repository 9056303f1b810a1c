"""The map-style data set: whole batches through the ring, shared out by PyTorch's own samplers."""

import numpy as np
import pytest
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler

from dlio_fast.errors import ChecksumError, SampleError
from dlio_fast.torch import DlioPyTorchDataset, collate
from tests.frameworks.conftest import RAGGED_SIDES, SAMPLES, damaged_copy, numbers, payload

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def mapped(folder, **options):
    return DlioPyTorchDataset(data_folder=folder, **options).map_style()


def test_samples_are_had_by_index(folder):
    ds = mapped(folder)
    assert len(ds) == SAMPLES
    for i in (0, 5, SAMPLES - 1, -1, -SAMPLES, np.int64(3)):
        assert np.array_equal(ds[i].numpy(), payload(int(i) % SAMPLES))
    assert [int(x[0, 0]) for x in ds] == list(range(SAMPLES))


def test_several_samples_come_in_the_order_asked_for_as_often_as_asked_for(folder):
    wanted = [4, 20, 4, -1, 0, 4]
    assert numbers([mapped(folder).__getitems__(wanted)]) == [4, 20, 4, 20, 0, 4]
    assert mapped(folder).__getitems__([]) == []


@pytest.mark.parametrize("index", [SAMPLES, -SAMPLES - 1, 10**9])
def test_an_index_outside_is_an_index_error_that_names_it(folder, index):
    for get in (mapped(folder).__getitem__, lambda i: mapped(folder).__getitems__([0, i])):
        with pytest.raises(SampleError, match=rf"sample {index} .*{SAMPLES} samples") as caught:
            get(index)
        assert isinstance(caught.value, IndexError)


def test_a_collated_batch_is_the_memory_that_was_read_into(folder):
    samples = mapped(folder, return_labels=True).__getitems__([3, 1, 2])
    x, y = collate(samples)
    assert x.data_ptr() == samples[0][0].data_ptr() and x.data_ptr() % 64 == 0
    assert [sample.data_ptr() for sample, _ in samples] == [row.data_ptr() for row in x]
    assert y.tolist() == numbers([x]) == [3, 1, 2]


@pytest.mark.parametrize("context", [None, "fork", "spawn", "forkserver"])
def test_the_dataloader_shuffles_it_with_and_without_workers(folder, context):
    ds = mapped(folder)
    assert int(ds[1][0, 0]) == 1  # starts threads that forked workers must do without
    workers = {} if context is None else {"num_workers": 2, "multiprocessing_context": context}
    batches = list(DataLoader(ds, batch_size=4, shuffle=True, collate_fn=collate, **workers))
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 4, 1]
    assert sorted(numbers(batches)) == list(range(SAMPLES)) != numbers(batches)
    assert all(np.array_equal(x.numpy(), payload(int(x[0, 0]))) for batch in batches for x in batch)


def test_a_batch_sampler_says_what_a_batch_is(folder):
    ds = mapped(folder)
    sampler = BatchSampler(SequentialSampler(ds), 5, drop_last=True)
    assert numbers(DataLoader(ds, batch_sampler=sampler)) == list(range(20))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_distributed_sampler_alone_shares_out(folder, workers):
    """The data set itself knows its rank, and does not share out a second time."""
    got = []
    for rank in range(2):
        ds = mapped(folder, rank=rank, world_size=2)
        sampler = DistributedSampler(ds, num_replicas=2, rank=rank, drop_last=False)
        got.append(numbers(DataLoader(ds, batch_size=4, sampler=sampler, num_workers=workers)))
    assert [len(share) for share in got] == [11, 11]  # one is repeated, for equal shares
    assert set(got[0]) | set(got[1]) == set(range(SAMPLES))


def test_ragged_samples_come_as_lists(ragged_folder):
    (batch,) = DataLoader(mapped(ragged_folder), batch_size=6, collate_fn=collate)
    assert [x.shape for x in batch] == [(side, side) for side in RAGGED_SIDES]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_file_raises_at_the_batches_that_need_it(folder, tmp_path, workers):
    damaged_copy(folder, tmp_path)
    loader = DataLoader(mapped(tmp_path), batch_size=3, num_workers=workers)
    running, good = iter(loader), []
    for _ in range(len(loader)):
        try:
            good += numbers([next(running)])
        except ChecksumError as error:
            assert "img_2_of_7.npz" in str(error)
    assert good == [i for i in range(SAMPLES) if i not in (6, 7, 8)]


def test_the_options_of_the_data_set_hold(folder, tmp_path):
    damaged_copy(folder, tmp_path)
    assert len(mapped(tmp_path, verify=False).__getitems__([6, 7])) == 2
    twice = mapped(folder, transform=lambda batch: {"x": batch["x"] * 2})
    assert numbers([twice.__getitems__([3, 1])]) == [6, 2]
    assert mapped(folder, return_type="bytes")[2] == payload(2).tobytes()
