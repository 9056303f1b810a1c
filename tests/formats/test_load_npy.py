"""``df.load`` of .npy files: what ``numpy.load`` returns, for every file that numpy writes."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import FormatError, TruncatedError, UnsupportedError

from .arrays import array_of, arrays, assert_same

pytestmark = pytest.mark.filterwarnings("ignore:Stored array in format")

SCHEMES = ["", "file://", "direct://"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("npy") / "f.npy"


@settings(max_examples=300)
@given(arrays, st.sampled_from(SCHEMES), st.booleans())
def test_an_array_is_what_numpy_loads(path, array, scheme, mmap):
    np.save(path, array)
    assert_same(df.load(f"{scheme}{path}", mmap=mmap), np.load(path))


@given(arrays, st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_every_version_of_the_header_is_read(path, array, version):
    with open(path, "wb") as file:
        try:
            np.lib.format.write_array(file, array, version)
        except UnicodeEncodeError:  # names of fields that version 1 and 2 cannot write
            return
    assert_same(df.load(path), np.load(path))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("nbytes", [384, 4095, 4096, 8 << 20, (8 << 20) + 1, 20_000_000])
def test_large_arrays(path, scheme, nbytes):
    array = array_of("u1", (nbytes,))
    np.save(path, array)
    assert_same(df.load(f"{scheme}{path}"), array)


def test_headers_of_any_length(path):
    """Version 2 from 64 KiB on; numpy itself reads those above 10,000 characters only where told to."""
    for fields in (1, 400, 600, 5000):
        array = array_of([(f"field_{i:05d}", "<i4") for i in range(fields)], (2,))
        np.save(path, array)
        assert_same(df.load(path), np.load(path, max_header_size=10**6))


@pytest.mark.parametrize("dtype", ["S0", "U0", "V0", [("a", "S0"), ("b", "i4")], [("a", "S0")]])
@pytest.mark.parametrize("shape", [(), (3,), (0, 2)])
@pytest.mark.parametrize("mmap", [False, True])
def test_items_of_no_bytes(path, dtype, shape, mmap):
    np.save(path, np.ndarray(shape, dtype))
    assert_same(df.load(path, mmap=mmap), np.load(path))


@pytest.mark.parametrize("text", ["", "a", "trailing\0", "żółw", "\U0001f422"])
def test_strings_keep_their_values(path, text):
    for array in (np.array([text, "b"]), np.array([text.encode(), b"b"]), np.array(text)):
        np.save(path, array)
        loaded = df.load(path)
        assert loaded.dtype == array.dtype and loaded.tolist() == array.tolist()


def test_arrays_that_are_no_block_of_memory(path):
    base = np.arange(60.0).reshape(3, 4, 5)
    for array in (base[::2], base.T, base[:, ::-1], base.transpose(1, 0, 2), np.broadcast_to(3, (2, 2))):
        np.save(path, array)
        assert_same(df.load(path), np.load(path))


def test_a_file_in_a_file_object_written_twice_holds_the_first(path):
    with open(path, "wb") as file:
        np.save(file, np.arange(3))
        np.save(file, np.arange(4))
    assert df.load(path).tolist() == [0, 1, 2]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("dtype", ["u1", ">i2", "f8", "c16", "U3"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (300, 500)])
def test_it_is_writable_aligned_and_the_callers_own(tmp_path, scheme, dtype, shape):
    array = array_of(dtype, shape)
    np.save(tmp_path / "f.npy", array)
    loaded = df.load(f"{scheme}{tmp_path}/f.npy")
    assert loaded.flags.writeable and loaded.flags.aligned
    assert loaded.ctypes.data % 64 == 0
    (tmp_path / "f.npy").unlink()
    others = [df.load(other) for other in [_saved(tmp_path, array)] * 5]
    for other in others:
        other.view(np.uint8 if shape else dtype)[...] = 0
    assert_same(loaded, array)


def _saved(folder, array):
    np.save(folder / "other.npy", array)
    return folder / "other.npy"


def test_a_mapped_array_is_read_only_and_reads_nothing(tmp_path):
    np.save(tmp_path / "f.npy", np.arange(1000))
    mapped = df.load(tmp_path / "f.npy", mmap=True)
    assert isinstance(mapped, np.memmap) and not mapped.flags.writeable
    with open(tmp_path / "f.npy", "r+b") as file:
        file.seek(-8, 2)
        file.write(bytes(8))
    assert mapped[-1] == 0


def test_the_contents_decide_not_the_name(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    assert df.load(tmp_path / "a.npz").tolist() == [0, 1, 2]


def test_paths_may_be_strings_objects_or_bytes(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    for path in (tmp_path / "a.npy", str(tmp_path / "a.npy"), bytes(tmp_path / "a.npy")):
        assert df.load(path).tolist() == [0, 1, 2]


@pytest.mark.parametrize("mmap", [False, True])
def test_object_arrays_are_refused(path, mmap):
    for array in (np.array([1, None]), np.array([(1, None)], [("a", "i4"), ("b", object)])):
        np.save(path, array, allow_pickle=True)
        with pytest.raises(UnsupportedError, match="object") as caught:
            df.load(path, mmap=mmap)
        assert caught.value.path == str(path) and str(path) in str(caught.value)


def test_pickles_are_refused_as_numpy_refuses_them(path):
    for contents in (pickle.dumps(np.arange(3)), pickle.dumps({}, protocol=0)):
        path.write_bytes(contents)
        with pytest.raises(ValueError):
            np.load(path)
        with pytest.raises(FormatError, match="neither an .npz nor an .npy"):
            df.load(path)


def test_an_empty_file_says_that_it_is_too_short(path):
    path.write_bytes(b"")
    with pytest.raises(TruncatedError, match="0 bytes are too few"):
        df.load(path)
