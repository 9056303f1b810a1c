"""DlioJaxDataset: batches as numpy arrays."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import ChecksumError, ClosedError, MemberError
from dlio_fast.jax import DlioJaxDataset
from tests.frameworks.conftest import RAGGED_SIDES, SAMPLES, payload, tasks, tasks_come_down_to
from tests.frameworks.jax_support import damaged_copy, deliveries, numbers

# -- batches --


def test_it_yields_batches_of_the_file_s_values_as_bare_arrays(folder):
    batches = list(DlioJaxDataset(data_folder=folder, batch_size=8))
    assert [(type(batch), batch.shape, batch.dtype) for batch in batches] == [
        (np.ndarray, (count, 16, 20), np.int32) for count in (8, 8, 5)
    ]
    samples = [sample for batch in batches for sample in batch]
    assert all(np.array_equal(sample, payload(i)) for i, sample in enumerate(samples))


def test_the_batch_size_is_the_reader_s(folder):
    config = {"dataset": {"data_folder": str(folder)}, "reader": {"batch_size": 9}}
    assert [len(batch) for batch in DlioJaxDataset(config_dict=config)] == [9, 9, 3]


@pytest.mark.parametrize("drop_last, batches", [(False, 6), (True, 5)])
def test_its_length_is_the_number_of_batches(folder, drop_last, batches):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4, drop_last=drop_last)
    assert len(ds) == len(list(ds)) == batches


def test_labels_come_as_pairs_when_asked_for(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=5, return_labels=True)
    for x, y in ds:
        assert x[:, 0, 0].tolist() == y.tolist()
        assert y.dtype == np.int64
    assert y.tolist() == [SAMPLES - 1]


def test_several_fields_come_as_a_dict(folder):
    batch = next(iter(DlioJaxDataset(data_folder=folder, batch_size=5, fields=["y", "x"])))
    assert list(batch) == ["y", "x"]
    assert batch["y"].tolist() == [0, 1, 2, 3, 4] and batch["x"].shape == (5, 16, 20)


def test_a_field_that_the_files_lack_is_named_with_those_they_have(folder):
    with pytest.raises(MemberError, match=r"no member 'z'; it has x, y"):
        next(iter(DlioJaxDataset(data_folder=folder, fields=["z"])))


def test_samples_that_differ_in_shape_come_as_lists(ragged_folder):
    batches = list(DlioJaxDataset(data_folder=ragged_folder, batch_size=4))
    assert [x.shape for batch in batches for x in batch] == [(side, side) for side in RAGGED_SIDES]
    assert all((x == i).all() for i, x in enumerate(x for batch in batches for x in batch))


@pytest.mark.parametrize("dtype", [">i4", ">u2", ">f8", ">c16", "<f2", "?"])
def test_numbers_come_in_the_byte_order_that_jax_takes(tmp_path, dtype):
    x = (np.arange(2 * 3 * 4).reshape(2, 3, 4) % 251).astype(dtype)
    np.save(tmp_path / "a.npy", x)
    (batch,) = DlioJaxDataset(data_folder=tmp_path, batch_size=4)
    assert batch.dtype == x.dtype.newbyteorder("=")
    assert np.array_equal(batch, np.moveaxis(x, -1, 0))
    assert np.array_equal(jnp.asarray(batch), batch)


@pytest.mark.parametrize("dtype", ["<U3", "S4", "<M8[s]", [("a", "<i4"), ("b", "<f4")]])
def test_what_only_numpy_knows_comes_as_numpy_has_it(tmp_path, dtype):
    x = np.zeros((2, 3), dtype)
    np.save(tmp_path / "a.npy", x)
    (batch,) = DlioJaxDataset(data_folder=tmp_path, batch_size=4)
    assert np.array_equal(batch, x.T)


# -- memory --


def test_arrays_are_aligned_and_the_caller_s_to_write_to(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4, return_labels=True)
    x, y = next(iter(ds))
    assert x.ctypes.data % 64 == y.ctypes.data % 64 == 0
    x[:] = 0
    assert np.array_equal(next(iter(ds))[0][1], payload(1))


def test_arrays_are_read_only_when_asked_for(folder, ragged_folder):
    for ds in (
        DlioJaxDataset(data_folder=folder, return_labels=True, writable=False),
        DlioJaxDataset({"jax_config": {"writable": False}}, data_folder=ragged_folder, batch_size=6),
    ):
        for array in next(iter(ds)):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0


def test_arrays_keep_their_values_for_as_long_as_they_live(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=2, shuffle=True, prefetch_bytes=8192)
    held = [batch for _ in range(3) for batch in ds]
    for batch in ds:
        batch[:] = 0
    assert all(np.array_equal(x, payload(x[0, 0])) for batch in held for x in batch)


# -- epochs and order --


def test_each_pass_is_the_next_epoch(folder):
    first, second = (DlioJaxDataset(data_folder=folder, batch_size=4, shuffle=True, seed=5) for _ in "ab")
    passes = [numbers(first) for _ in range(3)]
    assert passes == [numbers(second) for _ in range(3)]
    assert all(sorted(sum(one, [])) == list(range(SAMPLES)) for one in passes)
    assert passes[0] != passes[1] != passes[2]


def test_the_epoch_can_be_set(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4, shuffle=True)
    passes = [numbers(ds) for _ in range(3)]
    ds.set_epoch(1)
    assert [numbers(ds), numbers(ds)] == passes[1:]
    with pytest.raises(ValueError, match="epoch"):
        ds.set_epoch(-1)


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_over_all_ranks_every_sample_comes_once(folder, world_size):
    options = {"data_folder": folder, "shuffle": True, "batch_size": 2, "world_size": world_size}
    shares = [numbers(DlioJaxDataset(rank=rank, **options)) for rank in range(world_size)]
    assert sorted(i for share in shares for batch in share for i in batch) == list(range(SAMPLES))


# -- life and death --


def test_constructing_touches_neither_storage_nor_jax_s_backends(tmp_path):
    program = (
        "import sys; from dlio_fast.jax import DlioJaxDataset, JaxIterable\n"
        "DlioJaxDataset('unet3d_h100', data_folder='not/there'); JaxIterable('not/there')\n"
        "from jax._src import xla_bridge; assert not xla_bridge._backends\n"
        "assert not {'torch', 'tensorflow', 'grain'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_nothing_of_torch_or_tensorflow_is_needed(folder):
    program = (
        "import sys; sys.modules.update(torch=None, tensorflow=None, grain=None)\n"
        "from dlio_fast.jax import DlioJaxDataset\n"
        "ds = DlioJaxDataset(data_folder=sys.argv[1], batch_size=4)\n"
        "assert len(list(ds)) == len(list(ds.device_iter())) == len(ds) == 6\n"
        "assert len(ds.data_source()[20]) == 16\n"
    )
    subprocess.run([sys.executable, "-c", program, folder], check=True)


def test_breaking_off_leaves_no_thread(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=2)
    before = tasks()
    for _ in range(20):
        for _batch in ds:
            break
    assert tasks_come_down_to(before)
    assert len(list(ds)) == len(ds)


def test_closing_ends_a_running_pass(folder):
    before = tasks()
    ds = DlioJaxDataset(data_folder=folder, batch_size=2)
    running = iter(ds)
    held = next(running)
    ds.close()
    assert tasks_come_down_to(before)
    assert np.array_equal(held[1], payload(1))
    with pytest.raises(ClosedError):
        next(running)


# -- what goes wrong --


def test_a_missing_folder_is_named_and_costs_no_epoch(tmp_path, folder):
    ds = DlioJaxDataset(data_folder=tmp_path / "data", batch_size=4, shuffle=True)
    with pytest.raises(FileNotFoundError, match="data") as caught:
        next(iter(ds))
    assert isinstance(caught.value, df.DlioFastError)
    (tmp_path / "data").symlink_to(folder)
    assert numbers(ds) == numbers(DlioJaxDataset(data_folder=folder, batch_size=4, shuffle=True))


def test_a_damaged_file_is_named_at_its_batches_and_the_rest_still_comes(folder, tmp_path):
    ds = DlioJaxDataset(data_folder=damaged_copy(folder, tmp_path), batch_size=4)
    got = [numbers([d])[0] if isinstance(d, np.ndarray) else d for d in deliveries(iter(ds))]
    errors = [d for d in got if isinstance(d, Exception)]
    assert [type(error) for error in errors] == [ChecksumError, ChecksumError]
    assert all(Path(error.path).name == "img_2_of_7.npz" for error in errors)
    expected = [[0, 1, 2, 3], errors[0], [4, 5], errors[1], [9, 10, 11], [12, 13, 14, 15]]
    assert got == [*expected, [16, 17, 18, 19], [20]]


def test_without_jax_the_error_says_what_to_install():
    program = "import sys; sys.modules['jax'] = None; import dlio_fast.jax"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 1
    assert "MissingDependencyError" in done.stderr
    assert "pip install dlio-fast[jax]" in done.stderr
