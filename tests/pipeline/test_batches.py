"""Batches are what the plain path gives: numpy-loaded samples, stacked in the sampler's order."""

import os
import shutil
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.formats.layout import npz_layout
from dlio_fast.pipeline import Sampler

from .files import numbered, write_files

DTYPES = ["u1", "?", "<i2", ">i4", "<f4", ">f8", "<c16", "S5", "<U3", "M8[ns]", "V7", "i4,(2,)f8,S3"]


def aligned_npz(path, x: np.ndarray) -> None:
    """An .npz whose payload begins at a block of the file, as our generator writes them."""
    layout = npz_layout(x.shape, x.dtype, 1, True)
    head, payload, tail = bytearray(layout.head), x.tobytes(), bytearray(layout.tail)
    crc = zlib.crc32(head[layout.crc_from :] + payload)
    struct.pack_into("<I", head, layout.crc_in_head, crc)
    struct.pack_into("<I", tail, layout.crc_in_tail, crc)
    with open(path, "wb") as file:
        file.write(head + payload + tail)


def write(path: str, kind: str, x: np.ndarray) -> None:
    if kind == "npy":
        np.save(path, x)
    elif kind == "aligned":
        aligned_npz(path, x)
    else:
        (np.savez_compressed if kind == "deflated" else np.savez)(path, x=x)


def random_array(rng: np.random.Generator, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    data = rng.bytes(dtype.itemsize * int(np.prod(shape)))
    return np.ndarray(shape, dtype, bytearray(data), order=order)


def plain_samples(paths, axis: int | None) -> list[np.ndarray]:
    """All samples, as numpy loads them."""
    samples = []
    for path in paths:
        loaded = np.load(path)
        array = loaded if isinstance(loaded, np.ndarray) else loaded["x"]
        samples += (
            [array]
            if axis is None
            else [np.moveaxis(array, axis, 0)[i, ...] for i in range(array.shape[axis])]
        )
    return samples


def assert_batches(batches, samples, sampler: Sampler, epoch: int, batch_size: int) -> None:
    ids = sampler.ids(epoch, 0, len(sampler))
    expected = [ids[i : i + batch_size] for i in range(0, len(ids), batch_size)]
    batches = list(batches)
    assert [len(batch["x"]) for batch in batches] == [len(ids) for ids in expected]
    for batch, ids in zip(batches, expected, strict=True):
        x = batch["x"]
        assert isinstance(x, np.ndarray) and x.dtype == samples[0].dtype
        assert x.shape == (len(ids), *samples[0].shape)
        assert x.flags.c_contiguous and x.flags.writeable and x.ctypes.data % 64 == 0
        for k, i in enumerate(ids):
            assert x[k, ...].tobytes() == samples[i].tobytes()


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["npz", "deflated", "npy", "aligned"]),
    dtype=st.sampled_from(DTYPES).map(np.dtype),
    shape=st.lists(st.integers(1, 9), max_size=3).map(tuple) | st.sampled_from([(4096,), (70, 1000), (0, 3)]),
    order=st.sampled_from("CF"),
    n_files=st.integers(1, 9),
    samples_per_file=st.integers(1, 5),
    axis=st.sampled_from([None, 0, -1]),
    batch_size=st.integers(1, 12),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 5),
    drop_last=st.booleans(),
    world_size=st.integers(1, 4),
    threads=st.integers(1, 5),
    prefetch_bytes=st.sampled_from([None, 0, 1, 5000, 300_000]),
    direct=st.booleans(),
    verify=st.booleans(),
    ragged=st.booleans(),
    data=st.data(),
)
def test_batches_are_the_samples_in_the_samplers_order(
    tmp_path_factory, kind, dtype, shape, order, n_files, samples_per_file, axis, batch_size, shuffle, seed,
    epoch, drop_last, world_size, threads, prefetch_bytes, direct, verify, ragged, data,
):  # fmt: skip
    rng = np.random.default_rng(seed)
    if axis is not None:
        shape = (samples_per_file, *shape) if axis == 0 else (*shape, samples_per_file)
    folder = tmp_path_factory.mktemp("files")
    paths = [f"{folder}/f{i}.{'npy' if kind == 'npy' else 'npz'}" for i in range(n_files)]
    for path in paths:
        write(path, kind, random_array(rng, dtype, shape, "C" if kind == "aligned" else order))
    rank = data.draw(st.integers(0, world_size - 1))
    dataset = df.Dataset.from_files(
        f"{'direct://' if direct else ''}{folder}", fields=["x"], sample_axis=axis, ragged=ragged
    )
    loader = df.Loader(
        dataset, batch_size=batch_size, shuffle=shuffle, seed=seed, drop_last=drop_last, rank=rank,
        world_size=world_size, threads=threads, prefetch_bytes=prefetch_bytes, verify=verify,
    )  # fmt: skip
    samples = plain_samples(paths, axis)
    sampler = Sampler(
        len(samples), shuffle, seed, rank=rank, world_size=world_size, batch_size=batch_size,
        drop_last=drop_last,
    )  # fmt: skip
    with loader:
        loader.set_epoch(epoch)
        batches = list(loader)
        assert len(loader) == len(batches)
        if ragged:
            batches = [{"x": stacked(batch["x"])} for batch in batches]
        assert_batches(batches, samples, sampler, epoch, batch_size)
    dataset.close()
    shutil.rmtree(folder)


def stacked(values) -> np.ndarray:
    """One aligned array of a list of aligned arrays."""
    if isinstance(values, np.ndarray):
        return values
    assert all(value.flags.writeable and value.ctypes.data % 64 == 0 for value in values)
    memory = np.empty(sum(value.nbytes for value in values) + 64, "u1")
    memory = memory[-memory.ctypes.data % 64 :]
    whole = np.ndarray((len(values), *values[0].shape), values[0].dtype, memory)
    for i, value in enumerate(values):
        whole[i, ...] = value
    return whole


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_samples_lie_along_any_axis(tmp_path, axis, order, scheme):
    arrays = [np.asarray(array, order=order) for array in numbered(4, (5, 6, 7), "f4")]
    paths = write_files(tmp_path, arrays)
    dataset = df.Dataset.from_files(f"{scheme}{tmp_path}", sample_axis=axis)
    batches = df.Loader(dataset, batch_size=4, shuffle=True, seed=3)
    samples = plain_samples(paths, axis)
    assert_batches(batches, samples, Sampler(len(samples), True, 3), 0, 4)


@pytest.mark.parametrize("scheme", ["", "direct://"])
@pytest.mark.parametrize("kind", ["npz", "deflated", "npy", "aligned"])
def test_samples_of_megabytes(tmp_path, scheme, kind):
    rng = np.random.default_rng(1)
    paths = [f"{tmp_path}/f{i}.{'npy' if kind == 'npy' else 'npz'}" for i in range(6)]
    for path in paths:
        write(path, kind, rng.integers(0, 9, (1500, 1001), "u1"))
    dataset = df.Dataset.from_files(f"{scheme}{tmp_path}", fields="x")
    batches = df.Loader(dataset, batch_size=2, threads=3, prefetch_bytes=4_000_000)
    assert_batches(batches, plain_samples(paths, None), Sampler(6), 0, 2)


def test_the_order_depends_neither_on_threads_nor_on_prefetching(tmp_path):
    write_files(tmp_path, numbered(40, (100,)))
    dataset = df.Dataset.from_files(tmp_path)
    seen = {
        tuple(
            int(x[0])
            for batch in df.Loader(
                dataset, batch_size=3, shuffle=True, seed=5, threads=threads, prefetch_bytes=prefetch_bytes
            )
            for x in batch["x"]
        )
        for threads in (1, 2, 16)
        for prefetch_bytes in (0, 1000, 10_000, None)
    }
    assert len(seen) == 1 and sorted(seen.pop()) == list(range(0, 4000, 100))


def test_every_field_is_in_the_batch(tmp_path):
    x, y = numbered(7, (4, 5), "f4"), np.arange(7)
    write_files(tmp_path, x, y=y, label=[f"sample {i}" for i in range(7)])
    dataset = df.Dataset.from_files(tmp_path)
    batch = next(iter(df.Loader(dataset, batch_size=7)))
    assert list(batch) == ["x", "y", "label"]
    np.testing.assert_array_equal(batch["x"], x)
    np.testing.assert_array_equal(batch["y"], y)
    assert batch["label"].tolist() == [f"sample {i}" for i in range(7)]
    assert all(value.ctypes.data % 64 == 0 for value in batch.values())
    picked = df.Dataset.from_files(tmp_path, fields=["label", "x"])
    assert list(next(iter(df.Loader(picked, batch_size=7)))) == ["label", "x"]


# -- samples that differ --


def ragged_arrays() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 255, (rng.integers(1, 80), rng.integers(1, 80)), "u1") for _ in range(30)]


@pytest.mark.parametrize("scheme", ["", "direct://"])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("prefetch_bytes", [0, 20_000, None])
def test_samples_of_differing_shape_come_as_a_list(tmp_path, scheme, ragged, prefetch_bytes):
    arrays = ragged_arrays()
    write_files(tmp_path, arrays, y=list(range(30)))
    dataset = df.Dataset.from_files(f"{scheme}{tmp_path}", ragged=ragged)
    loader = df.Loader(dataset, batch_size=4, shuffle=True, seed=1, prefetch_bytes=prefetch_bytes)
    order = iter(loader.sampler.ids(0, 0, 30))
    for batch in loader:
        assert isinstance(batch["x"], list)
        for x, y in zip(batch["x"], batch["y"], strict=True):
            i = next(order)
            np.testing.assert_array_equal(x, arrays[i])
            assert y == i and x.flags.writeable and x.ctypes.data % 64 == 0
    assert next(order, None) is None


def test_a_batch_is_an_array_where_its_own_samples_agree(tmp_path):
    write_files(tmp_path, [np.zeros(3)] * 2 + [np.zeros(4)] + [np.zeros(3)])
    kinds = [type(batch["x"]) for batch in df.Loader(df.Dataset.from_files(tmp_path), batch_size=2)]
    assert kinds == [np.ndarray, list]


def test_samples_of_differing_dtype_come_as_a_list(tmp_path):
    arrays = [np.arange(6, dtype=dtype) for dtype in ("<i4", "<f4", ">i8", "u1")]
    write_files(tmp_path, arrays)
    (batch,) = df.Loader(df.Dataset.from_files(tmp_path), batch_size=4)
    assert [x.dtype for x in batch["x"]] == [array.dtype for array in arrays]
    for x, array in zip(batch["x"], arrays, strict=True):
        np.testing.assert_array_equal(x, array)


def test_byte_order_and_memory_order_may_differ_from_file_to_file(tmp_path):
    base = np.arange(24.0).reshape(4, 6)
    write_files(tmp_path, [base, np.asfortranarray(base), base])
    (batch,) = df.Loader(df.Dataset.from_files(tmp_path), batch_size=3)
    np.testing.assert_array_equal(batch["x"], [base] * 3)
    write_files(tmp_path, [base, base.astype(">f8")], "g{}.npz")
    (batch,) = df.Loader(df.Dataset.from_files(f"{tmp_path}/g*"), batch_size=2)
    for x in batch["x"]:
        np.testing.assert_array_equal(x, base)


def test_members_may_lie_in_another_order_with_others_between(tmp_path):
    x = np.arange(12).reshape(3, 4)
    np.savez(tmp_path / "a.npz", x=x, y=1)
    np.savez(tmp_path / "b.npz", other=np.zeros(1000), y=2, x=x + 1)
    with zipfile.ZipFile(tmp_path / "b.npz", "a") as archive:
        archive.writestr("note.txt", "text")
    (batch,) = df.Loader(df.Dataset.from_files(tmp_path), batch_size=2)
    np.testing.assert_array_equal(batch["x"], [x, x + 1])
    assert batch["y"].tolist() == [1, 2]


# -- the memory of batches --


@pytest.mark.parametrize("prefetch_bytes", [0, 100_000, None])
@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_what_the_consumer_holds_never_changes(tmp_path, prefetch_bytes, scheme):
    arrays = numbered(60, (40, 50), "f4")
    write_files(tmp_path, arrays)
    dataset = df.Dataset.from_files(f"{scheme}{tmp_path}")
    loader = df.Loader(dataset, batch_size=4, prefetch_bytes=prefetch_bytes)
    held = [batch["x"] for _ in range(3) for batch in loader]
    views = [batch["x"][1, 3:5] for batch in loader]  # all else of these batches is dropped
    loader.close()
    for i, x in enumerate(held):
        np.testing.assert_array_equal(x, arrays[i % 15 * 4 : i % 15 * 4 + 4])
    for i, view in enumerate(views):
        np.testing.assert_array_equal(view, arrays[i * 4 + 1][3:5])


def test_batches_share_no_memory(tmp_path):
    write_files(tmp_path, numbered(20, (40, 50)))
    batches = [batch["x"] for batch in df.Loader(df.Dataset.from_files(tmp_path), batch_size=4)]
    spans = sorted((x.ctypes.data, x.ctypes.data + x.nbytes) for x in batches)
    assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False))


def test_memory_goes_round_where_nothing_is_held(tmp_path):
    write_files(tmp_path, numbered(100, (40, 50)))
    loader = df.Loader(df.Dataset.from_files(tmp_path), batch_size=2, prefetch_bytes=200_000)
    for _ in range(3):
        for batch in loader:
            batch["x"] += 1
    pool = loader.stats()["pool"]
    assert pool["peak"] < 600_000 < 300 * 40 * 50 * 8


def test_batches_go_on_when_their_files_are_gone(tmp_path):
    arrays = numbered(4, (40, 50))
    paths = write_files(tmp_path, arrays)
    (batch,) = df.Loader(df.Dataset.from_files(tmp_path), batch_size=4)
    for path in paths:
        os.truncate(path, 0)
    np.testing.assert_array_equal(batch["x"], arrays)
