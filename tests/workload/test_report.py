"""The pictures, and the example that shows one."""

import runpy
import sys
from pathlib import Path

import pytest

from dlio_fast.errors import MissingDependencyError
from dlio_fast.workload.metrics import Progress
from dlio_fast.workload.report import plot_throughput

PNG = b"\x89PNG\r\n\x1a\n"
EXAMPLE = Path(__file__).parents[2] / "examples/quickstart.py"


def series(rate):
    progress = Progress()
    for second in range(30):
        progress.note(float(second), second, rate * second)
    return progress.series()


def test_a_picture_is_written_where_it_is_asked_for(tmp_path):
    path = plot_throughput(
        tmp_path / "new/a.png", {"one": series(10**9), "two": series(3 * 10**9)}, "title", "sub"
    )
    assert path == tmp_path / "new/a.png" and path.read_bytes().startswith(PNG)


def test_the_suffix_says_the_kind_of_picture(tmp_path):
    path = plot_throughput(tmp_path / "a.svg", {"one": series(2 * 10**9)}, "a title", "a subtitle")
    assert b"<svg" in path.read_bytes()


@pytest.mark.parametrize("nothing", [{}, {"one": Progress().series()}])
def test_nothing_measured_is_an_empty_picture(tmp_path, nothing):
    assert plot_throughput(tmp_path / "a.png", nothing, "title").read_bytes().startswith(PNG)


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"dlio-fast\[report\]"):
        plot_throughput(tmp_path / "a.png", {}, "title")


def test_the_quickstart_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(EXAMPLE))
    settings = example["main"].__globals__
    # one round of one epoch; and the page cache is the whole machine's, which is not alone
    settings.update(ROUNDS=1, SECONDS=0.001, drop_caches=lambda files: "left as it was")
    example["main"]()
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("64 files written", "samples/s", "GB/s", "AU", "ratio: ", "warm"))
    assert (tmp_path / "data/quickstart.png").read_bytes().startswith(PNG)
