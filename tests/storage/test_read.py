"""``df.read`` and ``df.read_many``: whole files and ranges, in order, each error in its file's turn."""

import itertools
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import (
    ClosedError,
    FormatError,
    NotRegularFileError,
    TruncatedError,
    UnsupportedError,
)  # fmt: skip
from dlio_fast.storage.local import ReadMany

SCHEMES = ["", "file://", "direct://"]


def contents(size, seed=0):
    return np.random.default_rng(seed).bytes(size)


@pytest.fixture
def files(tmp_path):
    """Forty files of differing sizes, and what is in them."""
    made = {}
    for i in range(40):
        path = tmp_path / f"{i:02d}.bin"
        made[str(path)] = contents(1 + i * 4999 % 70000, i)
        path.write_bytes(made[str(path)])
    return made


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", [0, 1, 4096, 5000, 1 << 20, 3_000_001])
def test_a_file_is_read_whole_into_aligned_memory(tmp_path, scheme, size):
    data = contents(size)
    (tmp_path / "f").write_bytes(data)
    buffer = df.read(f"{scheme}{tmp_path}/f")
    assert bytes(buffer) == data
    assert len(buffer) == size
    assert buffer.address % 64 == 0


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_range_is_read(tmp_path, scheme):
    data = contents(300_000)
    (tmp_path / "f").write_bytes(data)
    uri = f"{scheme}{tmp_path}/f"
    edges = [0, 1, 64, 511, 512, 4095, 4096, 4097, 65536, 262144, 299_999, 300_000]
    for begin, end in itertools.combinations_with_replacement(edges, 2):
        buffer = df.read(uri, offset=begin, length=end - begin)
        assert bytes(buffer) == data[begin:end]
        assert buffer.address % 64 == 0
    assert bytes(df.read(uri, offset=4096)) == data[4096:]
    assert bytes(df.read(uri, offset=300_000)) == b""


@pytest.mark.parametrize(
    "offset, length", [(0, 101), (100, 1), (101, 0), (101, None), (2**62, 1), (50, 2**62)]
)
def test_a_range_beyond_the_end_is_an_error(tmp_path, offset, length):
    (tmp_path / "f").write_bytes(bytes(100))
    with pytest.raises(TruncatedError, match="f: the file ends before the range") as caught:
        df.read(tmp_path / "f", offset=offset, length=length)
    assert caught.value.path == str(tmp_path / "f")


def test_a_negative_range_is_a_mistake(tmp_path):
    for wrong in ({"offset": -1}, {"length": -1}):
        with pytest.raises(ValueError, match="must not be negative"):
            df.read(tmp_path / "f", **wrong)


def test_paths_may_be_relative_objects_or_bytes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/f").write_bytes(b"abc")
    for uri in ("data/f", "./data/f", "file://data/f", "direct://./data/f", tmp_path / "data/f", b"data/f"):
        assert bytes(df.read(uri)) == b"abc"


def test_a_name_need_not_be_text(tmp_path):
    path = os.path.join(os.fsencode(tmp_path), b"\xff\xfe.bin")
    with open(path, "wb") as file:
        file.write(b"abc")
    assert bytes(df.read(path)) == b"abc"


def test_what_cannot_be_read_says_why(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        df.read(tmp_path / "missing")
    assert isinstance(caught.value, df.DlioFastError)
    assert caught.value.filename == str(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        df.read(tmp_path)
    with pytest.raises(NotRegularFileError, match="/dev/zero"):
        df.read("/dev/zero")
    with pytest.raises(FormatError, match="NUL"):
        df.read("a\0b")


def test_the_buffer_is_memory_for_everybody(tmp_path):
    data = contents(1000)
    (tmp_path / "f").write_bytes(data)
    buffer = df.read(tmp_path / "f")
    array = np.frombuffer(buffer, np.uint8)
    assert array.flags.writeable and array.ctypes.data == buffer.address
    view = memoryview(buffer)
    assert (view.nbytes, view.format, view.contiguous) == (1000, "B", True)
    del buffer
    view[0] = 1
    assert array[0] == 1 and bytes(array[1:]) == data[1:]


# -- read_many --


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_many_files_come_in_the_order_asked(files, scheme, threads):
    uris = [scheme + path for path in files]
    got = [(uri, bytes(buffer)) for uri, buffer in df.read_many(uris, threads=threads)]
    assert got == list(zip(uris, files.values(), strict=True))


@pytest.mark.parametrize("budget", [0, 1, 10_000, 100_000])
def test_files_beyond_the_budget_go_through_alone(files, budget):
    paths = list(files) * 4
    got = [
        (path, bytes(buffer) == files[path])
        for path, buffer in df.read_many(paths, threads=4, prefetch_bytes=budget)
    ]
    assert got == [(path, True) for path in paths]


def test_no_more_than_the_budget_is_in_flight(files):
    budget, largest = 200_000, 81_920  # the capacity of a buffer for the largest file
    with ReadMany(files, threads=4, prefetch_bytes=budget) as reader:
        assert len(list(reader)) == len(files)
        assert reader.stats()["peak_bytes_in_flight"] <= budget + largest


def test_an_endless_supply_is_read_as_far_as_it_is_asked_for(files):
    reader = df.read_many(itertools.cycle(files), threads=2)
    got = [uri for uri, _ in itertools.islice(reader, 100)]
    assert got == list(itertools.islice(itertools.cycle(files), 100))
    reader.close()


def test_an_error_comes_in_its_files_turn_and_reading_goes_on(files, tmp_path):
    paths = list(files)[:6]
    missing = str(tmp_path / "missing")
    uris = [
        paths[0],
        missing,
        paths[1],
        "nosuch://bucket/key",
        paths[2],
        str(tmp_path),
        paths[3],
        "a\0b",
        paths[4],
    ]
    reader, got = df.read_many(uris, threads=3), []
    while True:
        try:
            uri, buffer = next(reader)
        except StopIteration:
            break
        except df.DlioFastError as error:
            got.append(type(error).__mro__[0].__name__)
        else:
            assert bytes(buffer) == files[uri]
            got.append(uri)
    assert got == [
        paths[0], "DlioFastFileNotFoundError", paths[1], "ConfigError", paths[2],
        "DlioFastIsADirectoryError", paths[3], "FormatError", paths[4],
    ]  # fmt: skip


def test_a_closed_reader_says_so_and_closing_twice_is_fine(files):
    reader = df.read_many(files)
    next(reader)
    reader.close()
    reader.close()
    with pytest.raises(ClosedError):
        next(reader)


def test_a_reader_that_is_through_stays_so(files):
    reader = df.read_many(list(files)[:2])
    assert len(list(reader)) == 2
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(reader)
    assert list(df.read_many([])) == []


def test_wrong_settings_are_refused():
    for wrong in ({"threads": 0}, {"threads": -1}, {"prefetch_bytes": -1}):
        with pytest.raises(ValueError, match="need threads >= 1"):
            df.read_many([], **wrong)


def test_buffers_stay_what_they_are_while_others_are_read(files):
    kept = list(df.read_many(files, threads=4, prefetch_bytes=50_000))
    assert all(bytes(buffer) == files[path] for path, buffer in kept)


def test_threads_that_share_a_reader_get_each_file_under_its_own_name(tmp_path):
    paths = []
    for i in range(400):
        paths.append(str(tmp_path / f"f{i}"))
        Path(paths[-1]).write_bytes(i.to_bytes(2, "little"))
    reader = df.read_many(paths, threads=2)
    taken = []

    def take():
        taken.extend((uri, bytes(buffer)) for uri, buffer in reader)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted((path, Path(path).read_bytes()) for path in paths)


def test_a_reader_may_be_closed_by_two_threads_at_once(tmp_path):
    program = """
import sys, threading, dlio_fast as df
for _ in range(300):
    reader = df.read_many([sys.argv[1]] * 10, threads=2)
    next(reader)
    other = threading.Thread(target=reader.close)
    other.start()
    reader.close()
    other.join()
"""
    path = tmp_path / "f"
    path.write_bytes(b"x")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_no_address_raises_in_its_turn(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x")
    reader = df.read_many([path, None, 3, path])
    assert bytes(next(reader)[1]) == b"x"
    for _ in range(2):
        with pytest.raises(TypeError):
            next(reader)
    assert [bytes(buffer) for _, buffer in reader] == [b"x"]


def test_one_address_is_no_list_of_them(tmp_path):
    with pytest.raises(TypeError, match="use read"):
        df.read_many(str(tmp_path))


def test_a_file_of_unknown_size_is_refused_rather_than_read_as_empty():
    with pytest.raises(UnsupportedError, match="does not tell the file's size"):
        df.read("/proc/cpuinfo")
