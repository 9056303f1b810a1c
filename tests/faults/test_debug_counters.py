"""The core's own count of what is alive: it sees what is in use, and ends where it began."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast import _core

NAMES = {"rings", "ring_threads", "caches", "buffers_lent", "buffer_bytes", "open_files", "connections"}


@pytest.fixture
def files(tmp_path):
    """Six files of four samples, 16 KiB each."""
    for i in range(6):
        np.savez(tmp_path / f"{i}.npz", x=np.full((4, 16384), i, np.uint8))
    return tmp_path


@pytest.fixture(autouse=True)
def _counted():
    """Whatever a test does, nothing of it is left; the shared pool alone keeps memory for the next read."""
    gc.collect()
    before = _core.debug_counters()
    yield
    gc.collect()
    after = _core.debug_counters()
    assert {**after, "buffer_bytes": 0} == {**before, "buffer_bytes": 0}


def more_than(before: dict[str, int]) -> dict[str, int]:
    """What has come to life since then."""
    now = _core.debug_counters()
    assert set(now) == NAMES
    return {name: now[name] - before[name] for name in NAMES if now[name] != before[name]}


def test_a_ring_its_threads_and_its_cache_are_counted(files):
    data = df.Dataset.from_files(files, sample_axis=0)
    before = _core.debug_counters()
    ring = _core.Ring(2, 1 << 20, _core.Pool(0), 1 << 20)
    assert more_than(before) == {"rings": 1, "caches": 1}
    plan = data.plan()
    ring.submit_batch(plan, np.array([0, 4, 8], np.int64))
    batch = ring.next_batch(plan)
    kept = 3 * plan.file_bytes()
    assert more_than(before) == {
        "rings": 1, "ring_threads": 2, "caches": 1,
        "buffers_lent": 4, "buffer_bytes": kept + plan.batch_bytes(3),
    }  # fmt: skip
    ring.close()
    assert more_than(before) == {"buffers_lent": 1, "buffer_bytes": plan.batch_bytes(3)}
    del batch
    assert more_than(before) == {}


def test_an_open_archive_is_counted(files):
    before = _core.debug_counters()
    with df.load(files / "0.npz"):
        assert more_than(before)["open_files"] == 1
    assert "open_files" not in more_than(before)


@pytest.mark.parametrize("batches", [0, 1, 5, 12])
def test_a_closed_loader_leaves_nothing_but_what_was_kept(files, batches):
    data = df.Dataset.from_files(files, sample_axis=0)
    len(data)
    before = _core.debug_counters()
    loader = df.Loader(data, batch_size=2, threads=2)
    kept = [batch for _, batch in zip(range(batches), loader, strict=False)]
    if kept:
        assert more_than(before)["buffers_lent"] >= len(kept)
    loader.close()
    assert set(more_than(before)) <= {"buffers_lent", "buffer_bytes"}
    assert more_than(before).get("buffers_lent", 0) == len(kept)
    del kept
    assert more_than(before) == {}


def test_a_loader_that_many_threads_close_is_counted_once(files):
    data = df.Dataset.from_files(files, sample_axis=0)
    len(data)
    before = _core.debug_counters()
    for _ in range(20):
        loader = df.Loader(data, batch_size=3, threads=2)
        next(iter(loader))
        closers = [threading.Thread(target=loader.close) for _ in range(4)]
        for closer in closers:
            closer.start()
        for closer in closers:
            closer.join()
    del loader
    gc.collect()
    assert more_than(before) == {}


def test_a_file_that_fails_leaves_nothing_open(files):
    (files / "3.npz").write_bytes((files / "3.npz").read_bytes()[:-30])
    (files / "4.npz").write_bytes(b"no archive")
    (files / "5.npz").unlink()
    (files / "5.npz").mkdir()
    paths = [files / f"{i}.npz" for i in range(6)]
    before = _core.debug_counters()
    with df.Loader(
        df.Dataset.from_files(paths, sample_axis=0), batch_size=2, threads=2, on_error="skip"
    ) as loader:
        assert sum(len(batch["x"]) for batch in loader) == 12
    gc.collect()
    assert set(more_than(before)) <= {"buffer_bytes"}


def test_a_child_begins_at_zero_and_ends_there(files):
    program = """
import os, sys, dlio_fast as df
from dlio_fast import _core
data = df.Dataset.from_files(sys.argv[1], sample_axis=0)
loader = df.Loader(data, batch_size=2, threads=2)
passing = iter(loader)
batch, archive = next(passing), df.load(sys.argv[1] + "/5.npz")
parents = _core.debug_counters()
assert parents["rings"] == 1 and parents["buffers_lent"] and parents["open_files"]
child = os.fork()
if not child:
    assert not any(_core.debug_counters().values())
    with df.Loader(data, batch_size=3, threads=1) as own:
        again = iter(own)
        mine = next(again)
        assert _core.debug_counters()["rings"] == 1
    assert archive["x"][0, 0] == 5
    archive.close()
    loader.close()
    del own, again, mine, passing, loader, batch
    counters = _core.debug_counters()
    counters["buffer_bytes"] = 0  # the shared pool's
    assert not any(counters.values()), counters
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
loader.close()
archive.close()
del batch
assert not any(n for name, n in _core.debug_counters().items() if name != "buffer_bytes")
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, files], capture_output=True, text=True, timeout=30, env=os.environ
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
