"""Indexed binary: every sample is what its index says, however they lie, in whatever order they come."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import ConfigError, MemberError
from dlio_fast.formats import format_named
from tests.formats.indexed import random_samples, write_indexed, write_samples

SCHEMES = ["", "direct://"]
FORMATS = ["indexed_binary", "mmap_indexed_binary"]


def dataset(scheme, *paths, **options):
    return df.Dataset.from_files([f"{scheme}{path}" for path in paths], format="indexed_binary", **options)


def configured(folder, **section):
    return df.Dataset({"dataset": {"data_folder": str(folder), "format": "indexed_binary", **section}})


# Where samples lie

extents = st.lists(
    st.tuples(st.integers(0, 70_000), st.integers(0, 3000) | st.integers(30_000, 70_000)), min_size=1
)
DATA = np.random.default_rng(0).bytes(140_000)


@settings(deadline=None)
@given(
    extents,
    st.lists(st.integers(0, 10**6), min_size=1, max_size=40),
    st.sampled_from(SCHEMES),
    st.booleans(),
)
def test_any_index_is_followed_in_any_order(tmp_path_factory, extents, order, scheme, ragged):
    """Overlaps, gaps, empty samples, and the same sample twice included."""
    folder = tmp_path_factory.mktemp("any")
    offsets, sizes = zip(*extents, strict=True)
    write_indexed(folder / "a", DATA, offsets, sizes)
    write_indexed(folder / "b", DATA[::-1], offsets, sizes)
    ids = [i % (2 * len(extents)) for i in order]
    with_data = [((DATA, DATA[::-1])[i // len(extents)], extents[i % len(extents)]) for i in ids]
    got = dataset(scheme, folder / "a", folder / "b", ragged=ragged).batch(ids)["x"]
    assert [bytes(x) for x in got] == [data[at : at + size] for data, (at, size) in with_data]
    assert all(x.dtype == np.uint8 and x.ndim == 1 for x in got)


@settings(deadline=None)
@given(
    nbytes=st.integers(1, 5000),
    per_file=st.integers(1, 50),
    files=st.integers(1, 4),
    batch_size=st.integers(1, 70),
    shuffle=st.sampled_from([False, True, "files"]),
    scheme=st.sampled_from(SCHEMES),
)
def test_a_pass_brings_every_sample_once(
    tmp_path_factory, nbytes, per_file, files, batch_size, shuffle, scheme
):
    folder = tmp_path_factory.mktemp("pass")
    samples = [random_samples(per_file, nbytes, seed) for seed in range(files)]
    paths = [write_samples(folder / f"{i}", own) for i, own in enumerate(samples)]
    with df.Loader(dataset(scheme, *paths), batch_size=batch_size, shuffle=shuffle, seed=1) as loader:
        batches = [batch["x"] for batch in loader]
    got = [bytes(x) for batch in batches for x in batch]
    expected = [sample for own in samples for sample in own]
    assert sorted(got) == sorted(expected)
    assert shuffle or got == expected
    assert all(isinstance(batch, np.ndarray) for batch in batches)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("nbytes", [2048, 3000, 200_000])
@pytest.mark.parametrize("shuffle", [False, True])
def test_o_direct_is_used_where_it_is_asked_for(tmp_path, scheme, nbytes, shuffle):
    samples = random_samples(20, nbytes)
    path = write_samples(tmp_path / "f", samples)
    with df.Loader(dataset(scheme, path), batch_size=7, shuffle=shuffle) as loader:
        assert sorted(bytes(x) for batch in loader for x in batch["x"]) == sorted(samples)
        stats = loader.stats()
    assert stats["direct_bytes"] == (stats["bytes_read"] if scheme and not stats["fallbacks"] else 0)


def test_neighbours_take_one_read(tmp_path):
    path = write_samples(tmp_path / "f", random_samples(64, 2048))
    with df.Loader(dataset("", path), batch_size=32, shuffle=False, threads=1) as loader:
        assert sum(len(batch["x"]) for batch in loader) == 64
        assert loader.stats()["reads"] == 2 + 2  # two batches, and the two halves of the index


def test_a_file_is_opened_once_for_many_batches(tmp_path):
    paths = [write_samples(tmp_path / f"{i}", random_samples(100, 100, i)) for i in range(3)]
    with df.Loader(dataset("", *paths), batch_size=10, shuffle=True, threads=1) as loader:
        assert len(list(loader)) == 30
        assert loader.stats()["files"] == 3 + 2 * 3


FEW_DESCRIPTORS = """
import resource, sys
import dlio_fast as df
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
data = df.Dataset.from_files(sys.argv[1], format="indexed_binary")
with df.Loader(data, batch_size=50, shuffle=True, threads=4) as loader:
    got = sorted(bytes(x) for batch in loader for x in batch["x"])
assert got == sorted(b"%05d" % i for i in range(600)), len(got)
"""


def test_more_files_than_may_be_open_are_no_trouble(tmp_path):
    for i in range(300):
        write_samples(tmp_path / f"{i}.indexed_binary", [b"%05d" % (2 * i), b"%05d" % (2 * i + 1)])
    subprocess.run([sys.executable, "-c", FEW_DESCRIPTORS, tmp_path], check=True, timeout=60)


# DLIO's offsets


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("period", [1, 2, 4, 9, 10])
def test_offsets_that_start_again_with_dlios_buffer_are_put_right(tmp_path, scheme, period):
    samples = random_samples(10, 64)
    offsets = [i % period * 64 for i in range(10)]
    path = write_indexed(tmp_path / "f", b"".join(samples), offsets, [64] * 10)
    got = dataset(scheme, path).batch([9, 3, 0, 7, 7])["x"]
    assert [bytes(x) for x in got] == [samples[i] for i in (9, 3, 0, 7, 7)]


@pytest.mark.parametrize(
    ("offsets", "sizes", "behind"),
    [
        ([0, 64, 0, 64], [64] * 4, 1),  # does not fill the file
        ([0, 64, 0, 64], [64] * 4, -64),
        ([0, 64, 0, 128], [64] * 4, 0),  # starts again, but not so
        ([0, 64, 128, 0], [64, 64, 64, 63], 0),
        ([0, 0, 64, 64], [64] * 4, 0),
    ],
)
def test_other_indexes_that_repeat_themselves_are_followed(tmp_path, offsets, sizes, behind):
    data = np.random.default_rng(0).bytes(4 * 64 + behind)
    path = write_indexed(tmp_path / "f", data, offsets, sizes)
    got = dataset("", path).batch(range(4))["x"]
    assert [bytes(x) for x in got] == [data[a : a + n] for a, n in zip(offsets, sizes, strict=True)]


# Shapes


def test_without_a_configuration_samples_are_bytes(tmp_path):
    data = dataset("", write_samples(tmp_path / "f", random_samples(3, 20)))
    (field,) = data.spec.fields
    assert (field.name, field.dtype, field.shape, data.spec.samples) == ("x", np.uint8, (20,), 3)


def test_under_a_configuration_samples_have_its_type_and_shape(tmp_path):
    values = np.arange(3 * 4 * 5, dtype="<f4").reshape(3, 4, 5)
    write_samples(tmp_path / "f.indexed_binary", [x.tobytes() for x in values])
    data = configured(tmp_path, record_dims=[4, 5], record_element_type="float32")
    np.testing.assert_array_equal(data.batch(range(3))["x"], values)
    assert data.batch([1])["x"].dtype == np.float32
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data))[2]["x"], values[2])


def test_samples_of_another_size_than_the_configured_one_are_flat(tmp_path):
    values = [np.arange(n, dtype="<i4") for n in (6, 7, 6)]
    for i, value in enumerate([values[0], values[1], b"12345"]):
        write_samples(tmp_path / f"{i}.indexed_binary", [bytes(value)])
    data = configured(tmp_path, record_dims=[2, 3], record_element_type="int32")
    first, second, third = data.batch(range(3))["x"]
    np.testing.assert_array_equal(first, values[0].reshape(2, 3))
    np.testing.assert_array_equal(second, values[1])
    assert third.dtype == np.uint8 and bytes(third) == b"12345"


def test_a_configuration_of_another_size_leaves_the_files_as_they_are(tmp_path):
    write_samples(tmp_path / "f.indexed_binary", random_samples(2, 12))
    data = configured(tmp_path, record_dims=[2, 2], record_element_type="int32")
    assert data[1]["x"].shape == (3,) and data[1]["x"].dtype == np.int32


def test_ragged_sizes_of_a_configuration_are_lists_of_elements(tmp_path):
    samples = [np.arange(n, dtype="<f8") for n in (3, 5)]
    for i, sample in enumerate(samples):
        write_samples(tmp_path / f"{i}.indexed_binary", [sample.tobytes()])
    data = configured(
        tmp_path, record_length_bytes=4, record_length_bytes_stdev=1, record_element_type="float64"
    )
    for got, expected in zip(data.batch([0, 1])["x"], samples, strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", FORMATS)
def test_both_formats_read_every_byte_and_find_their_files_by_suffix(tmp_path, name):
    samples = random_samples(4, 5000)
    path = write_samples(tmp_path / f"f.{name}", samples)
    data = df.Dataset.from_files(tmp_path)
    assert data.format.name == name and list(data.files) == [str(path)]
    with df.Loader(data, batch_size=4) as loader:
        assert sorted(bytes(x) for x in next(iter(loader))["x"]) == sorted(samples)
        assert loader.stats()["bytes_read"] >= 20_000


def test_there_is_one_field(tmp_path):
    path = write_samples(tmp_path / "f", random_samples(2, 8))
    assert list(dataset("", path, fields="x")[0]) == ["x"]
    with pytest.raises(MemberError, match="one field 'x'"):
        dataset("", path, fields=["y"])[0]


# Files that change


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_that_was_written_anew_is_read_anew(tmp_path, replace):
    path = write_samples(tmp_path / "f", random_samples(4, 100, 1))
    data = dataset("", path)
    assert bytes(data[3]["x"]) == random_samples(4, 100, 1)[3]
    anew = random_samples(4, 130, 2)
    if replace:
        write_samples(tmp_path / "g", anew)
        for ending in (".off.idx", ".sz.idx", ""):
            os.replace(f"{tmp_path}/g{ending}", f"{path}{ending}")
    else:
        write_samples(path, anew)
    assert [bytes(x) for x in data.batch([3, 0])["x"]] == [anew[3], anew[0]]


def test_other_files_of_a_batch_are_not_taken_along(tmp_path):
    good = random_samples(3, 50)
    paths = [write_samples(tmp_path / f"{i}", good) for i in range(3)]
    os.truncate(paths[1], 149)
    with df.Loader(dataset("", *paths), batch_size=9, on_error="skip") as loader:
        (batch,) = [batch["x"] for batch in loader]
        assert [bytes(x) for x in batch] == good * 2
        assert loader.stats()["skipped_samples"] == 3


# The format


def test_a_format_of_a_configuration_is_its_own(tmp_path):
    before = format_named("indexed_binary").dtype
    configured(tmp_path, record_element_type="int16")
    assert format_named("indexed_binary").dtype == before == np.uint8
    with pytest.raises(ConfigError):
        df.Dataset({"dataset": {"data_folder": str(tmp_path), "format": "indexed_binaries"}})
