"""Reading files as fast as they come: the numbers agree with the files."""

import os
import tempfile

import numpy as np
import pytest

from dlio_fast.errors import DlioFastFileNotFoundError, NotRegularFileError, UnsupportedError
from dlio_fast.workload.bench import bench, find_files
from dlio_fast.workload.pagecache import cache_state, drop_caches, memory_filesystem, resident_fraction

SIZES = [0, 1, 4096, 100_000, 3_000_000, 777]


@pytest.fixture
def folder(tmp_path):
    """A folder with files of SIZES, one of them in a subfolder, and hidden ones."""
    for index, size in enumerate(SIZES):
        name = tmp_path / ("below" if index == 3 else ".") / f"{index}.bin"
        name.parent.mkdir(exist_ok=True)
        name.write_bytes(np.random.default_rng(index).bytes(size))
    (tmp_path / ".hidden").write_bytes(b"not data")
    return tmp_path


# The numbers


@pytest.mark.parametrize("direct", [False, True])
def test_every_byte_is_read_once_a_round(folder, direct):
    result = bench([folder], direct=direct, repeat=2)
    assert result.files == len(SIZES)
    for part in result.rounds:
        assert part.files == len(SIZES)
        slack = 8192 * len(SIZES) if direct else 0  # whole blocks at the files' ends
        assert sum(SIZES) <= part.bytes <= sum(SIZES) + slack
        assert part.gb_per_second == pytest.approx(part.bytes / part.seconds / 1e9)
        assert part.files_per_second == pytest.approx(len(SIZES) / part.seconds)
        assert 0 < part.cpu_seconds_per_gb < 1000
        assert 0 < part.read_latency.p50 <= part.read_latency.p99 <= part.read_latency.max


def test_direct_reads_are_counted_as_such_or_their_refusal_is_told(folder):
    (part,) = bench([folder], direct=True).rounds
    assert part.direct_bytes == part.bytes or part.fallback_reason
    (part,) = bench([folder], direct=False).rounds
    assert part.direct_bytes == 0 and part.fallback_reason is None


def test_the_address_says_whether_to_bypass_the_cache(folder):
    assert bench([f"direct://{folder}"]).direct
    assert not bench([folder]).direct
    assert not bench([f"direct://{folder}"], direct=False).direct


def test_direct_and_plain_addresses_cannot_be_mixed_unless_it_is_said_how_to_read(folder):
    mixed = [folder / "1.bin", f"direct://{folder}/2.bin"]
    for paths in (mixed, mixed[::-1]):
        with pytest.raises(UnsupportedError, match="direct://"):
            bench(paths)
        assert bench(paths, direct=False).files == 2


def test_a_manifest_may_hold_direct_addresses(folder):
    (folder / "list.txt").write_text(f"direct://{folder}/1.bin\ndirect://{folder}/2.bin\n")
    assert bench([folder / "list.txt"]).direct


def test_files_larger_than_what_may_be_read_ahead_go_through(folder):
    (part,) = bench([folder], prefetch_bytes=1000, threads=3, checksum=True).rounds
    assert part.bytes == sum(SIZES)


def test_nothing_asked_for_is_nothing_done(folder):
    for wrong in ({"repeat": 0}, {"threads": 0}, {"prefetch_bytes": 0}):
        with pytest.raises(ValueError):
            bench([folder], **wrong)


# Which files


def test_a_folder_stands_for_all_files_below_it_in_order(folder):
    names = [os.path.relpath(path, folder) for path in find_files([folder])]
    assert names == ["0.bin", "1.bin", "2.bin", "4.bin", "5.bin", "below/3.bin"]


def test_files_globs_and_manifests_stand_for_what_they_name(folder):
    (folder / "list.txt").write_text("4.bin\nbelow/3.bin\n")
    assert list(find_files([folder / "1.bin", f"{folder}/[45].bin"])) == [
        str(folder / name) for name in ("1.bin", "4.bin", "5.bin")
    ]
    assert list(find_files([folder / "list.txt"])) == [str(folder / "4.bin"), str(folder / "below/3.bin")]


def test_no_files_is_an_error(tmp_path):
    with pytest.raises(DlioFastFileNotFoundError, match="no files"):
        bench([tmp_path])
    with pytest.raises(DlioFastFileNotFoundError):
        bench([tmp_path / "absent"])


def test_a_file_that_vanishes_is_an_error(tmp_path):
    (tmp_path / "list.txt").write_text("absent.bin\n")
    with pytest.raises(DlioFastFileNotFoundError, match=r"absent\.bin"):
        bench([tmp_path / "list.txt"])


@pytest.mark.parametrize("drop", [False, True])
def test_a_fifo_is_an_error_and_does_not_hang(tmp_path, drop, unprivileged):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotRegularFileError, match="fifo"):
        bench([tmp_path / "fifo"], drop=drop)


# The page cache


@pytest.fixture
def unprivileged(tmp_path, monkeypatch):
    """Caches cannot be dropped but by advice, as if not run by root."""
    monkeypatch.setattr("dlio_fast.workload.pagecache._DROP", str(tmp_path / "no such folder" / "control"))


def test_dropping_the_caches_leaves_it_to_the_reader_to_complain_of_a_file(tmp_path, unprivileged):
    assert drop_caches([str(tmp_path / "absent"), str(tmp_path)]) == "fadvise"


def test_files_in_memory_are_known_as_such(tmp_path):
    assert memory_filesystem([str(tmp_path)]) == _in_memory(tmp_path)
    assert memory_filesystem([]) is None
    assert memory_filesystem([str(tmp_path / "absent")]) is None


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no tmpfs")
def test_files_in_a_tmpfs_lie_in_memory():
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(b"x")
        file.flush()
        assert bench([file.name]).in_memory == "tmpfs"


def test_what_was_just_read_is_in_the_page_cache(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000_000)
    path.read_bytes()
    assert resident_fraction([str(path)]) == 1.0
    assert cache_state(1.0) == "warm"


def test_advice_empties_the_cache_of_files_on_disk(tmp_path, unprivileged):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1_000_000)
    assert drop_caches([str(path)]) == "fadvise"
    left = resident_fraction([str(path)])
    assert left == 0.0 or _in_memory(tmp_path)
    (part,) = bench([path], drop=True).rounds
    assert part.resident_before == left


def test_nothing_can_be_told_of_no_bytes(tmp_path):
    (tmp_path / "empty").touch()
    assert resident_fraction([str(tmp_path / "empty")]) is None
    assert resident_fraction([]) is None
    assert [cache_state(x) for x in (None, 0.0, 0.5)] == ["unknown", "cold", "partly warm"]


def _in_memory(folder) -> str | None:
    """The file system's type where it is one without a disk, whose files cannot leave memory."""
    mounts = [line.split()[1:3] for line in open("/proc/mounts")]
    where = [(len(point), kind) for point, kind in mounts if str(folder.resolve()).startswith(point)]
    kind = max(where)[1]
    return kind if kind in ("tmpfs", "ramfs") else None
