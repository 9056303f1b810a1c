"""The library is silent unless it is asked to speak."""

import os
import shutil
import subprocess
import sys

import pytest

from .files import numbered, write_files

PROGRAM = """
import sys, dlio_fast as df
loader = df.Loader(df.Dataset.from_files(sys.argv[1]), batch_size=2, threads=3, on_error="skip")
print(sum(len(batch["x"]) for batch in loader))
"""


@pytest.fixture
def files(tmp_path):
    """Four files, one of them damaged."""
    paths = write_files(tmp_path, numbered(4))
    os.truncate(paths[2], 100)
    return tmp_path


def stderr_of(folder, level: str | None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "DLIO_FAST_LOG"}
    if level is not None:
        environment["DLIO_FAST_LOG"] = level
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert done.stdout == "3\n"
    return done.stderr


@pytest.mark.parametrize("level", [None, "", "error"])
def test_it_says_nothing_unless_asked(files, level):
    assert stderr_of(files, level) == ""


@pytest.mark.parametrize("level", ["warning", "WARNING"])
def test_skipped_samples_are_warnings(files, level):
    (line,) = stderr_of(files, level).splitlines()
    assert line.startswith("dlio_fast WARNING: 1 sample(s) skipped: ") and "f002.npz" in line


def test_settings_are_for_debugging(files):
    first = stderr_of(files, "debug").splitlines()[0]
    assert first.startswith("dlio_fast DEBUG: loader: 4 files, 4 samples, threads 3, prefetch_bytes ")
    assert "direct False" in first and "verify True" in first


@pytest.mark.parametrize(
    "reading",
    [
        "list(df.Loader(df.Dataset.from_files(path)))",
        "df.read(path)",
        "list(df.read_many([path]))",
    ],
)
def test_files_that_are_read_through_the_page_cache_against_the_wish_are_warned_about(tmp_path, reading):
    (path,) = write_files(tmp_path, numbered(1))
    # each open with O_DIRECT, of the headers and of the data, is refused; the one after it is not
    fault = "inject=openat:error=EINVAL:when=1+2"
    refusing = ["strace", "-f", "-qq", "-o", os.devnull, "-P", path, "-e", fault]
    if not shutil.which("strace") or subprocess.run([*refusing, "true"]).returncode:
        pytest.skip("strace cannot trace here")
    program = f"import sys, dlio_fast as df; path = sys.argv[1]; {reading}"
    done = subprocess.run(
        [*refusing, sys.executable, "-c", program, f"direct://{path}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "DLIO_FAST_LOG": "warning"},
    )
    assert done.stderr == (
        "dlio_fast WARNING: 1 file(s) read through the page cache: "
        "the file system refuses O_DIRECT at open (Invalid argument)\n"
    )


def test_a_program_that_logs_gets_the_librarys_messages_in_its_own_way(files):
    program = "import logging; logging.basicConfig(format='%(name)s|%(message)s')" + PROGRAM
    done = subprocess.run(
        [sys.executable, "-c", program, str(files)], capture_output=True, text=True, check=True
    )
    assert done.stderr.startswith("dlio_fast|1 sample(s) skipped: ") and done.stderr.count("\n") == 1
