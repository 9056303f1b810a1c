"""Interrupted generation: whole files only, nothing left behind, and the next run completes the data set."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
import warnings
import zipfile

import pytest

from dlio_fast.errors import DiskFullError
from dlio_fast.storage.files import list_folder
from dlio_fast.workload.generate import generate
from tests.workload.files import config, payload_offset, tree

FILES = ["img_0_of_3.npz", "img_1_of_3.npz", "img_2_of_3.npz"]
CASES = {
    "missing": lambda path: path.unlink(),
    "truncated": lambda path: os.truncate(path, path.stat().st_size - 1),
    "longer": lambda path: os.truncate(path, path.stat().st_size + 1),
    "empty": lambda path: os.truncate(path, 0),
    "head": lambda path: flip(path, 20),
    "crc in the head": lambda path: flip(path, 14),
    "first byte of the payload": lambda path: flip(path, payload_offset(path)),
    "last byte of the payload": lambda path: flip(path, payload_offset(path) + 10_000 * 16 - 1),
    "tail": lambda path: flip(path, path.stat().st_size - 1),
    "crc in the tail": lambda path: flip(path, path.read_bytes().index(b"PK\1\2") + 16),
}


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", CASES.values(), ids=CASES.keys())
def test_resuming_rewrites_the_damaged_file_and_no_other(tmp_path, damage):
    cfg = config(num_files_eval=2, record_length_bytes=10_000, record_element_type="complex128")
    generate(cfg, data_folder=tmp_path)
    expected = tree(tmp_path)
    damaged = tmp_path / "train/img_1_of_3.npz"
    untouched = {path: path.stat().st_ino for path in tmp_path.rglob("*.npz") if path != damaged}
    damage(damaged)
    result = generate(cfg, data_folder=tmp_path, skip_existing=True)
    assert (result.files, result.skipped) == (1, 4)
    assert tree(tmp_path) == expected
    assert {path: path.stat().st_ino for path in untouched} == untouched


@pytest.mark.parametrize("change", [{"seed": 1}, {"align_payload": False}, {"record_element_type": "int8"}])
def test_resuming_keeps_nothing_of_another_data_set(tmp_path, change):
    generate(config(), data_folder=tmp_path)
    assert generate(config(**change), data_folder=tmp_path, skip_existing=True).files == 3
    assert generate(config(**change), data_folder=tmp_path, skip_existing=True).files == 0


def test_resuming_works_for_npy_and_compressed_files_too(tmp_path):
    for cfg in (config(format="npy"), config(compression="zip")):
        folder = tmp_path / cfg.dataset.format
        generate(cfg, data_folder=folder)
        expected = tree(folder)
        damaged = folder / f"train/img_0_of_3.{cfg.dataset.format}"
        flip(damaged, damaged.read_bytes().index(b"PK\1\2") + 16 if cfg.dataset.format == "npz" else -1)
        assert generate(cfg, data_folder=folder, skip_existing=True).files == 1
        assert tree(folder) == expected


def test_without_resuming_everything_is_written_anew(tmp_path):
    generate(config(), data_folder=tmp_path)
    flip(tmp_path / "train/img_1_of_3.npz", 6000)
    assert generate(config(), data_folder=tmp_path).files == 3
    assert zipfile.ZipFile(tmp_path / "train/img_1_of_3.npz").testzip() is None


def test_files_of_another_data_set_stay_with_a_warning(tmp_path):
    generate(config(num_files_train=2), data_folder=tmp_path)
    with pytest.warns(UserWarning, match="2 files or folders are not part of this data set"):
        generate(config(num_files_train=3), data_folder=tmp_path)
    assert len(tree(tmp_path)) == 5


def test_the_files_of_the_data_set_itself_bring_no_warning(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/README").write_text("mine")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            generate(config(num_files_eval=12, num_subfolders_eval=3), data_folder=tmp_path)


@pytest.mark.parametrize("name", [".mine.npz", "mine.Npz", ".git/x.npz", "later/x.npz", "mine.npy"])
def test_what_no_reader_takes_brings_no_warning(tmp_path, name):
    (tmp_path / "train" / name).parent.mkdir(parents=True)
    (tmp_path / "train" / name).write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generate(config(), data_folder=tmp_path)
    assert [os.path.basename(path) for path in list_folder(tmp_path / "train", [".npz"])] == FILES


@pytest.mark.parametrize("name", ["mine.npz", "MINE.NPZ", "0/img_0_of_9.npz"])
def test_what_a_reader_takes_beside_or_instead_of_the_data_set_is_named(tmp_path, name):
    (tmp_path / "train" / name).parent.mkdir(parents=True)
    (tmp_path / "train" / name).write_bytes(b"")
    with pytest.warns(UserWarning, match=f"1 files or folders.*train/{name.split('/')[0]}"):
        generate(config(), data_folder=tmp_path)
    assert [os.path.basename(path) for path in list_folder(tmp_path / "train", [".npz"])] != FILES


# Killed and interrupted runs

CHILD = """
import json, sys, time
from dlio_fast.config import load_config
from dlio_fast.workload.generate import generate
try:
    generate(load_config(json.loads(sys.argv[1])), data_folder=sys.argv[2], threads=2)
except KeyboardInterrupt:
    print(time.monotonic())
"""


def start(cfg, folder):
    command = [sys.executable, "-c", CHILD, json.dumps(cfg.to_dict()), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def names(folder, suffix):
    return [name for name in os.listdir(folder) if name.endswith(suffix)] if folder.exists() else []


def wait_until(child, reached):
    while not reached():
        assert child.poll() is None, "the run ended before the moment came"


@pytest.mark.parametrize("address", ["{}", "direct://{}"])
def test_a_killed_run_leaves_whole_files_and_the_next_completes_it(tmp_path, address):
    cfg = config(num_files_train=48, record_length_bytes=8 << 20)
    data, folder = address.format(tmp_path / "data"), tmp_path / "data/train"
    generate(cfg, data_folder=tmp_path / "reference")
    expected = tree(tmp_path / "reference")
    for complete in (0, 1, 20):
        child = start(cfg, data)
        wait_until(child, lambda n=complete: names(folder, ".tmp") and len(names(folder, ".npz")) >= n)
        child.kill()
        child.communicate()
        left = tree(tmp_path / "data")
        finals = {name: digest for name, digest in left.items() if name.endswith(".npz")}
        assert finals.items() <= expected.items()
        result = generate(cfg, data_folder=data, skip_existing=True)
        assert (result.skipped, result.files) == (len(finals), 48 - len(finals))
        assert tree(tmp_path / "data") == expected
        for path in folder.iterdir():
            path.unlink()


@pytest.mark.parametrize("compression", ["none", "zip"])
def test_an_interrupted_run_stops_at_once_and_removes_what_is_unfinished(tmp_path, compression):
    cfg = config(num_files_train=2, record_length_bytes=1 << 30, compression=compression)
    delays = []
    for _ in range(3):  # a disk that others keep busy may hold the kernel up
        child = start(cfg, tmp_path)
        wait_until(child, lambda: len(names(tmp_path / "train", ".tmp")) == 2)
        interrupted = time.monotonic()
        child.send_signal(signal.SIGINT)
        out, _ = child.communicate()
        delays.append(float(out) - interrupted)
        assert tree(tmp_path) == {}
        if delays[-1] < 0.2:
            break
    assert min(delays) < 0.2, delays


def test_what_a_dead_run_left_unfinished_is_removed_and_what_is_being_written_is_not(tmp_path):
    (tmp_path / "train").mkdir()
    dead, alive, other_rank, unknown = (
        tmp_path / "train" / name
        for name in (
            ".img_0_of_3.npz.17.tmp", ".img_2_of_3.npz.18.tmp", ".img_1_of_3.npz.19.tmp", ".img_0_of_3.npz.x"
        )
    )  # fmt: skip
    for path in (dead, alive, other_rank, unknown):
        path.write_text("half")
    with alive.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        generate(config(), data_folder=tmp_path, rank=0, world_size=2)
    assert [path.exists() for path in (dead, alive, other_rank, unknown)] == [False, True, True, True]


def test_two_runs_at_once_never_mix_their_bytes(tmp_path):
    cfg = config(num_files_train=16, record_length_bytes=4 << 20)
    children = [start(cfg, tmp_path / "data") for _ in range(3)]
    assert [child.communicate() and child.returncode for child in children] == [0, 0, 0]
    generate(cfg, data_folder=tmp_path / "reference")
    assert tree(tmp_path / "data") == tree(tmp_path / "reference")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_on_the_way_is_told_and_the_old_file_stays(small_disk):
    cfg = config(num_files_train=2, record_length_bytes=5 << 20)
    generate(cfg, data_folder=small_disk)
    damaged = small_disk / "train/img_1_of_2.npz"
    flip(damaged, payload_offset(damaged))
    before = tree(small_disk)
    with pytest.raises(DiskFullError, match="img_1_of_2.npz"):
        generate(cfg, data_folder=small_disk, skip_existing=True)
    assert tree(small_disk) == before


def test_room_for_old_and_new_files_at_once_is_asked_for_when_files_are_replaced(small_disk):
    cfg = config(num_files_train=2, record_length_bytes=5 << 20)
    generate(cfg, data_folder=small_disk)
    before = tree(small_disk)
    with pytest.raises(DiskFullError, match="needs .* GB more"):
        generate(cfg, data_folder=small_disk)
    assert tree(small_disk) == before
    assert generate(cfg, data_folder=small_disk, skip_existing=True).skipped == 2
