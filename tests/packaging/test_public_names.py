"""What ``import dlio_fast`` gives, and what it costs."""

import importlib.metadata
import subprocess
import sys

import pytest

import dlio_fast

NAMES = ("__version__", "load", "read", "read_many", "load_config", "Dataset", "Loader")


@pytest.mark.parametrize("name", NAMES)
def test_the_package_has_its_public_names(name):
    assert hasattr(dlio_fast, name)
    assert name in dlio_fast.__all__


def test_every_public_name_exists_and_is_listed_once():
    assert len(set(dlio_fast.__all__)) == len(dlio_fast.__all__)
    assert all(hasattr(dlio_fast, name) for name in dlio_fast.__all__)


def test_the_version_is_that_of_the_distribution():
    assert dlio_fast.__version__ == importlib.metadata.version("dlio-fast")


def test_importing_it_imports_no_framework_and_prints_nothing():
    program = "import sys, dlio_fast; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    optional = {"torch", "tensorflow", "jax", "h5py", "fsspec", "matplotlib", "hydra", "mpi4py"}
    assert not optional & set(done.stdout.split())
    assert done.stderr == ""
