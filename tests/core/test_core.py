"""The core's own test program, built without sanitizers: one test for each of its concerns."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONCERNS = re.findall(r'\{"(\w+)", test_', (ROOT / "tests/core/test_main.c").read_text())


@pytest.fixture(scope="module")
def core_tests():
    program = ROOT / "build" / "plain-gcc" / "core_tests"
    built = subprocess.run(
        ["make", "CC=gcc", program.relative_to(ROOT)], cwd=ROOT, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    return program


@pytest.mark.parametrize("concern", CONCERNS)
def test_the_core_passes_its_own_tests(core_tests, concern):
    done = subprocess.run([core_tests, concern], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
