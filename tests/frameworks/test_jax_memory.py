"""DlioJaxDataset.device_iter on the CPU: arrays lie where the files were read to; nobody ever writes there.

JAX takes the memory of an aligned array as it is, without a word; so the promise is that memory goes back to
the pool only when the last jax.Array over it, and the last computation on it, is gone.
"""

import gc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlio_fast as df
from dlio_fast._device_iter import _placed
from dlio_fast.jax import DlioJaxDataset
from tests.frameworks.jax_support import sharding, write_planes

PLANES, SIDE, BATCH = 24, 128, 4
BATCH_BYTES = BATCH * SIDE * SIDE * 4
SMALL = BATCH_BYTES * 2
"""A budget of two batches, so that memory is used again at once."""


@pytest.fixture(scope="module")
def planes(tmp_path_factory):
    return write_planes(tmp_path_factory.mktemp("planes") / "data", PLANES, SIDE)


def dataset(planes, **options):
    return DlioJaxDataset(data_folder=planes, **{"batch_size": BATCH, "prefetch_bytes": SMALL, **options})


def numbers_of(batch):
    """The numbers of a batch's samples, each of whose elements must be that number."""
    values = np.asarray(batch)
    assert (values == values[:, :1, :1]).all(), "a sample has elements of another"
    return values[:, 0, 0].tolist()


EPOCH = list(range(PLANES))
WHERE = {"default": None, "rows": ("d",), "replicated": ()}


@pytest.fixture(params=WHERE)
def where(request):
    axes = WHERE[request.param]
    return None if axes is None else sharding(*axes)


def lent(ds):
    """Buffers that are not back in the pool."""
    gc.collect()
    jnp.zeros(1).block_until_ready()  # JAX drops references to arrays of Python's when it is called
    return ds.stats()["pool"]["lent"]


def test_an_array_s_every_piece_lies_in_the_buffer_that_was_read_into(planes, where):
    loader = df.Loader(df.Dataset({"dataset": {"data_folder": str(planes)}}), batch_size=BATCH)
    for batch in loader:
        for name, array in batch.items():
            on_device = _placed(name, array.astype("i4") if name == "y" else array, where)
            if name == "y":
                continue  # int64, of which JAX makes int32
            first, last = array.base.address, array.base.address + array.base.nbytes
            for shard in on_device.addressable_shards:
                assert first <= shard.data.unsafe_buffer_pointer() <= last - shard.data.nbytes


def test_an_array_keeps_its_memory_from_the_pool_and_gives_it_back(planes, where):
    ds = dataset(planes)
    batches = ds.device_iter(where, prefetch=0)
    held = list(batches)
    assert lent(ds) == len(held) == PLANES // BATCH
    del held[2:]
    assert lent(ds) == 2
    held.clear()
    assert lent(ds) == 0


def test_memory_is_used_again(planes, where):
    ds = dataset(planes)
    for _ in range(10):
        for batch in ds.device_iter(where):
            batch.block_until_ready()
    assert ds.stats()["pool"]["peak"] <= SMALL + 6 * 2 * BATCH_BYTES


def test_no_fresh_memory_is_needed_once_a_pass_is_done(planes, where):
    ds = dataset(planes)
    for _ in range(3):
        for batch in ds.device_iter(where):
            batch.block_until_ready()
        del batch
    pool = ds.stats()["pool"]
    assert pool["mapped"] == pool["peak"], "memory was given back to the system, to be faulted in again"


def test_arrays_keep_their_values_for_as_long_as_they_live(planes, where):
    ds = dataset(planes, shuffle=True)
    held = [batch for _ in range(3) for batch in ds.device_iter(where)]
    for batch in ds:  # the same pool's memory, written to as much as possible
        batch[:] = -1
    for _ in range(3):
        for batch in ds.device_iter(where):
            numbers_of(batch)
    epochs = [sum(map(numbers_of, held[i : i + 6]), []) for i in range(0, 18, 6)]
    assert all(sorted(epoch) == EPOCH for epoch in epochs)


def test_arrays_outlive_the_data_set(planes, where):
    ds = dataset(planes)
    held = list(ds.device_iter(where))
    ds.close()
    del ds
    gc.collect()
    others = [batch for _ in range(3) for batch in dataset(planes, shuffle=True)]
    for batch in others:
        batch[:] = -1
    assert sum(map(numbers_of, held), []) == EPOCH


@jax.jit
def slow_double(x):
    """2 x, after a while in which the caller has long gone on."""
    y = x.reshape(-1, SIDE, SIDE)
    for _ in range(3):
        y = y @ jnp.eye(SIDE, dtype=y.dtype)
    return y + x


def test_computations_under_way_keep_the_memory_that_they_read(planes, where):
    ds = dataset(planes)
    results = []
    for _ in range(4):
        for batch in ds.device_iter(where):
            results.append(slow_double(batch))  # and the batch is dropped
    assert sum((numbers_of(result / 2) for result in results), []) == EPOCH * 4


def test_donated_arrays_are_not_written_to_in_place(planes, where):
    add_one = jax.jit(lambda x: x + 1, donate_argnums=0)
    ds = dataset(planes)
    array = next(iter(ds))
    on_device = _placed("x", array, where)
    result = add_one(on_device).block_until_ready()
    assert on_device.is_deleted()
    assert numbers_of(array) == EPOCH[:BATCH]
    array[:] = -1
    assert numbers_of(result) == [i + 1 for i in EPOCH[:BATCH]]


def test_donation_corrupts_neither_held_arrays_nor_later_batches(planes, where):
    add_one = jax.jit(lambda x: x + 1, donate_argnums=0)
    ds = dataset(planes)
    held, results = [], []
    for _ in range(3):
        for i, batch in enumerate(ds.device_iter(where)):
            numbers_of(batch)
            if i % 2:
                held.append(batch)
            else:
                results.append(add_one(batch))
                assert batch.is_deleted()
    expected = [EPOCH[i : i + BATCH] for i in range(0, PLANES, BATCH)]
    assert list(map(numbers_of, held)) == expected[1::2] * 3
    assert [numbers_of(result - 1) for result in results] == expected[::2] * 3
    del held, results, batch
    assert lent(ds) == 0


def test_an_array_donated_again_and_again_ends_where_it_should(planes, where):
    """A training state that began as a batch: each step donates what the step before returned."""
    add = jax.jit(lambda state, x: state + x, donate_argnums=0)
    ds = dataset(planes)
    batches = ds.device_iter(where)
    state = next(batches)
    for batch in batches:
        state = add(state, batch)
    columns = np.array(EPOCH).reshape(-1, BATCH).sum(axis=0)
    assert numbers_of(state) == columns.tolist()
    assert sum(map(numbers_of, ds.device_iter(where)), []) == EPOCH


def test_deleting_an_array_by_hand_gives_its_memory_back_once(planes, where):
    ds = dataset(planes)
    batches = ds.device_iter(where, prefetch=0)
    first, second = next(batches), next(batches)
    first.delete()
    assert sum(map(numbers_of, batches), []) == EPOCH[2 * BATCH :]
    assert numbers_of(second) == EPOCH[BATCH : 2 * BATCH]
    del second
    assert lent(ds) == 0
