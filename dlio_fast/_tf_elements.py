"""The elements of one iteration over a TensorFlow data set, and which samples they stand for."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from operator import itemgetter
from typing import TYPE_CHECKING

from ._tf_layout import Layout
from ._typing import Array
from .errors import StateError
from .pipeline.state import Progress, State, make_state

if TYPE_CHECKING:
    from .tensorflow import DlioTensorFlowDataset

HELD = 4
"""Batches that are out of the ring's hands beside those that tf.data takes ahead: the consumer's latest two,
one on its way, and one that TensorFlow gives back only when it gets the next."""


class Elements(Iterator[list[Array]]):
    """Batches, or samples, as lists of arrays that TensorFlow can take.

    Parameters
    ----------
    dataset : DlioTensorFlowDataset
    passes : int
        How many epochs; -1 for ever.
    ahead : bool
        Whether tf.data takes them ahead of the consumer.
    """

    def __init__(self, dataset: DlioTensorFlowDataset, passes: int = 1, *, ahead: bool = False):
        self._dataset = dataset
        self._left = passes if passes >= 0 else math.inf
        self._samples: deque[list[Array]] = deque()
        self.history = History(dataset.options["ragged"] == "sample", ahead)
        self._begin()

    def _begin(self) -> None:
        loader = self._dataset.loader
        self._batches = iter(loader)
        self._pass = self.history.begin(self._batches.progress)
        self._left -= 1
        if self.history.ahead and len(self._batches.progress.sampler):
            held = HELD + max(0, self._dataset.options["prefetch_buffer_size"])
            loader.resources()[1].set_keep(loader.prefetch_bytes + held * loader.batch_bytes)

    def __next__(self) -> list[Array]:
        while True:
            try:
                element = self._next(self._dataset.layout)
            except StopIteration:
                if self._left < 1 or self._pass.is_empty:
                    raise
                self._begin()
            else:
                self._pass.count += 1
                return element

    def _next(self, layout: Layout) -> list[Array]:
        if self._samples:
            return self._samples.popleft()
        fields = next(self._batches)
        count, done = self._pass.count, self._batches.progress.delivered * self._dataset.loader.batch_size
        if not self.history.per_sample:
            self._pass.note(count + 1, done)
            return layout.batch(fields)
        self._samples.extend(layout.samples(fields))
        self._pass.note(count + 1, done - self._dataset.loader.batch_size + 1)
        self._pass.note(count + len(self._samples), min(done, len(self._batches.progress.sampler)))
        return self._samples.popleft()

    def close(self) -> None:
        """End the pass."""
        self._batches.close()


class History:
    """What the elements of one iteration were; outlives it, and holds no data.

    Attributes
    ----------
    per_sample : bool
        An element is a sample, not a batch.
    ahead : bool
        The consumer may have got less than was handed over.
    """

    def __init__(self, per_sample: bool, ahead: bool):
        self.per_sample, self.ahead = per_sample, ahead
        self._passes: list[Pass] = []

    def begin(self, progress: Progress) -> Pass:
        """Note a pass."""
        self._passes.append(Pass(progress, 1 if self.per_sample else progress.batch_size))
        return self._passes[-1]

    @property
    def finished(self) -> bool:
        """The consumer was told that there is no more."""
        return self._passes[-1].progress.finished

    def state(self, elements: int | None) -> State:
        """Return the state after that many elements; None: after all that were handed over."""
        total = sum(one.count for one in self._passes)
        rest = total if elements is None else elements
        if not 0 <= rest <= total:
            what = "samples" if self.per_sample else "batches"
            raise StateError(
                f"{elements} {what} cannot have come: {total} were handed over since the beginning"
            )
        passes = iter(self._passes)
        one = next(passes)
        while rest > one.count:
            rest -= one.count
            one = next(passes)
        progress, samples = one.progress, one.samples(rest)
        if self.ahead and (samples >= len(progress.sampler) or (progress.finished and rest == one.count)):
            # The consumer counts what it got, and need not be told of the end to know of it.
            return make_state(progress.sampler, progress.epoch + 1, 0, progress.batch_size)
        position = progress.position(samples=samples)
        return make_state(progress.sampler, progress.epoch, position, progress.batch_size)


class Pass:
    """How many samples of a pass are done with after how many elements.

    Those that were left out, or could not be read, count with the element after them.

    Parameters
    ----------
    progress : Progress
    unit : int
        Samples an element, as a rule.
    """

    def __init__(self, progress: Progress, unit: int):
        self.progress = progress
        self.count = 0
        self._unit = unit
        self._marks = [(0, 0)]  # elements and samples, where they do not follow from those before

    @property
    def is_empty(self) -> bool:
        """An epoch from its beginning that has nothing."""
        return not (self.count or self.progress.sampler.start)

    def note(self, count: int, samples: int) -> None:
        """Note that `count` elements stand for that many samples."""
        if self.samples(count) != samples:
            self._marks.append((count, samples))

    def samples(self, count: int) -> int:
        """Return how many samples are done with after `count` elements."""
        marked, samples = self._marks[bisect_right(self._marks, count, key=itemgetter(0)) - 1]
        return samples + (count - marked) * self._unit
