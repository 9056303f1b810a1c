"""Bad files raise the typed exception that fits, name the file, and take nothing else along."""

import os

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import DataError
from tests.faults.bad_files import NPY, NPZ, PACKED, X, archived, bomb, good_npy, good_npz
from tests.faults.doors import DOORS, peak_memory, prompt

CASES = {
    **{f"npz: {name}": (".npz", data, error) for name, (data, error) in NPZ.items()},
    **{f"npy: {name}": (".npy", data, error) for name, (data, error) in NPY.items()},
    **{f"stored: {name}": (".npz", archived(data), error) for name, (data, error) in NPY.items()},
    **{f"deflated: {name}": (".npz", archived(data, True), error) for name, (data, error) in NPY.items()},
}


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request, tmp_path):
    suffix, data, error = CASES[request.param]
    bad, good = tmp_path / f"bad{suffix}", tmp_path / f"good{suffix}"
    bad.write_bytes(data)
    good.write_bytes(good_npz() if suffix == ".npz" else good_npy())
    if request.param in ("npz: empty", "npz: no members"):
        error = DataError
    return bad, good, error


@pytest.fixture
def no_more_memory():
    """No size that a file declares is allocated before it is checked."""
    df.load  # noqa: B018 (the library is there before the first measurement)
    before = peak_memory()
    yield
    assert peak_memory() - before < 200 << 20


@pytest.mark.parametrize("door", [name for name in DOORS if name != "load"])
@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_a_bad_file_raises_what_fits_and_names_itself(case, door, scheme, no_more_memory):
    bad, good, error = case
    with prompt(), pytest.raises(error) as caught:
        DOORS[door](f"{scheme}{bad}", f"{scheme}{good}")
    assert isinstance(caught.value, DataError)
    assert caught.value.path == str(bad) and str(bad) in str(caught.value)
    assert caught.value.offset is None or 0 <= caught.value.offset <= os.path.getsize(bad)


def test_load_refuses_it_too(case, no_more_memory):
    bad, _, error = case
    with prompt():
        try:
            got = DOORS["load"](bad)
        except DataError as caught:
            assert caught.path == str(bad) and str(bad) in str(caught)
            assert isinstance(caught, error)
        else:
            assert got == {} and error is DataError  # an archive without members is no error to numpy


def test_the_rest_of_the_batch_still_comes(case):
    bad, good, error = case
    data = df.Dataset.from_files([good, bad, good, good], format=bad.suffix[1:])
    with df.Loader(data, batch_size=3, threads=2) as batches:
        passing = iter(batches)
        with pytest.raises(error, match="bad"):
            next(passing)
        assert [len(batch["x"]) for batch in passing] == [2, 1]
    with df.Loader(data, batch_size=3, threads=2, on_error="skip") as batches:
        got = list(batches)
        assert [len(batch["x"]) for batch in got] == [2, 1]
        assert all(np.array_equal(x, X) for batch in got for x in batch["x"])
        assert batches.stats()["skipped_samples"] == 1


def test_the_good_files_of_this_folder_are_good(tmp_path):
    for suffix, data in (
        (".npz", good_npz()),
        (".npz", PACKED),
        (".npy", good_npy()),
        (".npz", bomb(32 << 20)),
    ):
        path = tmp_path / f"f{suffix}"
        path.write_bytes(data)
        for read in DOORS.values():
            assert np.array_equal(read(path)["x"], X)


def test_a_fault_in_a_member_names_the_member_and_a_byte_of_it(tmp_path):
    data = good_npz(compressed=True, first=X, second=X[::-1])
    at = data.index(b"PK\x03\x04", 10) + 200
    path = tmp_path / "f.npz"
    path.write_bytes(data[:at] + bytes([data[at] ^ 255]) + data[at + 1 :])
    with df.load(path) as archive:
        assert np.array_equal(archive["first"], X)
        with pytest.raises(DataError, match="second") as caught:
            archive["second"]
    assert caught.value.member.startswith("second")
    assert data.index(b"PK\x03\x04", 10) <= caught.value.offset < len(data)


def test_a_bad_first_file_is_one_of_many(tmp_path):
    names = []
    for i, data in enumerate([b"garbage", good_npz(), good_npz()]):
        names.append(tmp_path / f"{i}.npz")
        names[-1].write_bytes(data)
    with df.Loader(df.Dataset.from_files(names), batch_size=3, on_error="skip") as batches:
        assert [batch["x"].shape for batch in batches] == [(2, 50, 40)]
    data = df.Dataset.from_files(names)
    with pytest.raises(DataError, match="0.npz"):
        data[0]
    assert np.array_equal(data[1]["x"], X)


def test_files_that_differ_are_delivered_or_refused_but_never_mixed_up(tmp_path):
    arrays = [X, X[:, :7], X.astype("<i4"), np.zeros(3, [("a", "<i4")]), X.T.copy(order="F"), X]
    names = []
    for i, array in enumerate(arrays):
        names.append(tmp_path / f"{i}.npy")
        np.save(names[-1], array)
    with df.Loader(df.Dataset.from_files(names), batch_size=6, on_error="skip") as batches:
        got = next(iter(batches))["x"]
    expected = [array for array in arrays if array.dtype.names is None]
    assert len(got) == len(expected)
    for array, want in zip(got, expected, strict=True):
        assert array.dtype == want.dtype and np.array_equal(array, want)


def test_samples_without_bytes_are_arrays_as_well(tmp_path):
    np.savez(tmp_path / "f.npz", x=np.zeros((0, 4), np.float32))
    with df.Loader(df.Dataset.from_files([tmp_path / "f.npz"] * 3), batch_size=3) as batches:
        batch = next(iter(batches))["x"]
    assert isinstance(batch, np.ndarray) and batch.shape == (3, 0, 4) and batch.dtype == np.float32


def test_scalars_of_a_sample_are_arrays_without_dimensions(tmp_path):
    np.savez(tmp_path / "f.npz", x=np.float32(3))
    sample = df.Dataset.from_files(tmp_path / "f.npz")[0]["x"]
    assert isinstance(sample, np.ndarray) and sample.shape == () and sample == 3
