"""The user's transform: called ahead of the consumer, on threads, in order."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from .. import _core
from .._typing import Array, Fields, Values
from ..errors import ClosedError

Transform = Callable[[Any], Mapping[str, Any]]
Taken = tuple[int, Fields]
"""How many batches are done with this one, and its fields."""

Slot: TypeAlias = "Future[tuple[Taken, float] | None]"
"""Where a batch is delivered, with the seconds its transform took; None at the end."""


@dataclass(frozen=True)
class TransformSettings:
    """What is called, on what, and how much ahead."""

    function: Transform
    per_sample: bool
    threads: int


class TransformAhead:
    """Takes batches from a source, and gives them out in the same order, transformed.

    The threads themselves take from the source, so that the consumer waits for nothing but the batch
    whose turn it is.

    Parameters
    ----------
    take : callable
        The next batch of the source; StopIteration at its end. Called by one thread at a time.
    settings : TransformSettings
    pool : Pool
        Where memory for batches of transformed samples comes from.
    """

    def __init__(self, take: Callable[[], Taken], settings: TransformSettings, pool: _core.Pool):
        self._take, self._settings, self._pool = take, settings, pool
        self._taking = threading.Lock()
        self._slots: deque[Slot] = deque()  # in the order of delivery
        self._unfilled: deque[Slot] = deque()  # of these, those whose batch nobody has taken yet
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="dlio_fast transform")
        for _ in range(settings.threads + 1):
            self._begin()

    def _begin(self) -> None:
        """Let a thread take and transform one batch more."""
        slot: Slot = Future()
        self._slots.append(slot)
        self._unfilled.append(slot)
        try:
            self._threads.submit(self._work)
        except RuntimeError:  # closed, or the interpreter is about to exit
            self._fail_unfilled()

    def _work(self) -> None:
        with self._taking:  # batches come in the order of the slots
            try:
                slot = self._unfilled.popleft()
            except IndexError:  # closed
                return
            try:
                done, fields = self._take()
            except StopIteration:
                slot.set_result(None)
                return
            except BaseException as error:
                slot.set_exception(error)
                return
        began = time.perf_counter()
        try:
            fields = apply(self._settings, fields, self._pool)
            slot.set_result(((done, fields), time.perf_counter() - began))
        except BaseException as error:
            error.add_note(f"in the transform of batch {done - 1} of the pass")
            slot.set_exception(error)

    def next(self) -> tuple[Taken, float]:
        """Wait for the next batch; with it come the seconds that its transform took."""
        slot = self._slots[0]
        try:
            result = slot.result()
        except BaseException:
            if slot.done():  # the wait itself may have been interrupted
                self._advance()
            raise
        if result is None:
            raise StopIteration
        self._advance()
        return result

    def _advance(self) -> None:
        self._slots.popleft()
        self._begin()

    def _fail_unfilled(self) -> None:
        while self._unfilled:
            # No lock: this may run in a collector that has interrupted who holds it.
            with contextlib.suppress(IndexError):
                self._unfilled.popleft().set_exception(ClosedError("the pass was closed before its end"))

    def close(self, wait: bool) -> None:
        """Begin no more; with `wait`, until what is running has ended. The source is closed before."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._fail_unfilled()
        if wait:
            self._threads.shutdown(wait=True)


def apply(settings: TransformSettings, fields: Fields, pool: _core.Pool) -> Fields:
    """Transform one batch."""
    if not settings.per_sample:
        return _named(settings.function(fields))
    count = len(next(iter(fields.values())))
    samples = [{name: values[i] for name, values in fields.items()} for i in range(count)]
    done = [_named(settings.function(sample)) for sample in samples]
    return {name: _together([np.asarray(sample[name]) for sample in done], pool) for name in done[0]}


def _named(result: Mapping[str, Any]) -> dict[str, Any]:
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
