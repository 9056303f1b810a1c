"""What somebody without a compiler or a header is told: one sentence that says what to install."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, **environment):
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True)


def assert_one_sentence(done, *words):
    assert done.returncode != 0
    assert done.stdout == ""
    (sentence,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert sentence.startswith("dlio_fast needs ")
    for word in words:
        assert word in sentence


@pytest.fixture
def compiler_without(tmp_path):
    """A compiler that knows no header of the name given."""

    def make(header):
        program = tmp_path / "cc"
        program.write_text(
            "#!/bin/sh\n"
            f'for word; do case "$word" in *.c) ! grep -q "<{header}>" "$word" || exit 1;; esac; done\n'
            f'exec {sysconfig.get_config_var("CC")} "$@"\n'
        )
        program.chmod(0o755)
        return str(program)

    return make


def test_a_missing_compiler_is_named():
    done = run(sys.executable, "setup.py", "build_ext", CC="/nonexistent")
    assert_one_sentence(done, "a C compiler", "apt-get install gcc")


def test_missing_headers_of_python_are_named(compiler_without):
    done = run(sys.executable, "setup.py", "build_ext", CC=compiler_without("Python.h"))
    assert_one_sentence(done, "Python.h", "python3-dev")


def test_missing_headers_of_zlib_are_named(compiler_without):
    done = run(sys.executable, "setup.py", "build_ext", CC=compiler_without("zlib.h"))
    assert_one_sentence(done, "zlib.h", "zlib1g-dev")


@pytest.mark.parametrize("target", ["demo", "test", "build"])
def test_make_tells_it_before_it_fetches_anything(target, tmp_path):
    done = run("make", target, f"VENV={tmp_path / 'venv'}", f"PYTHON={sys.executable}", CC="/nonexistent")
    assert_one_sentence(done, "a C compiler")
    assert not (tmp_path / "venv").exists()


def test_make_tells_that_python_is_missing(tmp_path):
    done = run("make", "build", f"VENV={tmp_path / 'venv'}", "PYTHON=/nonexistent/python3")
    assert_one_sentence(done, "Python 3.11", "apt-get install python3-venv")


def test_the_toolchain_of_these_tests_is_complete():
    done = run(sys.executable, "setup.py", "toolchain")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
