"""Where the next pass begins, shared with the worker processes of PyTorch's DataLoaders."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import Any, Protocol

LATEST = 2**31 - 1
RECENT = 64
"""Passes that late workers can still join."""


class WorkerInfo(Protocol):
    """What identifies a worker process to itself: ``torch.utils.data.WorkerInfo``."""

    @property
    def id(self) -> int: ...
    @property
    def num_workers(self) -> int: ...
    @property
    def seed(self) -> int: ...


class SharedEpoch:
    """Counts the passes over a data set, whichever processes make them.

    The DataLoader does not tell the process that it runs in when a pass begins; its workers do, each for
    itself, whenever it gets there, and with a copy of the data set. All workers of a pass must come to
    the same epoch, or samples would be missing and others double. So the first of them notes which epoch
    the pass has, where the others find it. What tells a pass from others is the base seed that the
    DataLoader draws for each set of workers, the number of passes that a worker process has made, and
    who has begun it: torch seeded anew for each pass draws the same base seed again.

    The notes are in an unnamed file in memory, with a lock that goes with the process that dies. Workers
    that are forked inherit it, those that are spawned get it handed; any other copy counts for itself.
    """

    def __init__(self) -> None:
        self.__setstate__({"epoch": 0, "start": 0})

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def __getstate__(self) -> dict[str, Any]:
        if get_spawning_popen() is not None:
            return {"shared": reduction.DupFd(self._fd)}
        with self._notes() as notes:
            return {"epoch": notes["next"], "start": notes["start"]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._made = 0
        if "shared" in state:
            self._fd = state["shared"].detach()
        else:
            self._fd = os.memfd_create("dlio_fast epoch")
            notes = {"next": state["epoch"], "start": state["start"], "by": None, "passes": []}
            os.write(self._fd, json.dumps(notes).encode())

    @contextlib.contextmanager
    def _notes(self) -> Iterator[dict[str, Any]]:
        """What is noted, locked; changes to it are written back."""
        # Opened anew, as the lock belongs to the opening: threads and forked processes share ours.
        with open(f"/proc/self/fd/{self._fd}", "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                notes = json.load(file)
                yield notes
                file.seek(0)
                json.dump(notes, file)
                file.truncate()  # writes out first
            finally:
                fcntl.flock(file, fcntl.LOCK_UN)  # closing is not enough if a fork came in between

    def set(self, epoch: int, start: int = 0) -> None:
        """Make the next pass begin there. Raises ValueError for an epoch outside 0 ... 2**31 - 1."""
        if not 0 <= epoch <= LATEST:
            raise ValueError(f"epoch {epoch} is not within 0 ... {LATEST}")
        with self._notes() as notes:
            notes["next"], notes["start"], notes["by"] = int(epoch), int(start), None

    def next(self) -> tuple[int, int]:
        """Return epoch and position where the next pass begins."""
        with self._notes() as notes:
            return notes["next"], notes["start"]

    @property
    def elsewhere(self) -> bool:
        """Whether the latest pass was begun by another process."""
        with self._notes() as notes:
            return notes["by"] not in (None, os.getpid())

    def take(self, worker: WorkerInfo | None = None, at: tuple[int, int] | None = None) -> tuple[int, int]:
        """Begin a pass and return its epoch, and where in that it begins.

        Parameters
        ----------
        worker : torch.utils.data.WorkerInfo, optional
            What ``get_worker_info()`` returned.
        at : (int, int), optional
            What the pass is known to return, from a state that each worker has restored by itself.
        """
        with self._notes() as notes:
            key: list[int] = []
            if worker is not None:
                self._made += 1
                key = [worker.seed - worker.id, worker.num_workers, self._made]
                for known in notes["passes"]:
                    if known["key"] == key and worker.id not in known["begun"]:
                        known["begun"].append(worker.id)
                        return known["epoch"], known["start"]
            epoch, start = at or (notes["next"], notes["start"])
            if worker is not None:
                begun = {"key": key, "epoch": epoch, "start": start, "begun": [worker.id]}
                notes["passes"] = [begun, *notes["passes"][: RECENT - 1]]
            notes["next"], notes["start"], notes["by"] = epoch + 1, 0, os.getpid()
            return epoch, start
