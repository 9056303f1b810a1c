"""The passes over one loader: those that are running, and what is left of those that have ended."""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any

from .._log import log_fallbacks

if TYPE_CHECKING:
    from .passes import BatchIterator
    from .transform import TransformAhead


class Passes:
    """Knows a loader's passes without keeping them alive, and sums up their counters.

    Passes may end in any thread, and by the collector's hand, which can take no lock: what is kept here is
    changed in single steps.
    """

    def __init__(self) -> None:
        self._running: dict[int, weakref.ref[BatchIterator]] = {}
        self._ending: list[TransformAhead] = []  # of passes that were dropped
        self._past: list[Counter[Any]] = []
        self._last_ring: dict[str, Any] = {}

    def add(self, iterator: BatchIterator) -> None:
        """Take in a pass that has begun. One thread at a time."""
        self._running[id(iterator)] = weakref.ref(iterator)
        past = list(self._past)
        self._past[: len(past)] = [sum(past, Counter())]

    def retire(self, iterator: BatchIterator, ahead: TransformAhead | None) -> None:
        """Take over the counters of a pass that has ended, and what is still ending of it."""
        if ahead is not None and ahead.running:
            self._ending.append(ahead)
        if self._running.pop(id(iterator), None) is None:
            return
        counts: Counter[Any] = Counter()
        ring = iterator.add_to(counts)
        self._past.append(counts)
        self._last_ring = ring or self._last_ring
        log_fallbacks(ring)

    def _alive(self) -> list[BatchIterator]:
        return [iterator for ref in list(self._running.values()) if (iterator := ref()) is not None]

    def close(self) -> None:
        """End those that are running."""
        for iterator in self._alive():
            iterator.close()
        self.await_ending()

    def await_ending(self) -> None:
        """Wait for the transforms of passes that were dropped."""
        for ahead in list(self._ending):
            ahead.join()
            with contextlib.suppress(ValueError):  # another thread was faster
                self._ending.remove(ahead)

    def counts(self) -> tuple[Counter[Any], dict[str, Any]]:
        """Return the counters of all passes, and the latest ring's own figures."""
        counts: Counter[Any] = Counter()
        for past in list(self._past):
            counts.update(past)
        ring = dict(self._last_ring)
        for iterator in self._alive():
            ring = iterator.add_to(counts) or ring
        return counts, ring

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": {}, "_ending": []}

    def forget(self) -> None:
        """In a forked child: they are the parent's."""
        self._running, self._ending = {}, []
