"""Lists of files: what a user may name, the order, and how little room they take."""

import os
import sys

import pytest

from dlio_fast.errors import DlioFastError, FormatError, NotRegularFileError, UnsupportedError
from dlio_fast.storage.files import FileList, list_files, list_folder

NPZ = [".npz"]


@pytest.fixture
def folder(tmp_path):
    """b.npz, a.npz and things that are none."""
    for name in ("b.npz", "a.npz", "C.NPZ", ".hidden.npz", "notes.md"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def names(files):
    return [os.path.basename(path) for path in files]


def test_a_list_of_files_is_a_sequence_of_paths():
    files = FileList(b"/data/", [b"a", b"b/c", b"\xff"])
    assert len(files) == 3
    assert (
        files[0] == "/data/a" and files[-1] == "/data/\udcff" and files[1:] == ["/data/b/c", "/data/\udcff"]
    )
    assert list(files) == ["/data/a", "/data/b/c", "/data/\udcff"]
    assert "/data/b/c" in files and files.index("/data/b/c") == 1
    for beyond in (3, -4):
        with pytest.raises(IndexError):
            files[beyond]
    assert list(files.head(2)) == ["/data/a", "/data/b/c"]
    assert list(files.head(0)) == [] and files.head(9) is files
    assert list(FileList(b"", [])) == []


def test_a_million_files_take_less_than_150_bytes_each():
    files = FileList(b"/a/long/folder/name/", [b"img_%09d_of_1000000.npz" % i for i in range(1_000_000)])
    assert sys.getsizeof(files.names) + files.offsets.nbytes < 50 * len(files)
    assert files[999_999].endswith("000999999_of_1000000.npz")


def test_a_name_with_a_nul_is_refused():
    with pytest.raises(FormatError, match="NUL"):
        FileList(b"", [b"a\0b"])
    with pytest.raises(FormatError, match="NUL"):
        list_files(["a\0b"], NPZ)


def test_a_folder_is_listed_by_name_without_what_is_hidden(folder):
    files = list_files(folder, NPZ)
    assert names(files) == ["C.NPZ", "a.npz", "b.npz"] and not files.direct
    files = list_files(f"direct://{folder}/", NPZ)
    assert names(files) == ["C.NPZ", "a.npz", "b.npz"] and files.direct
    assert names(list_folder(folder, [".md", ".npz"])) == ["C.NPZ", "a.npz", "b.npz", "notes.md"]


def test_the_files_of_subfolders_are_sorted_by_their_own_names(tmp_path):
    for name in ("0/b.npz", "0/d.npz", "1/a.npz", "1/c.npz", "1/deep/x.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert names(list_files(tmp_path, NPZ)) == ["a.npz", "b.npz", "c.npz", "d.npz"]


def test_one_file_a_list_and_a_glob(folder):
    a, b = str(folder / "a.npz"), str(folder / "b.npz")
    assert list(list_files(a, NPZ)) == [a]
    assert list(list_files([b, folder / "a.npz", f"file://{b}"], NPZ)) == [b, a, b]
    assert list(list_files(iter([b]), NPZ)) == [b]
    assert list(list_files(folder / "?.npz", NPZ)) == [a, b]
    assert list_files(f"direct://{folder}/[ab].npz", NPZ).direct
    assert list(list_files([], NPZ)) == []


def test_a_file_with_a_pattern_for_a_name_is_that_file(tmp_path):
    (tmp_path / "[ab].npz").write_bytes(b"")
    assert list(list_files(tmp_path / "[ab].npz", NPZ)) == [str(tmp_path / "[ab].npz")]


def test_a_manifest_names_files_below_its_folder(folder):
    (folder / "train.txt").write_bytes(b"b.npz\r\n\n  \nsub/x.npz\n/abs/y.npz\nno newline \xff")
    root = str(folder)
    expected = [f"{root}/b.npz", f"{root}/sub/x.npz", "/abs/y.npz", f"{root}/no newline \udcff"]
    assert list(list_files(folder / "train.txt", NPZ)) == expected
    assert list_files(f"direct://{folder}/train.txt", NPZ).direct


def test_a_manifests_relative_lines_stay_relative_beside_addresses(folder, monkeypatch):
    monkeypatch.chdir("/")
    (folder / "train.lst").write_text(f"file://{folder}/a.npz\nb.npz\n")
    assert list(list_files(folder / "train.lst", NPZ)) == [f"{folder}/a.npz", f"{folder}/b.npz"]
    (folder / "train.lst").write_text(f"direct://{folder}/a.npz\ndirect://b.npz\n")
    files = list_files(folder / "train.lst", NPZ)
    assert files.direct and list(files) == [f"{folder}/a.npz", f"{folder}/b.npz"]


def test_direct_and_buffered_do_not_mix(folder):
    with pytest.raises(UnsupportedError, match="all direct://"):
        list_files([folder / "a.npz", f"direct://{folder}/b.npz"], NPZ)


def test_what_is_not_there_is_said(tmp_path):
    for missing in ("nothing", "no*match", "direct:///nowhere/at/all"):
        with pytest.raises(FileNotFoundError, match="no such file") as caught:
            list_files(missing if "://" in missing else tmp_path / missing, NPZ)
        assert isinstance(caught.value, DlioFastError)
    (tmp_path / "f").write_bytes(b"")
    with pytest.raises(NotADirectoryError) as caught:
        list_folder(tmp_path / "f", NPZ)
    assert isinstance(caught.value, DlioFastError)


def test_lines_of_a_manifest_that_begin_with_a_number_sign_are_comments(folder):
    (folder / "train.txt").write_text("# of Tuesday\nb.npz\n#a.npz\n./#c.npz\n")
    assert list(list_files(folder / "train.txt", NPZ)) == [f"{folder}/b.npz", f"{folder}/./#c.npz"]


@pytest.mark.timeout(10)
def test_a_manifest_that_is_no_file_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "list.txt")
    with pytest.raises(NotRegularFileError, match="list.txt"):
        list_files(tmp_path / "list.txt", NPZ)
