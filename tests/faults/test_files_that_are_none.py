"""What is no readable file, and files that change under the reader's hands."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import DlioFastOSError, FileChangedError, NotRegularFileError
from tests.faults.bad_files import good_npy, good_npz
from tests.faults.doors import DOORS, prompt

KINDS = {
    "a directory": IsADirectoryError,
    "a FIFO": NotRegularFileError,
    "a socket": NotRegularFileError,
    "a device": NotRegularFileError,
    "a link to itself": OSError,
    "a link to nowhere": FileNotFoundError,
    "missing": FileNotFoundError,
    "below a file": NotADirectoryError,
    "too long a name": OSError,
    "forbidden": PermissionError,
}
ERRNO = {"a link to itself": errno.ELOOP, "too long a name": errno.ENAMETOOLONG}


def make(kind, path):
    match kind:
        case "a directory":
            path.mkdir()
        case "a FIFO":
            os.mkfifo(path)
        case "a socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(os.path.relpath(path))
        case "a device":
            path.symlink_to("/dev/zero")
        case "a link to itself":
            path.symlink_to(path.name)
        case "a link to nowhere":
            path.symlink_to("nowhere")
        case "below a file":
            path.write_bytes(b"")
            return path / "f.npy"
        case "too long a name":
            return path.with_name("n" * 300 + ".npy")
        case "forbidden":
            path.write_bytes(good_npy())
            path.chmod(0)
    return path


@pytest.fixture
def folder():
    """A folder that everybody may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def nobody():
    """Run as a user whom permissions concern."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        yield
        os.seteuid(0)
    else:
        yield


@pytest.mark.parametrize("door", [*DOORS, "read", "read_many"])
@pytest.mark.parametrize("scheme", ["", "direct://"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_named(folder, monkeypatch, request, kind, scheme, door):
    monkeypatch.chdir(folder)
    good = folder / "good.npy"
    good.write_bytes(good_npy())
    good.chmod(0o644)
    path = make(kind, folder / "f.npy")
    if kind == "forbidden":
        request.getfixturevalue("nobody")
    uri = f"{scheme}{path}"
    with prompt(), pytest.raises(KINDS[kind], match=path.name) as caught:
        match door:
            case "load":
                df.load(uri)
            case "read":
                df.read(uri)
            case "read_many":
                list(df.read_many([uri]))
            case _:
                DOORS[door](uri, f"{scheme}{good}")
    assert isinstance(caught.value, df.DlioFastError)
    if isinstance(caught.value, OSError):
        assert caught.value.filename == str(path)
        assert caught.value.errno == ERRNO.get(kind, caught.value.errno) and caught.value.errno > 0


# -- files that change --

LARGE = np.random.default_rng(4).integers(0, 256, 1 << 20, dtype=np.uint8)
SMALL = LARGE[:1000]
BUDGET = LARGE.nbytes // 2
"""Has room for the first file, a small one; the large one behind it is open and waits for its turn."""
CHANGES = {
    "shrunk": lambda path: os.truncate(path, 300_000),
    "emptied": lambda path: os.truncate(path, 0),
    "shrunk to whole blocks": lambda path: os.truncate(path, 8192),
}


def wait_until_open(path):
    """Return once this process has the file open: the reader holds it, and waits for room."""
    while True:
        for fd in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{fd}") == str(path):
                    return
            except FileNotFoundError:
                pass


@pytest.mark.parametrize("scheme", ["", "direct://"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_shrinks_while_it_is_read(tmp_path, change, scheme):
    paths = [tmp_path / f"{i}.bin" for i in range(3)]
    for path in paths:
        path.write_bytes(LARGE)
    paths[0].write_bytes(SMALL)
    with df.read_many([f"{scheme}{path}" for path in paths], threads=2, prefetch_bytes=BUDGET) as reader:
        reader._fill()
        wait_until_open(paths[1])
        CHANGES[change](paths[1])
        assert bytes(next(reader)[1]) == SMALL.tobytes()
        with prompt(), pytest.raises(FileChangedError, match="1.bin"):
            next(reader)
        assert bytes(next(reader)[1]) == LARGE.tobytes()


@pytest.mark.parametrize("scheme", ["", "direct://"])
@pytest.mark.parametrize("change", [*CHANGES, "rewritten"])
def test_a_sample_that_changes_while_it_is_read(tmp_path, change, scheme):
    paths = [tmp_path / f"{i}.npy" for i in range(3)]
    for path in paths:
        path.write_bytes(good_npy(LARGE))
    paths[0].write_bytes(good_npy(SMALL))
    data = df.Dataset.from_files([f"{scheme}{path}" for path in paths], ragged=True)
    with df.Loader(data, batch_size=1, threads=2, prefetch_bytes=BUDGET) as batches:
        passing = iter(batches)
        wait_until_open(paths[1])
        CHANGES.get(change, lambda path: os.utime(path, (1, 1)))(paths[1])
        assert np.array_equal(next(passing)["x"][0], SMALL)
        with prompt(), pytest.raises(FileChangedError, match="1.npy"):
            next(passing)
        assert [np.array_equal(batch["x"][0], LARGE) for batch in passing] == [True]


def test_an_archive_that_shrinks_after_it_was_opened(tmp_path):
    path = tmp_path / "f.npz"
    for packed in (False, True):
        path.write_bytes(good_npz(packed, x=LARGE, y=LARGE))
        with df.load(path) as archive:
            assert np.array_equal(archive["x"], LARGE)
            os.truncate(path, 1_500_000)
            with prompt(), pytest.raises(FileChangedError, match="f.npz"):
                archive["y"]


def test_a_file_replaced_while_open_stays_what_it_was(tmp_path):
    path = tmp_path / "f.npz"
    path.write_bytes(good_npz(x=LARGE))
    with df.load(path) as archive:
        (tmp_path / "new").write_bytes(good_npz(x=LARGE[:1000]))
        os.replace(tmp_path / "new", path)
        assert np.array_equal(archive["x"], LARGE)


# -- faults of the system, put in by strace --


def traced(path, inject, program):
    """Run a program under strace with a fault in the calls that concern the file."""
    command = ["strace", "-f", "-qq", "-o", os.devnull, "-P", path, "-e", f"inject={inject}"]
    return subprocess.run(
        [*command, sys.executable, "-c", program, path], capture_output=True, text=True, timeout=60
    )


@pytest.fixture(scope="session")
def strace(tmp_path_factory):
    path = tmp_path_factory.mktemp("strace") / "f"
    path.write_bytes(b"x")
    if not shutil.which("strace") or traced(path, "pread64:error=EIO", "").returncode:
        pytest.skip("strace cannot trace here")


LOAD = """
import sys, dlio_fast as df
try:
    data = df.Dataset.from_files([sys.argv[1]], format="npy")
    loader = df.Loader(data)
    print(next(iter(loader))["x"].sum(), loader.stats()["fallback_reason"])
except df.DlioFastError as error:
    print(isinstance(error, OSError) and error.errno, sys.argv[1] in str(error))
"""


@pytest.mark.parametrize(
    "inject, scheme, said",
    [
        ("pread64:error=EIO", "", f"{errno.EIO} True"),
        ("pread64:error=EIO:when=2+", "direct://", f"{errno.EIO} True"),
        ("pread64:error=ENOMEM:when=3", "", f"{errno.ENOMEM} True"),
        ("openat:error=EMFILE", "", f"{errno.EMFILE} True"),
        ("statx:error=EIO", "", f"{errno.EIO} True"),
        ("pread64:error=EINTR:when=1+2", "", "SUM None"),
        ("pread64:error=EAGAIN:when=2+3", "direct://", "SUM None"),
        ("openat:error=EINTR:when=1+2", "", "SUM None"),
        ("openat:error=EINVAL:when=1+2", "direct://", "SUM the file system refuses O_DIRECT at open"),
        ("pread64:error=EINVAL:when=2", "direct://", "SUM the file system refuses O_DIRECT reads"),
    ],
)
def test_the_systems_faults_are_retried_survived_or_reported(strace, tmp_path, inject, scheme, said):
    path = tmp_path / "f.npy"
    path.write_bytes(good_npy(LARGE))
    program = LOAD.replace("[sys.argv[1]]", f"[{scheme!r} + sys.argv[1]]")
    done = traced(path, inject, program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(said.replace("SUM", str(LARGE.sum()))), done.stdout


def test_an_error_of_the_system_has_its_own_class_and_number(tmp_path):
    with pytest.raises(DlioFastOSError) as caught:
        df.load(tmp_path / "missing.npz")
    assert isinstance(caught.value, FileNotFoundError) and caught.value.errno == errno.ENOENT
