"""The archives that users install: made once from the tree, as a release would be."""

import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = {".c", ".h", ".pyx", ".pxd", ".pxi"}


def succeed(*command, cwd):
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def files_below(folder, pattern="*"):
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob(pattern) if path.is_file()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    succeed(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    succeed(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, sdist, cwd=folder)
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh environment's programs: the wheel is in it, its dependencies come from ours."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    succeed(*pip, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_sdist_holds_all_that_building_and_testing_need(sdist):
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    wanted = files_below("csrc") | files_below("configs", "*.yaml")
    wanted |= files_below("tests", "*.[ch]") | files_below("tests", "*.py")
    wanted |= files_below("dlio_fast", "*.py") | files_below("dlio_fast", "*.p[xy][xdi]")
    wanted |= {
        "Makefile",
        "LICENSE",
        "README.md",
        "pyproject.toml",
        "setup.py",
        "dlio_fast/py.typed",
        ".ci/run",
    }
    assert wanted <= held, sorted(wanted - held)


def test_the_sdist_holds_nothing_that_was_built(sdist):
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    assert not [name for name in names if name.endswith((".so", ".pyc")) or "/build/" in name]


def test_the_wheel_holds_the_package_its_types_and_the_workloads(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    wanted = files_below("dlio_fast", "*.py")
    wanted |= {f"dlio_fast/{name}" for name in files_below("configs", "*.yaml")}
    wanted |= {"dlio_fast/py.typed", "dlio_fast/_core.pyi"}
    wanted |= {f"dlio_fast/_core{sysconfig.get_config_var('EXT_SUFFIX')}"}
    assert wanted <= held, sorted(wanted - held)


def test_the_wheel_holds_no_sources_of_the_core_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = archive.namelist()
    assert not [name for name in held if Path(name).suffix in SOURCES]
    assert {name.partition("/")[0].partition("-")[0] for name in held} == {"dlio_fast"}


def test_a_fresh_environment_imports_the_installed_package(installed):
    program = "import dlio_fast, dlio_fast._core as core; print(dlio_fast.__file__); print(core.__file__)"
    for path in succeed(installed / "python", "-c", program, cwd=installed).split():
        assert Path(path).is_relative_to(installed.parent)


def test_the_installed_command_knows_the_bundled_workloads_from_any_folder(installed, tmp_path):
    listed = succeed(installed / "dlio-fast", "workloads", cwd=tmp_path).split()
    bundled = {path.stem for path in (ROOT / "configs").rglob("*.yaml")}
    assert "quickstart" in bundled
    assert bundled <= set(listed), sorted(bundled - set(listed))


def test_the_installed_command_explains_itself(installed, tmp_path):
    assert "usage: dlio-fast" in succeed(installed / "dlio-fast", "--help", cwd=tmp_path)
