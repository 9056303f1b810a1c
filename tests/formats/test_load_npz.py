"""``df.load`` of .npz files: the mapping that ``numpy.load`` returns, for every file that numpy writes."""

import io
import threading
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import ChecksumError, ClosedError, FormatError, MemberError, UnsupportedError

from .arrays import array_of, arrays, assert_same

pytestmark = pytest.mark.filterwarnings("ignore:Stored array in format")

SCHEMES = ["", "file://", "direct://"]

member_names = st.one_of(
    st.sampled_from(
        ["", "x", "x.npy", "x.npy.npy", ".npy", "a/b", "/a", "../a", "a\\b", "arr_0", "żółw", " "]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
).filter(lambda name: name not in ("file", "allow_pickle"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("npz") / "f.npz"


def write_zip(path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED, comment: bytes = b""):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
        archive.comment = comment


def npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def assert_same_archive(path, address=None, **settings) -> None:
    """Every way into df.load's mapping gives what numpy's gives."""
    with np.load(path) as numpys, df.load(address or path, **settings) as ours:
        assert ours.files == numpys.files
        assert list(ours) == list(numpys) == list(ours.keys())
        assert len(ours) == len(numpys)
        for name in numpys.files:
            assert name in ours and f"{name}.npy" in ours or f"{name}.npy" not in numpys
            assert_same(ours[name], numpys[name])
        for (name, array), (numpys_name, numpys_array) in zip(ours.items(), numpys.items(), strict=True):
            assert name == numpys_name
            assert_same(array, numpys_array)
        for array, numpys_array in zip(ours.values(), numpys.values(), strict=True):
            assert_same(array, numpys_array)


@settings(max_examples=200)
@given(
    st.dictionaries(member_names, arrays, max_size=4),
    st.lists(arrays, max_size=2),
    st.booleans(),
    st.sampled_from(SCHEMES),
    st.booleans(),
    st.booleans(),
)
def test_an_archive_is_what_numpy_loads(path, named, unnamed, compressed, scheme, verify, mmap):
    named = {name: array for name, array in named.items() if name not in ("arr_0", "arr_1") or not unnamed}
    (np.savez_compressed if compressed else np.savez)(path, *unnamed, **named)
    assert_same_archive(path, f"{scheme}{path}", verify=verify, mmap=mmap)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("nbytes", [0, 1, 65535, 65536, 1 << 20, 20_000_000])
@pytest.mark.parametrize("values", [1, 16, 256])
def test_members_of_any_size(path, compressed, scheme, nbytes, values):
    large = (np.arange(nbytes, dtype=np.uint32) * 2654435761 >> 7) % values
    (np.savez_compressed if compressed else np.savez)(path, a=np.arange(3), x=large.astype("u1"), b=1.5)
    assert_same_archive(path, f"{scheme}{path}")


def test_an_archive_of_a_thousand_members(path):
    np.savez(path, **{f"array {i}": np.full(i % 7, i) for i in range(1000)})
    assert_same_archive(path)


def test_an_archive_of_none(path):
    np.savez(path)
    with df.load(path) as ours:
        assert ours.files == [] and len(ours) == 0 and not ours and list(ours.items()) == []
        with pytest.raises(MemberError, match="it has none"):
            ours["x"]


def test_a_name_of_sixty_thousand_characters(path):
    np.savez(path, **{"x" * 60_000: np.arange(3)})
    assert_same_archive(path)


def test_a_name_in_the_old_code_page_of_zip(path):
    write_zip(path, ("cafe.npy", npy(np.arange(3))))
    path.write_bytes(path.read_bytes().replace(b"cafe.npy", b"caf\x82.npy"))
    assert np.load(path).files == ["café"]
    assert_same_archive(path)


def test_a_name_with_and_without_the_suffix(path):
    np.savez(path, **{"x": np.arange(3), "x.npy": np.arange(4)})
    with np.load(path) as numpys, df.load(path) as ours:
        for key in ("x", "x.npy", "x.npy.npy"):
            assert_same(ours[key], numpys[key])


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_what_is_no_array_is_bytes(path, method):
    members = [("note.txt", b"some text"), ("empty", b""), ("x.npy", npy(np.arange(3))), ("dir/", b"")]
    write_zip(path, *members, method=method)
    assert_same_archive(path)
    with df.load(path) as ours:
        assert ours["note.txt"] == b"some text"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_array_without_the_suffix_is_an_array(path, method):
    write_zip(path, ("x", npy(np.arange(3))), ("y.bin", npy(np.float32(1))), method=method)
    assert_same_archive(path)


@pytest.mark.parametrize("comment", [b"short", b"x" * 65535, bytes(30)])
def test_an_archive_with_a_comment(path, comment):
    write_zip(path, ("x.npy", npy(np.arange(3))), comment=comment)
    assert_same_archive(path)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("prefix", [b"#!/bin/sh\n", bytes(100_000)])
def test_what_stands_before_an_archive_hides_it_from_load_but_not_from_a_data_set(tmp_path, scheme, prefix):
    """df.load goes by the first bytes, as numpy.load; a data set by the directory, as zipfile."""
    np.savez(tmp_path / "f.npz", x=np.arange(3))
    (tmp_path / "f.npz").write_bytes(prefix + (tmp_path / "f.npz").read_bytes())
    with pytest.raises(ValueError):
        np.load(tmp_path / "f.npz")
    with pytest.raises(FormatError, match="neither an .npz nor an .npy"):
        df.load(f"{scheme}{tmp_path}/f.npz")
    assert df.Dataset.from_files(f"{scheme}{tmp_path}/f.npz")[0]["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("streamed", [False, True])
def test_zip64_records_where_none_were_needed(path, streamed):
    """numpy writes ZIP64 local headers; written to a pipe, sizes follow the data."""

    class Pipe(io.BytesIO):
        tell = seek = property()  # as if it had neither

    out = Pipe() if streamed else io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            member.write(npy(np.arange(1000)))
        with archive.open("y.npy", "w") as member:
            member.write(npy(np.arange(10)))
    path.write_bytes(out.getvalue())
    assert_same_archive(path)


# -- the mapping --


def test_it_is_a_mapping_as_numpys(path):
    np.savez(path, x=np.arange(3), y=np.float64(2.5))
    with df.load(path) as ours:
        assert "x" in ours and "x.npy" in ours and "z" not in ours and 3 not in ours
        assert_same(ours["x.npy"], ours["x"])
        assert ours.get("z") is None and ours.get("z", 7) == 7
        assert ours["y"].shape == () and ours["y"] == 2.5
        assert {**ours}.keys() == {"x", "y"}
        assert repr(ours) == f"NpzFile {str(path)!r} with keys: x, y"


def test_a_missing_member_is_a_key_error_that_names_those_there_are(path):
    np.savez(path, x=np.arange(3), y=1)
    with df.load(path) as ours, pytest.raises(KeyError) as caught:
        ours["z"]
    assert isinstance(caught.value, MemberError) and caught.value.member == "z"
    assert str(caught.value) == f"{path}: no member 'z'; it has x, y"


def test_every_access_reads_anew(path):
    np.savez(path, x=np.arange(3))
    with df.load(path) as ours:
        first, second = ours["x"], ours["x"]
        first[:] = 7
        assert second.tolist() == [0, 1, 2]


def test_members_are_read_only_when_asked_for(path):
    np.savez(path, x=np.arange(1000), y=np.arange(3))
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with df.load(path) as ours:
        assert ours["y"].tolist() == [0, 1, 2]
        with pytest.raises(ChecksumError, match="'x.npy'"):
            ours["x"]
    with df.load(path, verify=False) as ours:
        assert np.count_nonzero(ours["x"] != np.arange(1000)) == 1


def test_a_closed_archive_says_so_and_keeps_its_names(path):
    np.savez(path, x=np.arange(3))
    with df.load(path) as ours:
        x = ours["x"]
    ours.close()
    with pytest.raises(ClosedError, match="the archive is closed"):
        ours["x"]
    assert ours.files == ["x"] and x.tolist() == [0, 1, 2]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_arrays_are_writable_aligned_and_outlive_the_archive(tmp_path, compressed, scheme):
    members = {f"m{i}": array_of("f8", (i, 1000), seed=i) for i in range(8)}
    (np.savez_compressed if compressed else np.savez)(tmp_path / "f.npz", **members)
    with df.load(f"{scheme}{tmp_path}/f.npz") as ours:
        loaded = dict(ours)
        for array in ours.values():  # read again: memory that is in use must not be used again
            array[...] = 0
    (tmp_path / "f.npz").unlink()
    for name, array in loaded.items():
        assert array.flags.writeable and array.ctypes.data % 64 == 0
        assert_same(array, members[name])


def test_stored_members_can_be_mapped_and_deflated_ones_are_read(path):
    for save, kind in ((np.savez, np.memmap), (np.savez_compressed, np.ndarray)):
        save(path, x=np.arange(1000))
        with df.load(path, mmap=True) as ours:
            x = ours["x"]
        assert type(x) is kind and x.flags.writeable is (kind is np.ndarray)
        assert x.tolist() == list(range(1000))


def test_object_arrays_are_refused_and_their_neighbours_are_read(path):
    fields = np.array([(1, None)], [("a", "i4"), ("b", object)])
    np.savez(path, x=np.arange(3), o=np.array([1, None]), f=fields, y=np.arange(4))
    for mmap in (False, True):
        with df.load(path, mmap=mmap) as ours:
            assert ours.files == ["x", "o", "f", "y"]
            for name in ("o", "f"):
                with pytest.raises(UnsupportedError, match="object") as caught:
                    ours[name]
                assert (caught.value.path, caught.value.member) == (str(path), f"{name}.npy")
            assert ours["x"].tolist() == [0, 1, 2] and ours["y"].tolist() == [0, 1, 2, 3]


def test_other_compressions_are_refused(path):
    write_zip(path, ("x.npy", npy(np.arange(3))), method=zipfile.ZIP_BZIP2)
    with df.load(path) as ours, pytest.raises(UnsupportedError, match=r"x\.npy"):
        ours["x"]


def test_threads_may_share_an_archive(path):
    members = {f"m{i}": array_of("u2", (50, i)) for i in range(40)}
    np.savez_compressed(path, **members)
    wrong = []

    def compare(names):
        for name in names:
            if not np.array_equal(ours[name], members[name]):
                wrong.append(name)

    with df.load(path) as ours:
        threads = [threading.Thread(target=compare, args=[list(members)[i:] * 5]) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
