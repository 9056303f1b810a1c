"""DlioJaxDataset.device_iter: batches as jax.Arrays."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import ChecksumError, ConfigError, UnsupportedError
from dlio_fast.jax import DlioJaxDataset
from tests.frameworks.conftest import RAGGED_SIDES
from tests.frameworks.jax_support import DEVICES, damaged_copy, deliveries, numbers, sharding

# -- batches --


def test_it_yields_the_numpy_batches_as_jax_arrays(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=8)
    batches = list(ds.device_iter())
    assert all(isinstance(batch, jax.Array) and batch.dtype == jnp.int32 for batch in batches)
    assert all(np.array_equal(a, b) for a, b in zip(batches, ds, strict=True))


@pytest.mark.parametrize("options", [{"fields": ["y", "x"]}, {"return_labels": True}])
def test_it_yields_the_structure_that_the_data_set_yields(folder, options):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4, **options)
    for batch, expected in zip(ds.device_iter(), ds, strict=True):
        assert jax.tree.structure(batch) == jax.tree.structure(expected)
        assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(batch))
        assert jax.tree.all(jax.tree.map(np.array_equal, batch, expected))


def test_samples_that_differ_in_shape_come_as_lists(ragged_folder):
    batches = list(DlioJaxDataset(data_folder=ragged_folder, batch_size=4).device_iter())
    assert [x.shape for batch in batches for x in batch] == [(side, side) for side in RAGGED_SIDES]
    assert all((x == i).all() for i, x in enumerate(x for batch in batches for x in batch))


@pytest.mark.parametrize("options", [{}, {"sharding": "rows"}])
def test_each_pass_is_the_next_epoch_with_whatever_is_iterated(folder, options):
    where = sharding("d") if options else None
    ds, plain = (DlioJaxDataset(data_folder=folder, batch_size=4, shuffle=True, drop_last=True) for _ in "ab")
    passes = [numbers(plain) for _ in range(3)]
    assert [numbers(ds.device_iter(where)), numbers(ds), numbers(ds.device_iter(where))] == passes
    ds.set_epoch(1)
    assert numbers(ds.device_iter(where)) == passes[1]


# -- types --


@pytest.mark.parametrize("dtype", ["?", "u1", "<i2", "<f2", "<f4", "<c8", ">i4", ">u2", ">f4", ">c8"])
def test_every_number_type_keeps_its_values(tmp_path, dtype):
    x = (np.arange(2 * 3 * 4).reshape(2, 3, 4) % 251).astype(dtype)
    np.save(tmp_path / "a.npy", x)
    (batch,) = DlioJaxDataset(data_folder=tmp_path, batch_size=4).device_iter()
    assert batch.dtype == x.dtype.newbyteorder("=")
    assert np.array_equal(batch, np.moveaxis(x, -1, 0))


NARROWED = {"<i8": "i4", ">i8": "i4", "<u8": "u4", "<f8": "f4", ">f8": "f4", "<c16": "c8"}


@pytest.mark.parametrize("dtype", NARROWED)
@pytest.mark.parametrize("axes", [None, ("d",)])
def test_64_bits_become_32_as_everywhere_in_jax(tmp_path, dtype, axes):
    x = np.array([[0, 1, 2, 2**31 - 128]], dtype)
    np.save(tmp_path / "a.npy", x)
    ds = DlioJaxDataset(data_folder=tmp_path, batch_size=4)
    (batch,) = ds.device_iter(axes and sharding(*axes))
    assert batch.dtype == NARROWED[dtype]
    assert batch.dtype == jnp.asarray(next(iter(ds))).dtype
    assert np.array_equal(batch, x.T)


@pytest.mark.parametrize("dtype", NARROWED)
def test_64_bits_stay_where_jax_has_them(tmp_path, dtype):
    x = np.array([[0, 1, 2, 2**40 + 1]], dtype)
    np.save(tmp_path / "a.npy", x)
    with jax.enable_x64(True):
        (batch,) = DlioJaxDataset(data_folder=tmp_path, batch_size=4).device_iter()
        assert batch.dtype == x.dtype.newbyteorder("=")
        assert np.array_equal(batch, x.T)


def test_labels_become_int32(folder):
    _, y = next(DlioJaxDataset(data_folder=folder, batch_size=4, return_labels=True).device_iter())
    assert (y.dtype, y.tolist()) == (jnp.int32, [0, 1, 2, 3])


@pytest.mark.parametrize("dtype", ["<U3", "S4", "<M8[s]", "V2", "longdouble", [("a", "<i4"), ("b", "<f4")]])
def test_a_type_that_jax_lacks_is_named_with_its_field(tmp_path, dtype):
    x = np.zeros((2, 3), dtype)
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3)), z=x)
    ds = DlioJaxDataset(data_folder=tmp_path, fields=["x", "z"])
    with pytest.raises(UnsupportedError, match="field 'z' has dtype .*numpy arrays") as caught:
        next(ds.device_iter())
    assert str(x.dtype) in str(caught.value)


# -- over several devices --


@pytest.mark.parametrize("axes", [("d",), (), (None, "d"), (None, None, "d")])
def test_a_sharding_is_obeyed(folder, axes):
    where = sharding(*axes)
    ds = DlioJaxDataset(data_folder=folder, batch_size=8, drop_last=True)
    for batch, expected in zip(ds.device_iter(where), ds, strict=True):
        assert batch.sharding == where
        assert np.array_equal(batch, expected)
        assert all(
            np.array_equal(shard.data, expected[shard.index]) and len(batch.addressable_shards) == DEVICES
            for shard in batch.addressable_shards
        )


def test_each_field_may_have_a_sharding_of_its_own(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4, return_labels=True)
    where = {"x": sharding(None, "d"), "y": sharding("d")}
    x, y = next(ds.device_iter(where))
    assert (x.sharding, y.sharding) == (where["x"], where["y"])
    x, y = next(ds.device_iter({"x": where["x"]}))
    assert (x.sharding, y.devices()) == (where["x"], {jax.devices()[0]})


def test_a_batch_can_go_to_another_device(folder):
    there = jax.devices()[2]
    batch = next(DlioJaxDataset(data_folder=folder).device_iter(jax.sharding.SingleDeviceSharding(there)))
    assert batch.devices() == {there}


def test_a_short_last_batch_that_cannot_be_split_says_what_to_do(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=8)
    *batches, error = deliveries(ds.device_iter(sharding("d")))
    assert numbers(batches) == [list(range(8)), list(range(8, 16))]
    assert isinstance(error, ConfigError)
    for part in ("field 'x'", "(5, 16, 20)", "drop_last=True"):
        assert part in str(error)


def test_a_batch_size_that_the_devices_do_not_divide_is_refused_at_once(folder):
    with pytest.raises(ConfigError, match="a batch_size that the devices divide"):
        next(DlioJaxDataset(data_folder=folder, batch_size=6).device_iter(sharding("d")))


def test_samples_that_differ_in_shape_cannot_be_split(ragged_folder):
    ds = DlioJaxDataset(data_folder=ragged_folder, batch_size=4)
    with pytest.raises(ConfigError, match="field 'x': samples that differ in shape"):
        next(ds.device_iter(sharding("d")))


# -- transfers ahead --


@pytest.mark.parametrize("prefetch", [0, 1, 2, 100])
def test_so_many_transfers_are_ahead_of_the_consumer(folder, prefetch):
    ds = DlioJaxDataset(data_folder=folder, batch_size=2, drop_last=True)
    batches = ds.device_iter(sharding(None, "d"), prefetch)
    next(batches)
    assert ds.stats()["batches"] == min(1 + prefetch, 10)
    assert numbers(batches) == [[i, i + 1] for i in range(2, 20, 2)]


def test_the_number_of_transfers_ahead_is_an_option_with_a_default_of_two(folder):
    for options, ahead in (({}, 2), ({"prefetch_buffer_size": -1}, 2), ({"prefetch_buffer_size": 3}, 3)):
        ds = DlioJaxDataset(data_folder=folder, batch_size=4, jax_config=options)
        next(ds.device_iter(sharding("d")))
        assert ds.stats()["batches"] == 1 + ahead


def test_nothing_is_held_ahead_where_there_is_no_transfer(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4)
    next(ds.device_iter(prefetch=2))
    assert ds.stats()["batches"] == 1


def test_a_negative_number_of_transfers_is_refused(folder):
    with pytest.raises(ValueError, match="prefetch -1"):
        DlioJaxDataset(data_folder=folder).device_iter(prefetch=-1)


# -- what goes wrong --


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere") as caught:
        next(DlioJaxDataset(data_folder=tmp_path / "nowhere").device_iter())
    assert isinstance(caught.value, df.DlioFastError)


@pytest.mark.parametrize("prefetch", [0, 2, 100])
@pytest.mark.parametrize("axes", [None, ()])
def test_a_damaged_file_is_named_at_its_batches_and_the_rest_still_comes(folder, tmp_path, axes, prefetch):
    ds = DlioJaxDataset(data_folder=damaged_copy(folder, tmp_path), batch_size=4)
    batches = ds.device_iter(axes if axes is None else sharding(*axes), prefetch)
    got = [numbers([d])[0] if isinstance(d, jax.Array) else d for d in deliveries(batches)]
    errors = [d for d in got if isinstance(d, Exception)]
    assert [type(error) for error in errors] == [ChecksumError, ChecksumError]
    assert all(Path(error.path).name == "img_2_of_7.npz" for error in errors)
    expected = [[0, 1, 2, 3], errors[0], [4, 5], errors[1], [9, 10, 11], [12, 13, 14, 15]]
    assert got == [*expected, [16, 17, 18, 19], [20]]
