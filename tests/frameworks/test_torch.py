"""DlioPyTorchDataset: samples and batches as tensors, over the memory that the files were read into."""

import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import dlio_fast as df
from dlio_fast._tensors import tensors
from dlio_fast.errors import ChecksumError, MemberError, UnsupportedError
from dlio_fast.torch import DlioPyTorchDataset, collate
from tests.frameworks.conftest import (
    RAGGED_SIDES,
    SAMPLES,
    damaged_copy,
    payload,
    tasks,
    tasks_come_down_to,
)


def numbers(samples):
    return [int(x.flatten()[0]) for x in samples]


# -- samples --


def test_it_yields_each_sample_as_a_bare_tensor_with_the_file_s_values(folder):
    samples = list(DlioPyTorchDataset(data_folder=folder))
    assert len(samples) == SAMPLES
    for i, sample in enumerate(samples):
        assert isinstance(sample, torch.Tensor)
        assert sample.dtype == torch.int32
        assert np.array_equal(sample.numpy(), payload(i))


def test_its_length_is_the_number_of_samples(folder):
    assert len(DlioPyTorchDataset(data_folder=folder)) == SAMPLES
    assert len(DlioPyTorchDataset(data_folder=folder, batch_size=4).batches()) == 6
    assert len(DlioPyTorchDataset(data_folder=folder, batch_size=4, drop_last=True).batches()) == 5


def test_samples_and_batches_are_the_same_ones_where_a_short_batch_is_dropped(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=4, drop_last=True, shuffle=True)
    ds.set_epoch(0)
    samples = numbers(ds)
    ds.set_epoch(0)
    assert samples == [i for batch in ds.batches() for i in numbers(batch)]
    assert len(samples) == len(ds) == 20


def test_the_dataloader_makes_batches_of_samples(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=4)
    batches = list(DataLoader(ds, batch_size=8))
    assert [tuple(batch.shape) for batch in batches] == [(8, 16, 20), (8, 16, 20), (5, 16, 20)]
    assert [i for batch in batches for i in numbers(batch)] == list(range(SAMPLES))


def test_ready_made_batches_go_through_the_dataloader_as_they_are(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=8)
    batches = list(DataLoader(ds.batches(), batch_size=None))
    assert [tuple(batch.shape) for batch in batches] == [(8, 16, 20), (8, 16, 20), (5, 16, 20)]
    assert [i for batch in batches for i in numbers(batch)] == list(range(SAMPLES))


def test_labels_come_as_pairs_when_asked_for(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=5, return_labels=True)
    assert [(int(x[0, 0]), int(y)) for x, y in ds] == [(i, i) for i in range(SAMPLES)]
    assert [y.tolist() for x, y in ds.batches()][0] == [0, 1, 2, 3, 4]
    x, y = next(iter(DataLoader(ds, batch_size=3)))
    assert x.shape == (3, 16, 20) and y.tolist() == [0, 1, 2]


def test_several_fields_come_as_a_dict_and_one_comes_bare(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=5, fields=["y", "x"])
    sample = next(iter(ds))
    assert list(sample) == ["y", "x"] and sample["x"].shape == (16, 20) and int(sample["y"]) == 0
    batch = next(iter(DataLoader(ds.batches(), batch_size=None)))
    assert batch["y"].tolist() == [0, 1, 2, 3, 4] and batch["x"].shape == (5, 16, 20)
    assert [int(y) for y in DlioPyTorchDataset(data_folder=folder, fields=["y"])] == list(range(SAMPLES))


def test_a_field_that_the_files_lack_is_named_with_those_they_have(folder):
    with pytest.raises(MemberError, match=r"no member 'z'; it has x, y"):
        len(DlioPyTorchDataset(data_folder=folder, fields=["z"]))


@pytest.mark.parametrize("return_type, read", [("bytes", bytes), ("reader", io.BytesIO.read)])
def test_a_sample_s_memory_can_be_had_as_bytes_or_as_a_file(folder, return_type, read):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=4, return_type=return_type)
    assert [read(sample) for sample in ds] == [payload(i).tobytes() for i in range(SAMPLES)]
    assert [len(batch) for batch in ds.batches()] == [4, 4, 4, 4, 4, 1]


# -- shapes and types --


def test_ragged_samples_make_lists_of_tensors(ragged_folder):
    ds = DlioPyTorchDataset(data_folder=ragged_folder, batch_size=4, return_labels=True)
    for loader in (
        DataLoader(ds.batches(), batch_size=None),
        DataLoader(ds, batch_size=4, collate_fn=collate),
    ):
        batches = list(loader)
        assert [x.shape for xs, _ in batches for x in xs] == [(side, side) for side in RAGGED_SIDES]
        assert [y.tolist() for _, y in batches] == [[0, 1, 2, 3], [4, 5]]
        assert all(bool((x == i).all()) for i, x in enumerate(x for xs, _ in batches for x in xs))


def test_a_config_that_says_ragged_is_believed(ragged_folder):
    dataset = {"data_folder": str(ragged_folder), "record_length_bytes": 900, "record_length_bytes_stdev": 99}
    ds = DlioPyTorchDataset(config_dict={"dataset": dataset}, batch_size=2)
    assert [[tuple(x.shape) for x in batch] for batch in ds.batches()][1] == [(17, 17), (40, 40)]


def test_collate_stacks_what_is_alike(folder):
    sample = next(iter(DlioPyTorchDataset(data_folder=folder, fields=["x", "y"])))
    both = collate([sample, sample])
    assert both["x"].shape == (2, 16, 20) and both["y"].shape == (2,)
    assert collate([(torch.zeros(2), b"a"), (torch.zeros(3), b"b")])[1] == [b"a", b"b"]


WIDE = ["u2", "u4", "u8", "i2", "i4", "i8", "f2", "f4", "f8", "c8", "c16"]
DTYPES = ["?", "u1", "i1", *(order + dtype for dtype in WIDE for order in "<>")]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_type_becomes_a_tensor_of_the_same_values(tmp_path, dtype):
    x = (np.arange(2 * 3 * 4).reshape(2, 3, 4) % 251).astype(dtype)
    np.save(tmp_path / "a.npy", x)
    (batch,) = DlioPyTorchDataset(data_folder=tmp_path, batch_size=4).batches()
    assert np.array_equal(batch.numpy(), np.moveaxis(x, -1, 0))
    assert batch.numpy().dtype == x.dtype.newbyteorder("=")


@pytest.mark.parametrize("dtype", ["<U3", "S4", "<M8[s]", [("a", "<i4"), ("b", "<f4")]])
def test_a_type_without_a_tensor_is_named_and_still_to_be_had_as_bytes(tmp_path, dtype):
    x = np.zeros((2, 3), dtype)
    np.save(tmp_path / "a.npy", x)
    with pytest.raises(UnsupportedError, match=r"field 'x' has dtype .*return_type='bytes'") as caught:
        list(DlioPyTorchDataset(data_folder=tmp_path))
    assert str(x.dtype) in str(caught.value)
    samples = list(DlioPyTorchDataset(data_folder=tmp_path, return_type="bytes"))
    assert samples == [x[:, i].tobytes() for i in range(3)]


# -- memory --


def test_a_tensor_lies_in_the_buffer_that_was_read_into(folder):
    array = next(iter(df.Loader(df.Dataset({"dataset": {"data_folder": str(folder)}}), batch_size=4)))["x"]
    tensor = tensors("x", array)
    first, last = array.base.address, array.base.address + array.base.nbytes
    assert first <= tensor.data_ptr() <= last - tensor.nbytes
    assert tensor.data_ptr() % 64 == 0


def test_the_samples_of_a_batch_share_its_memory(folder):
    samples = list(DlioPyTorchDataset(data_folder=folder, batch_size=4))[:4]
    assert len({sample.untyped_storage().data_ptr() for sample in samples}) == 1
    starts = [sample.data_ptr() for sample in samples]
    assert [b - a for a, b in zip(starts, starts[1:], strict=False)] == [samples[0].nbytes] * 3
    samples[1].zero_()
    assert np.array_equal(samples[0].numpy(), payload(0)) and np.array_equal(samples[2].numpy(), payload(2))


def test_tensors_keep_their_values_for_as_long_as_they_live(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=2, shuffle=True)
    held = [sample for _ in range(3) for sample in ds]
    kept = [sample.clone() for sample in held]
    for _ in range(3):
        for batch in ds.batches():
            batch.zero_()
    assert all(torch.equal(a, b) for a, b in zip(held, kept, strict=True))
    assert all(np.array_equal(sample.numpy(), payload(int(sample[0, 0]))) for sample in held)


def test_ten_batches_held_over_epochs_keep_their_values_however_small_the_ring(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=4, prefetch_bytes=1, shuffle=True)
    held, numbers_of_held = [], []
    for _ in range(6):
        for batch in ds.batches():
            held.append(batch)
            numbers_of_held.append(numbers(batch))
            if len(held) > 10:
                del held[0], numbers_of_held[0]
            for kept, of_kept in zip(held, numbers_of_held, strict=True):
                assert all(np.array_equal(x.numpy(), payload(i)) for x, i in zip(kept, of_kept, strict=True))
            assert len({b.data_ptr() for b in held}) == len(held)


def test_memory_is_used_again_once_no_tensor_is_left(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=2)
    list(ds.batches())
    assert ds.stats()["pool"]["lent"] == 0
    mapped = ds.stats()["pool"]["peak"]
    for _ in range(10):
        list(ds.batches())
    assert ds.stats()["pool"]["lent"] == 0
    assert ds.stats()["pool"]["peak"] < 2 * mapped


# -- order --


def test_the_same_seed_and_epoch_give_the_same_order(folder):
    first, second = (DlioPyTorchDataset(data_folder=folder, shuffle=True, seed=5) for _ in range(2))
    passes = [numbers(first) for _ in range(3)]
    assert passes == [numbers(second) for _ in range(3)]
    assert all(sorted(one) == list(range(SAMPLES)) for one in passes)
    assert len({tuple(one) for one in passes}) == 3
    first.set_epoch(1)
    assert [numbers(first), numbers(first)] == passes[1:]
    assert numbers(DlioPyTorchDataset(data_folder=folder, shuffle=True, seed=6)) != passes[0]


def test_batches_and_samples_count_the_same_epochs(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=4, shuffle=True)
    passes = [numbers(ds), [i for batch in ds.batches() for i in numbers(batch)], numbers(ds)]
    ds.batches().set_epoch(0)
    assert [numbers(ds) for _ in range(3)] == passes


@pytest.mark.parametrize("epoch", [-1, 2**31])
def test_an_impossible_epoch_is_refused(folder, epoch):
    with pytest.raises(ValueError, match="epoch"):
        DlioPyTorchDataset(data_folder=folder).set_epoch(epoch)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_over_all_ranks_every_sample_comes_once(folder, world_size):
    ranks = [
        DlioPyTorchDataset(data_folder=folder, shuffle=True, rank=rank, world_size=world_size, batch_size=2)
        for rank in range(world_size)
    ]
    shares = [numbers(ds) for ds in ranks]
    assert sorted(i for share in shares for i in share) == list(range(SAMPLES))
    assert [len(share) for share in shares] == [len(ds) for ds in ranks]


# -- life and death --


def test_constructing_starts_no_thread_and_touches_no_storage(tmp_path):
    before = tasks()
    ds = DlioPyTorchDataset(data_folder=tmp_path / "not" / "there")
    ds.batches()
    assert tasks() == before


def test_breaking_off_leaves_no_thread(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=2)
    list(DataLoader(ds, batch_size=4))  # torch starts threads of its own for the first stack
    before = tasks()
    for make in (lambda: ds, ds.batches, lambda: DataLoader(ds.batches(), batch_size=None)):
        for _ in range(20):
            for _sample in make():
                break
        assert tasks_come_down_to(before)
    assert len(list(ds)) == SAMPLES


def test_closing_ends_the_threads_of_a_running_pass(folder):
    before = tasks()
    ds = DlioPyTorchDataset(data_folder=folder)
    running = iter(ds)
    held = next(running)
    ds.close()
    assert tasks_come_down_to(before)
    assert np.array_equal(held.numpy(), payload(0))


def test_a_pickled_data_set_goes_on_by_itself(folder):
    ds = DlioPyTorchDataset(data_folder=folder, shuffle=True)
    running = iter(ds)
    next(running)
    other = pickle.loads(pickle.dumps(ds))
    expected = numbers(ds)
    assert numbers(other) == expected
    other.set_epoch(7)
    assert numbers(ds) != numbers(other)


# -- what goes wrong --


def test_a_missing_folder_is_named_and_costs_no_epoch(tmp_path, folder):
    ds = DlioPyTorchDataset(data_folder=tmp_path / "data", shuffle=True)
    for loader in (ds, ds.batches(), DataLoader(ds, batch_size=2)):
        with pytest.raises(FileNotFoundError, match="data") as caught:
            next(iter(loader))
        assert isinstance(caught.value, df.DlioFastError)
    (tmp_path / "data").symlink_to(folder)
    assert numbers(ds) == numbers(DlioPyTorchDataset(data_folder=folder, shuffle=True))


def test_after_a_damaged_file_the_pass_goes_on(folder, tmp_path):
    damaged_copy(folder, tmp_path)
    samples, errors = [], []
    running = iter(DlioPyTorchDataset(data_folder=tmp_path, batch_size=4))
    while True:
        try:
            samples.append(next(running))
        except StopIteration:
            break
        except ChecksumError as error:
            errors.append(Path(error.path).name)
    assert set(errors) == {"img_2_of_7.npz"}
    assert numbers(samples) == [i for i in range(SAMPLES) if i not in (6, 7, 8)]


def test_damaged_files_are_skipped_and_counted_when_asked(folder, tmp_path):
    damaged_copy(folder, tmp_path)
    ds = DlioPyTorchDataset(data_folder=tmp_path, batch_size=4, on_error="skip")
    assert numbers(ds) == [i for i in range(SAMPLES) if i not in (6, 7, 8)]
    assert ds.stats()["skipped_samples"] == 3


def test_checks_can_be_turned_off(folder, tmp_path):
    damaged_copy(folder, tmp_path)
    assert len(list(DlioPyTorchDataset(data_folder=tmp_path, verify=False))) == SAMPLES


def test_without_pytorch_the_error_says_what_to_install():
    program = "import sys; sys.modules['torch'] = None; import dlio_fast.torch"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 1
    assert "MissingDependencyError" in done.stderr
    assert "pip install dlio-fast[torch]" in done.stderr
