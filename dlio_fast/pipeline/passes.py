"""One pass over a loader's data: keeps the ring full and hands its batches out."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import _core
from .._typing import Fields, Int64Array
from ..errors import ClosedError, DataError
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
    "bytes_read", "direct_bytes", "staged_bytes", "reads", "files", "retries", "fallbacks", "stall_seconds",
    "batches", "samples", "skipped_samples", "transform_seconds", "cache_hits", "cache_misses",
    "core_samples", "library_samples", "disk_cache_hits", "disk_cache_misses", "disk_cache_bytes",
    "disk_cache_written",
)  # fmt: skip


COUNTED = ("batches", "samples", "stall_seconds", "transform_seconds")
"""What a pass counts itself."""


class BatchIterator(Iterator[Fields]):
    """One pass, or a worker's share of one; made by iterating over a :class:`Loader`.

    Threads may share it: each batch goes to one of them. A signal handler that raises in the middle of
    it (Ctrl-C) leaves it whole, and the next call goes on with the same batch.

    Parameters
    ----------
    loader : Loader
    epoch : int
    start : int
        Where the epoch is entered, see :class:`Sampler`.
    first, step : int
        Batches first, first + step, ... are delivered.
    """

    _exiting = False  # the interpreter is

    def __init__(self, loader: Loader, epoch: int, start: int, first: int = 0, step: int = 1):
        sampler = loader.sampler_from(start)
        self.progress = Progress(sampler, epoch, loader.batch_size, (first, step) == (0, 1))
        self._loader = loader
        self._taking = threading.Lock()  # never held by close(): it ends the wait of who holds it
        self._counts: dict[str, Any] = dict.fromkeys(COUNTED, 0)
        self._closed = self._cut_short = self._inherited = False
        try:
            self._source = Source(loader, sampler, epoch, first, step)
        except ClosedError:
            self._end_with_interpreter()
            raise
        self._ahead: TransformAhead | None = None
        _passes.add(self)
        if loader.transform is not None and not self._source.exhausted:
            self._ahead = TransformAhead(self._source, loader.transform)
            self._ahead.start()

    def __next__(self) -> Fields:
        if self._inherited:
            raise ClosedError("the pass was begun before a fork: begin one in this process")
        try:
            with self._taking:
                return self._next()
        except StopIteration:
            pass
        except ClosedError:
            self._end_with_interpreter()
            raise
        self.progress.finished = True
        self.close()
        raise StopIteration

    def _end_with_interpreter(self) -> None:
        """Where a ring was closed by the exit of the interpreter: it ends daemons without a word."""
        if self._exiting and threading.current_thread().daemon:
            threading.Event().wait()

    def _next(self) -> Fields:
        if self.progress.finished:
            raise StopIteration
        if self._cut_short:
            raise ClosedError("the pass was closed before its end")
        feed = self._ahead or self._source
        asked = time.perf_counter()
        taken = feed.peek()
        waited = time.perf_counter() - asked if self._ahead else 0.0  # else the ring knows better
        # What follows calls nothing else: a signal handler that raises comes before it, and the batch is
        # still the next one, or after it, and the batch is delivered.
        feed.advance()
        self.progress.delivered = taken.done
        self._counts["batches"] += 1
        self._counts["samples"] += taken.samples
        self._counts["stall_seconds"] += waited
        self._counts["transform_seconds"] += taken.seconds
        return taken.fields

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
        """End the pass: stop its threads and drop what is in flight.

        A transform that is running is waited for.
        """
        self._close(wait=True)

    def _close(self, wait: bool) -> None:
        # Nothing here minds being done twice: a signal handler may raise at any point of it.
        if not self._closed:
            self._cut_short = self._ahead is not None or not self._source.exhausted
            self._closed = True
        try:
            (self._ahead or self._source).close(wait)
        finally:
            self._loader.passes.retire(self, self._ahead)

    def inherit(self) -> None:
        """In a forked child: the pass is the parent's, and so may be the lock's holder."""
        self._taking = threading.Lock()
        self._inherited = True

    def __del__(self) -> None:
        # At the exit of the interpreter there may be no modules left to close it with (JAX's caches keep
        # all that is global in a program that long); the ring ends its threads by itself.
        # The collector may run in a thread of the transform's, which cannot wait for itself.
        if not self._exiting and getattr(self, "_source", None) is not None:
            self._close(wait=False)


class Source:
    """The batches of a pass as they were read: submits ahead, takes in turn. Serves one thread at a time.

    It knows nothing of its :class:`BatchIterator`, so that dropping that ends the pass even while the
    threads of a transform still hold this.

    A signal handler that raises must find it whole. So there is no call between two changes that belong
    together, or they are one call into C, which Python runs no handler in.
    """

    def __init__(self, loader: Loader, sampler: Sampler, epoch: int, first: int, step: int):
        self._sampler, self._epoch = sampler, epoch
        self._batch_size, self._raise = loader.batch_size, loader.on_error == "raise"
        self._start, self._stride = first * self._batch_size, step * self._batch_size
        self._end = len(sampler)
        self._asked: deque[Int64Array] = deque()  # the samples of batches that were submitted
        self._got: deque[_core.Batch] = deque()  # of these, what has come out of the ring: the first at most
        self.places: dict[int, list[int]] = {}
        """Of batches that lack samples: where those lay that it has."""
        self._failures: list[Exception] | None = None  # of the next one; None: not looked at yet
        self._taken = 0
        self._skipped = 0
        self._ring: _core.Ring | None = None
        if not self.exhausted:
            self._plan, self.pool = loader.resources()
            self._spec = loader.dataset.spec
            cache = loader.cache_bytes
            budget = loader.prefetch_bytes - cache
            self._ring = _core.Ring(loader.threads, budget, self.pool, cache)
            self._accepts = partial(self._ring.submit_batch, self._plan)
            batch_bytes = self._plan.batch_bytes(loader.batch_size) or loader.batch_bytes
            fitting = budget // max(1, batch_bytes + loader.scratch_bytes)
            self._max_pending = min(max(1, fitting), MAX_PENDING)
            self._submit()

    @property
    def _position(self) -> int:
        """The first sample of the next batch to be submitted."""
        return self._start + (self._taken + len(self._asked)) * self._stride

    @property
    def exhausted(self) -> bool:
        """Whether all has been taken."""
        return not self._asked and self._position >= self._end

    def _submit(self) -> None:
        """Keep the ring full."""
        while len(self._asked) - len(self._got) < self._max_pending and (at := self._position) < self._end:
            ids = self._sampler.ids(self._epoch, at, min(self._batch_size, self._end - at))
            before = len(self._asked)
            self._asked.extend(filter(self._accepts, (ids,)))  # submitted and noted
            if len(self._asked) == before:
                break

    def _receive(self) -> None:
        """Wait for the ring's next batch."""
        assert self._ring is not None
        self._got.extend(map(self._ring.next_batch, (self._plan,)))  # taken out and kept

    def take(self) -> Taken:
        """Return the next batch that is not empty, or raise the next failure; StopIteration at the end."""
        taken = self.peek()
        self.advance()
        return taken

    def peek(self) -> Taken:
        """As :meth:`take`, but the batch stays the next one until :meth:`advance`."""
        while True:
            if not self._got:
                if not self._asked:
                    raise StopIteration
                self._receive()
            self._submit()
            if self._failures is None:
                self._look(self._got[0])
            if self._failures:
                error = self._failures[0]
                del self._failures[0]
                try:
                    raise error
                finally:
                    del error  # whose traceback refers to this frame
            if len(self._got[0]):
                return self._as_taken(self._got[0])
            self.advance()

    def advance(self) -> None:
        """Let go of the next batch. Calls nothing: a signal handler that raises comes before or after."""
        del self._got[0], self._asked[0]
        self._failures = None
        self._taken += 1

    def _look(self, batch: _core.Batch) -> None:
        """Set what failed in the next batch aside."""
        failures = batch.failures()
        if not failures:
            self._failures = []
            return
        kinds = () if self._raise else (DataError, OSError)  # the rest is no fault of the file's
        batch.compact()
        self.places[self._taken + 1] = _places(batch.samples(), self._asked[0])
        errors = [error for error, _ in failures if not isinstance(error, kinds)]
        skipped = sum(samples for _, samples in failures)
        self._failures = errors
        self._skipped += skipped
        batch.forget_failures()
        for error, samples in failures:
            logger.warning("%d sample(s) skipped: %s", samples, error)

    def _as_taken(self, batch: _core.Batch) -> Taken:
        return Taken(self._taken + 1, len(batch), batch_arrays(batch, self._spec))

    def stats(self) -> dict[str, Any]:
        """The ring's figures, and the samples that were left out."""
        ring = self._ring.stats() if self._ring else {}
        return {**ring, "skipped_samples": self._skipped}

    def close(self, wait: bool = True) -> None:
        """Stop the ring's threads; who waits for a batch gets a ClosedError."""
        if self._ring is not None:
            self._ring.close(wait)
            forget = getattr(self._plan.reader, "forget", None)
            if forget is not None:
                forget()


def _places(kept: Sequence[int], ids: Int64Array) -> list[int]:
    """Where the samples that are left lay among those that were asked for."""
    places = enumerate(ids)
    return [next(place for place, i in places if i == sample) for sample in kept]


def _mark_inherited() -> None:
    for one in list(_passes):
        one.inherit()


@atexit.register
def _at_exit() -> None:
    BatchIterator._exiting = True


_passes: weakref.WeakSet[BatchIterator] = weakref.WeakSet()
os.register_at_fork(after_in_child=_mark_inherited)
