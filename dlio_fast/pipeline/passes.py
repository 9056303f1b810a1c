"""One pass over a loader's data: keeps the ring full and hands its batches out."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .. import _core
from .._typing import Fields, Int64Array
from ..errors import ClosedError
from .batch import batch_arrays
from .sampler import Sampler
from .state import Progress, State, make_state
from .transform import Taken, TransformAhead

if TYPE_CHECKING:
    from .loader import Loader

logger = logging.getLogger("dlio_fast")

MAX_PENDING = 64
"""Batches in flight: more would not keep the threads any busier, and delay the first one."""

COUNTERS = (
    "bytes_read", "direct_bytes", "staged_bytes", "reads", "files", "fallbacks", "stall_seconds",
    "batches", "samples", "skipped_samples", "transform_seconds", "cache_hits", "cache_misses",
)  # fmt: skip


COUNTED = ("batches", "samples", "stall_seconds", "transform_seconds")
"""What a pass counts itself."""


class BatchIterator(Iterator[Fields]):
    """One pass, or a worker's share of one; made by iterating over a :class:`Loader`.

    Threads may share it: each batch goes to one of them.

    Parameters
    ----------
    loader : Loader
    epoch : int
    start : int
        Where the epoch is entered, see :class:`Sampler`.
    first, step : int
        Batches first, first + step, ... are delivered.
    """

    def __init__(self, loader: Loader, epoch: int, start: int, first: int = 0, step: int = 1):
        sampler = loader.sampler_from(start)
        self.progress = Progress(sampler, epoch, loader.batch_size, (first, step) == (0, 1))
        self._loader = loader
        self._taking = threading.Lock()  # never held by close(): it ends the wait of who holds it
        self._counts: dict[str, Any] = dict.fromkeys(COUNTED, 0)
        self._source = Source(loader, sampler, epoch, first, step)
        self._ahead: TransformAhead | None = None
        if loader.transform is not None and not self._source.exhausted:
            self._ahead = TransformAhead(self._source.take, loader.transform, loader.resources()[1])
        self._closed = self._cut_short = self._inherited = False
        _passes.add(self)

    def __next__(self) -> Fields:
        if self._inherited:
            raise ClosedError("the pass was begun before a fork: begin one in this process")
        try:
            with self._taking:
                return self._next()
        except StopIteration:
            self.progress.finished = True
            self.close()
            raise

    def _next(self) -> Fields:
        if self._cut_short and not self.progress.finished:
            raise ClosedError("the pass was closed before its end")
        if self._ahead is None:
            done, fields = self._source.take()
        else:
            asked = time.perf_counter()
            (done, fields), seconds = self._ahead.next()
            self._counts["stall_seconds"] += time.perf_counter() - asked
            self._counts["transform_seconds"] += seconds
        self.progress.delivered = done
        self._counts["batches"] += 1
        self._counts["samples"] += len(next(iter(fields.values())))
        return fields

    def places(self, number: int) -> Sequence[int] | None:
        """Where in what was asked for the samples of the pass's number-th batch lay; None: it has all."""
        return self._source.places.get(number)

    def get_state(self) -> State:
        """What the consumer has got of this pass, as :meth:`Loader.state_dict` has it."""
        progress = self.progress
        return make_state(progress.sampler, progress.epoch, progress.position(), progress.batch_size)

    def add_to(self, counts: Counter[Any]) -> dict[str, Any]:
        """Add this pass's counters; returns the ring's own figures."""
        ring = self._source.stats()
        counts.update(self._counts)
        mine = "stall_seconds" if self._ahead is not None else None
        counts.update({name: ring[name] for name in COUNTERS if name in ring and name != mine})
        counts.update({("latency", i): n for i, n in enumerate(ring.get("latency_histogram", ()))})
        return ring

    def close(self) -> None:
        """End the pass: stop its threads and drop what is in flight."""
        self._close(wait=True)

    def _close(self, wait: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._cut_short = self._ahead is not None or not self._source.exhausted
        self._source.close()
        if self._ahead is not None and not self._inherited:
            self._ahead.close(wait)
        self._loader.retire(self, None if wait or self._inherited else self._ahead)

    def inherit(self) -> None:
        """In a forked child: the pass is the parent's, and so may be the lock's holder."""
        self._taking = threading.Lock()
        self._inherited = True

    def __del__(self) -> None:
        # The collector may run in a thread of the transform's, which cannot wait for itself.
        if getattr(self, "_closed", True) is False:
            self._close(wait=False)


class Source:
    """The batches of a pass as they were read: submits ahead, takes in turn. Serves one thread at a time.

    It knows nothing of its :class:`BatchIterator`, so that dropping that ends the pass even while the
    threads of a transform still hold this.
    """

    def __init__(self, loader: Loader, sampler: Sampler, epoch: int, first: int, step: int):
        self._sampler, self._epoch = sampler, epoch
        self._batch_size, self._raise = loader.batch_size, loader.on_error == "raise"
        self._position = first * self._batch_size
        self._stride = step * self._batch_size
        self._end = len(sampler)
        self._pending: deque[Int64Array] = deque()
        self._failures: deque[Exception] = deque()
        self._rest: _core.Batch | None = None
        self.places: dict[int, list[int]] = {}
        """Of batches that lack samples: where those lay that it has."""
        self._taken = 0
        self._skipped = 0
        self._ring: _core.Ring | None = None
        if self.more:
            self._plan, pool = loader.resources()
            self._spec = loader.dataset.spec
            cache = loader.cache_bytes
            budget = loader.prefetch_bytes - cache
            self._ring = _core.Ring(loader.threads, budget, pool, cache)
            batch_bytes = self._plan.batch_bytes(loader.batch_size) or loader.batch_bytes
            fitting = budget // max(1, batch_bytes + loader.scratch_bytes)
            self._max_pending = min(max(1, fitting), MAX_PENDING)
            self._submit()

    @property
    def more(self) -> bool:
        """Whether batches are still to be submitted."""
        return self._position < self._end

    @property
    def exhausted(self) -> bool:
        """Whether all has been taken."""
        return not (self.more or self._pending or self._failures) and self._rest is None

    def _submit(self) -> None:
        """Keep the ring full."""
        assert self._ring is not None
        while self.more and len(self._pending) < self._max_pending:
            count = min(self._batch_size, self._end - self._position)
            ids = self._sampler.ids(self._epoch, self._position, count)
            if not self._ring.submit_batch(self._plan, ids):
                break
            self._pending.append(ids)
            self._position += self._stride

    def take(self) -> Taken:
        """Return the next batch that is not empty, or raise the next failure."""
        while True:
            batch = self._wait() if self._rest is None else self._rest
            if self._failures:
                raise self._failures.popleft()
            self._rest = None
            self._taken += 1
            if len(batch):
                return self._taken, batch_arrays(batch, self._spec)

    def _wait(self) -> _core.Batch:
        """Wait for the next batch, set it and what failed in it aside, and fill the ring again."""
        if not self._pending:
            raise StopIteration
        assert self._ring is not None
        batch = self._ring.next_batch(self._plan)
        ids = self._pending.popleft()
        failures = batch.failures()
        if failures:
            batch.compact()
            self.places[self._taken + 1] = _places(batch.samples(), ids)
            if self._raise:
                self._failures.extend(error for error, _ in failures)
            for error, samples in failures:
                self._skipped += samples
                logger.warning("%d sample(s) skipped: %s", samples, error)
        self._rest = batch
        self._submit()
        return batch

    def stats(self) -> dict[str, Any]:
        """The ring's figures, and the samples that were left out."""
        ring = self._ring.stats() if self._ring else {}
        return {**ring, "skipped_samples": self._skipped}

    def close(self) -> None:
        """Stop the ring's threads; who waits for a batch gets a ClosedError."""
        if self._ring is not None:
            self._ring.close()


def _places(kept: Sequence[int], ids: Int64Array) -> list[int]:
    """Where the samples that are left lay among those that were asked for."""
    places = enumerate(ids)
    return [next(place for place, i in places if i == sample) for sample in kept]


def _mark_inherited() -> None:
    for one in list(_passes):
        one.inherit()


_passes: weakref.WeakSet[BatchIterator] = weakref.WeakSet()
os.register_at_fork(after_in_child=_mark_inherited)
