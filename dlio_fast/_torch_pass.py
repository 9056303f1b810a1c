"""One pass over a PyTorch data set: whole, or a worker's share of it; saved and restored by torchdata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.data import get_worker_info

from .errors import StateError
from .pipeline.passes import BatchIterator

if TYPE_CHECKING:
    from .torch import DlioPyTorchDataset

FORMAT, VERSION = "dlio_fast.torch pass", 1


class Delivered:
    """Samples that the consumer has got of a pass that delivers single ones; None: it delivers batches."""

    samples: int | None = None


class Batches(Iterator[Any]):
    """The batches of a pass, packed as the data set says; stateful as torchdata defines it.

    In a worker reading begins with the first batch that is asked for: by then a state may have been
    restored.
    """

    def __init__(self, dataset: DlioPyTorchDataset, at: tuple[int, int] | None = None):
        worker = get_worker_info()
        self._dataset = dataset
        self._worker = None if worker is None else (worker.id, worker.num_workers)
        self.epoch, self.start = dataset.epochs.take(worker, at)
        self._done = 0  # batches of the worker's share before those of the iterator
        self._iterator: BatchIterator | None = None
        self.delivered = Delivered()
        if worker is None:
            self._open()

    def _open(self) -> BatchIterator:
        if self._iterator is None:
            first, step = self._worker or (0, 1)
            loader = self._dataset.loader
            loader.begin_at(self.epoch, self.start)
            self._iterator = loader.batches_from(first + self._done * step, step)
        return self._iterator

    def _fields(self) -> list[Any]:
        """The fields of the next batch, as tensors."""
        return self._dataset.converted(next(self._open()))

    def __next__(self) -> Any:
        return self._dataset.pack(self._fields())

    def state_dict(self) -> dict[str, Any]:
        """What has been delivered, of a worker's share as batches and samples of the batch after these."""
        state = {"format": FORMAT, "version": VERSION, "epoch": self.epoch, "worker": self._worker}
        progress = None if self._iterator is None else self._iterator.progress
        if self._worker is None and progress is not None:
            start = progress.position(samples=self.delivered.samples)
            return {**state, "start": start, "batches": 0, "samples": 0}
        batches = self._done + (progress.delivered if progress else 0)
        over = self._of_batch()
        return {**state, "start": self.start, "batches": batches - bool(over), "samples": over}

    def _of_batch(self) -> int:
        return 0

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a pass, or of a share like this one."""
        if state.get("format") != FORMAT or state.get("version") != VERSION:
            raise StateError("this is no state of a pass over a dlio_fast data set for PyTorch")
        theirs, ours = state["worker"] and tuple(state["worker"]), self._worker
        if theirs != ours:
            raise StateError(
                "the number of workers must be that of the state: it is of "
                + (f"worker {theirs[0]} of {theirs[1]}" if theirs else "a process without workers")
            )
        place = state["epoch"], state["start"], state["batches"]
        if place != (self.epoch, self.start, self._done):
            self.epoch, self.start, self._done = place
            self._iterator = None
        if self._worker is None:
            self._open()
            self._dataset.epochs.set(self.epoch + 1)


class Samples(Batches):
    """The samples of the batches, one by one."""

    def __init__(self, dataset: DlioPyTorchDataset, at: tuple[int, int] | None = None):
        super().__init__(dataset, at)
        self.delivered.samples = 0
        self._rest: Iterator[tuple[Any, ...]] = iter(())
        self._taken = self._size = 0  # samples delivered of the batch at hand, and what it has

    def __next__(self) -> Any:
        while True:
            for values in self._rest:
                self._taken += 1
                batches = self._open().progress.delivered
                self.delivered.samples = (batches - 1) * self._dataset.loader.batch_size + self._taken
                return self._dataset.pack(values)
            fields = self._fields()
            self._taken, self._size = 0, len(fields[0])
            self._rest = zip(*map(unbound, fields), strict=True)

    def _of_batch(self) -> int:
        return self._taken if self._taken < self._size else 0

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._rest, self._taken, self._size, self.delivered.samples = iter(()), 0, 0, 0
        for _ in range(state["samples"]):
            next(self)


def unbound(values: Any) -> Any:
    """The samples of a field."""
    return values.unbind() if isinstance(values, Tensor) else values
