"""The samples that are to be converted, read ahead in the order in which they are written."""

from __future__ import annotations

import threading
from collections import deque

from .. import _core
from .._limits import memory_limit
from .._log import log_fallbacks
from .._typing import Fields
from ..pipeline.batch import whole_batch
from ..storage.memory import shared_pool
from .target import Target

READ_AHEAD = 256 << 20


class Feed:
    """The samples of each file of a target, read ahead; threads take turns."""

    def __init__(self, target: Target, threads: int):
        dataset = target.dataset
        self._target, self._spec = target, dataset.spec
        batch = target.per_file * target.sample_nbytes
        budget = max(min(READ_AHEAD, memory_limit() // 8), 2 * (batch + dataset.spec.scratch_bytes))
        cache = budget // 2 if dataset.spec.samples > target.per_file else 0
        self._plan = dataset.plan(cache_bytes=cache)
        self._ring = _core.Ring(dataset.files.threads, budget, shared_pool(), cache)
        self._ahead = threads + 1
        self._asked: deque[int] = deque()
        self._next = 0
        self._closed = False
        self._lock = threading.Lock()  # never held by close(): it ends the wait of who holds it

    def take(self) -> tuple[int, Fields] | None:
        """Return the next file's number and samples; None: there are no more."""
        with self._lock:
            if self._closed:
                return None
            while self._next < len(self._target) and len(self._asked) < self._ahead:
                if not self._ring.submit_batch(self._plan, self._target.ids(self._next)):
                    break
                self._asked.append(self._next)
                self._next += 1
            if not self._asked:
                return None
            index = self._asked.popleft()
            return index, whole_batch(self._ring.next_batch(self._plan), self._spec)

    def close(self) -> None:
        """Make :meth:`take` return or raise at once, in all threads."""
        if not self._closed:
            self._closed = True
            self._ring.close()
            log_fallbacks(self._ring.stats())
