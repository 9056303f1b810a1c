"""Programs that must end by themselves, quietly and in bounded time, with nothing left behind."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.errors import ClosedError

SECONDS = 20
"""A program that takes longer hangs."""

ROOT = Path(__file__).resolve().parents[2]

PROLOGUE = """
import contextlib, gc, itertools, os, signal, sys, threading, time
import numpy as np
import dlio_fast as df
from dlio_fast.errors import ClosedError
from tests.faults.lifecycle import *
folder = sys.argv[1]
data = df.Dataset.from_files(folder)
bounded()
"""

FILES = 24
"""Samples in the programs' folder, one a file, and the i-th full of i; the loaders make batches of two."""

ALL = list(range(FILES))
PAIRS = [[i, i + 1] for i in ALL[::2]]


ENDS = [
    "for batch in made: pass",
    "passing = iter(made); next(passing); passing.close(); passing.close()",
    "passing = iter(made); next(passing); made.close(); made.close()",
    "passing = iter(made); del passing",
    "for batch in made: break",
    "for batch in made: raise KeyError('the loop')",
    "for batch in made: raise KeyboardInterrupt",
    "with made: assert sorted(all_ids(made)) == ALL",
    "with made: next(iter(made))",
    "with made: raise KeyError('the block')",
]
"""Ways in which a pass over the loader `made` comes to its end."""

KINDS = ("plain", "per batch", "per sample")
"""Of loaders: without a transform, and with one."""


def write_files(folder: Path) -> Path:
    """Make the programs' folder."""
    for i in ALL:
        np.savez(folder / f"{i:02d}.npz", x=np.full(5000, i, np.uint16))
    return folder


def run(folder: object, text: str, **names: object) -> str:
    """Run a program; it has to exit with 0 and without a word on stderr. Returns what it prints.

    `names` are what the program is to know; its `folder` is full of numbered samples, its `data` are they.
    """
    known = "".join(f"{name} = {value!r}\n" for name, value in names.items())
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "ignore:This process", "-c", PROLOGUE + known + text, str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(timeout=SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # forked children that hang, too
    assert (process.returncode, err) == (0, ""), f"exit status {process.returncode}\n{out}\n{err}"
    return out


# -- for the programs --


def bounded(seconds: int = SECONDS - 5) -> None:
    """End this process, with the stacks of its threads on stderr, if it is not through by then."""
    faulthandler.register(signal.SIGALRM, chain=True)
    signal.alarm(seconds)


def held() -> dict[str, int]:
    """What this process has of what can be left behind, but for the buffers kept for reuse."""
    core = _core.debug_counters()
    del core["buffer_bytes"]
    return {
        **core,
        "threads": len(os.listdir("/proc/self/task")),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def come_true(condition: Callable[[], object], seconds: float = 5) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        os.sched_yield()
    return bool(condition())


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """What is done inside leaves no thread, descriptor or buffer behind, without the collector's help."""
    before = held()
    yield
    # A thread that was told to end, or has been joined, is listed a moment longer.
    assert come_true(lambda: held() == before), f"{before} has become {held()}"


def again(fields: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A transform that changes nothing, at a new place."""
    return {"x": fields["x"] + 0}


def loader(data: df.Dataset, kind: str = "plain", **options: Any) -> df.Loader:
    """A loader with two threads and batches of two, of one of KINDS."""
    if kind != "plain":
        options = {"transform": again, "transform_per": kind[4:], "transform_threads": 2, **options}
    return df.Loader(data, **{"batch_size": 2, "threads": 2, **options})


def ids(batch: dict[str, Any]) -> list[int]:
    """The samples of a batch: of each the first element."""
    return [int(sample.flat[0]) for sample in batch["x"]]


def all_ids(batches: Iterable[dict[str, Any]]) -> list[int]:
    return [i for batch in batches for i in ids(batch)]


def inside_next(thread: threading.Thread | None = None) -> bool:
    """Whether a thread, default the main one, is in a pass's __next__."""
    frame = sys._current_frames().get((thread or threading.main_thread()).ident or 0)
    while frame:
        if frame.f_code.co_name == "__next__" and frame.f_code.co_filename.endswith("passes.py"):
            return True
        frame = frame.f_back
    return False


def fork(child: Callable[[], object], *, exit: Callable[[int], object] = os._exit) -> int:
    """Run a function in a forked child, which then ends by `exit`; returns the child's number."""
    number = os.fork()
    if number:
        return number
    bounded(8)
    status = 1
    try:
        child()
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    exit(status)
    raise AssertionError


def refused(function: Callable[[], object]) -> bool:
    """Whether it is refused because of a fork."""
    try:
        function()
    except ClosedError as error:
        return "fork" in str(error)
    return False


def ended_well(children: list[int]) -> bool:
    """Whether all these children have come to their end."""
    return all(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 for child in children)
