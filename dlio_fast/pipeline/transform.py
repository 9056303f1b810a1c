"""The user's transform: called ahead of the consumer, on threads, in order."""

from __future__ import annotations

import atexit
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from .. import _core
from .._typing import Array, Fields, Values
from ..errors import ClosedError

Transform = Callable[[Any], Mapping[str, Any]]

EXIT_SECONDS = 5
"""How long the exit of the interpreter waits for transforms that are running."""


@dataclass(frozen=True)
class TransformSettings:
    """What is called, on what, and how much ahead."""

    function: Transform
    per_sample: bool
    threads: int


class Taken(NamedTuple):
    """A batch that was taken."""

    done: int
    """Batches of the pass that are done with this one."""
    samples: int
    """How many were read for it."""
    fields: Fields
    seconds: float = 0.0
    """What its transform took."""


Outcome = Taken | BaseException | None
"""What taking a batch comes to; None: there are no more."""


class Taking(Protocol):
    """What batches are taken from, by one thread at a time."""

    pool: _core.Pool
    """Where memory for batches of transformed samples comes from."""

    def take(self) -> Taken:
        """Return the next batch; StopIteration at the end."""
        ...

    def close(self, wait: bool) -> None:
        """End the wait of who is in take()."""


WAIT_SECONDS = 0.05
"""How long a wait lasts before Python may look at signals: one that comes just before it does not end it."""


class Slot:
    """Where a batch is delivered, and the link to the place of the one after it.

    A signal handler that raises cannot leave it half done: the lock, held until there is something, is only
    there to be woken by.
    """

    __slots__ = ("_empty", "_filled", "next", "outcome")

    def __init__(self) -> None:
        self._empty = threading.Lock()
        self._empty.acquire()
        self._filled = False
        self.outcome: Outcome = None
        self.next: Slot | None = None

    def fill(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._filled = True
        self._empty.release()

    def wait(self) -> None:
        while not self._filled:
            if self._empty.acquire(timeout=WAIT_SECONDS):
                self._empty.release()


class TransformAhead:
    """Takes batches from a source, and gives them out in the same order, transformed.

    The threads themselves take from the source, so that the consumer waits for nothing but the batch
    whose turn it is. They are daemons, which the exit of the interpreter waits for only so long.
    """

    def __init__(self, source: Taking, settings: TransformSettings):
        self._source, self._settings = source, settings
        self._taking = threading.Lock()
        # The collector, too, may call close(), in any thread and at any point: it takes no lock, and this
        # kind of queue lets it.
        self._calls: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._head = self._tail = Slot()  # the consumer's and the threads' end of the slots
        self._taken = self._delivered = 0
        self._stopped = self._ended = self._exiting = False
        self._threads: list[Worker] = []

    def start(self) -> None:
        """Start the threads; apart, so that who is interrupted here has something to close."""
        for _ in range(self._settings.threads):
            worker = Worker(self)
            try:
                worker.start()
            except RuntimeError:  # the system has no more; fewer than asked for will do, none will not
                if not self._threads:
                    raise
                return
            self._threads.append(worker)

    def work(self) -> bool:
        """Take a batch and transform it; False: there are no more."""
        with self._taking:  # batches come in the order of the slots
            while not self._stopped and self._taken - self._delivered > self._settings.threads:
                self._calls.get()
            if self._ended:
                return False
            outcome = None if self._stopped else _outcome(self._source.take)
            slot = self._tail
            if outcome is None or self._stopped:
                outcome, self._ended = None, True
            else:
                self._tail = slot.next = Slot()
                self._taken += 1
                with contextlib.suppress(queue.Empty):  # one call for each batch, or they would pile up
                    self._calls.get_nowait()
        if isinstance(outcome, Taken):
            outcome = _outcome(self._transformed, outcome)
        slot.fill(outcome)
        del slot, outcome  # the traceback of an exception refers to this frame
        return not self._ended

    def _transformed(self, taken: Taken) -> Taken:
        began = time.perf_counter()
        try:
            fields = apply(self._settings, taken.fields, self._source.pool)
        except BaseException as error:
            error.add_note(f"in the transform of batch {taken.done - 1} of the pass")
            raise
        return Taken(taken.done, taken.samples, fields, time.perf_counter() - began)

    def peek(self) -> Taken:
        """Wait for the next batch, which stays the next one until :meth:`advance`."""
        self._calls.put(None)  # what was delivered before has made room
        slot = self._head
        slot.wait()
        outcome = slot.outcome
        if isinstance(outcome, Taken):
            return outcome
        if outcome is None:
            if self._exiting and threading.current_thread().daemon:
                threading.Event().wait()  # the exit of the interpreter ends such threads without a word
            raise ClosedError("the pass was closed before its end") if self._stopped else StopIteration
        self.advance()
        try:
            raise outcome
        finally:
            del slot, outcome  # they refer to the exception, whose traceback refers to this frame

    def advance(self) -> None:
        """Let go of the next batch. Calls nothing: a signal handler that raises comes before or after."""
        self._head = self._head.next or self._head
        self._delivered += 1

    @property
    def running(self) -> bool:
        """Whether there are threads."""
        return any(thread.is_alive() for thread in self._threads)

    def close(self, wait: bool) -> None:
        """Begin no more, and drop what is ready; with `wait`, until what is running has ended."""
        self._stopped = True
        self._source.close(wait)
        self._calls.put(None)  # to the one thread that may be waiting: the others wait for its lock
        self._head = self._tail
        if wait:
            self.join()

    def end_with_interpreter(self) -> None:
        """As :meth:`close`, at the exit."""
        self._exiting = True
        self.close(wait=False)

    def join(self, seconds: float | None = None) -> None:
        """Wait for the threads, but for the caller's own."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(seconds)


class Worker(threading.Thread):
    """A thread that transforms."""

    def __init__(self, ahead: TransformAhead):
        super().__init__(name="dlio_fast transform", daemon=True)
        self.ahead: TransformAhead | None = ahead

    def run(self) -> None:
        assert self.ahead is not None
        try:
            while self.ahead.work():
                pass
        finally:
            self.ahead = None  # which refers to its threads


def _outcome(function: Callable[..., Taken], *arguments: Any) -> Outcome:
    try:
        return function(*arguments)
    except StopIteration:
        return None
    except BaseException as error:
        return error


@atexit.register
def _at_exit() -> None:
    """End all transforms while there is an interpreter for them to run in."""
    workers = [thread for thread in threading.enumerate() if isinstance(thread, Worker)]
    for worker in workers:
        if (ahead := worker.ahead) is not None:
            ahead.end_with_interpreter()
    end = time.monotonic() + EXIT_SECONDS
    for worker in workers:
        worker.join(max(0.0, end - time.monotonic()))


def apply(settings: TransformSettings, fields: Fields, pool: _core.Pool) -> Fields:
    """Transform one batch."""
    if not settings.per_sample:
        return _called(settings.function, fields)
    count = len(next(iter(fields.values())))
    samples = [{name: values[i] for name, values in fields.items()} for i in range(count)]
    done = [_called(settings.function, sample) for sample in samples]
    return {name: _together([np.asarray(sample[name]) for sample in done], pool) for name in done[0]}


def _called(function: Transform, fields: Fields) -> dict[str, Any]:
    try:
        result = function(fields)
    except StopIteration as error:  # would be taken for the end of the epoch
        raise RuntimeError("the transform raised StopIteration") from error
    if not isinstance(result, Mapping) or not result:
        raise TypeError(f"a transform returns a mapping of fields to arrays, not {type(result).__name__}")
    return dict(result)


def _together(arrays: list[Array], pool: _core.Pool) -> Values:
    """Put samples together in aligned memory, where they are alike."""
    first = arrays[0]
    if first.dtype.hasobject or any(a.shape != first.shape or a.dtype != first.dtype for a in arrays):
        return arrays
    shape = (len(arrays), *first.shape)
    buffer = pool.get(first.nbytes * len(arrays))
    batch: Array = np.ndarray(shape, first.dtype, buffer)  # type: ignore[arg-type] # a buffer, to numpy
    np.stack(arrays, out=batch)
    return batch
