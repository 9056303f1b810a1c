"""One pass over a PyTorch data set: whole, or a worker's share of it; saved and restored by torchdata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.data import get_worker_info

from ._torch_errors import arrive_whole
from .errors import DataError, DlioFastOSError, StateError
from .pipeline.passes import BatchIterator

if TYPE_CHECKING:
    from .torch import DlioPyTorchDataset

FORMAT, VERSION = "dlio_fast.torch pass", 1


class Delivered:
    """What the consumer has got of a pass; apart from the pass, which must end when its iterator is dropped.

    All figures are of a pass that delivers single samples, and zero for one that delivers batches.
    """

    def __init__(self) -> None:
        self.before = 0  # samples that the batches before the one at hand were asked for
        self.asked = 0  # samples that the batch at hand was asked for
        self.places: Sequence[int] = ()  # where among these those lie that it has
        self.size = 0  # samples that it came to
        self.taken = 0

    @property
    def within(self) -> bool:
        """Whether a batch is in the middle of its delivery."""
        return self.taken < self.size

    def samples(self) -> int | None:
        """What was delivered, counted in samples that were asked for; None: whole batches."""
        if not self.within:
            return None
        if self.size != len(self.places):
            raise StateError(
                "the transform has made another number of samples of the batch at hand, so no position is "
                "between them: save the state after its last one, or iterate over batches()"
            )
        return self.before + self.places[self.taken]


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
            at = self.epoch, self.start
            self._iterator = loader.batches_from(first + self._done * step, step, at)
        return self._iterator

    @arrive_whole
    def _fields(self) -> list[Any]:
        """The fields of the next batch, as tensors."""
        return self._dataset.converted(next(self._open()))

    def __next__(self) -> Any:
        return self._dataset.pack(self._fields())

    def state_dict(self) -> dict[str, Any]:
        """What has been delivered, as whole batches and samples of the batch after these."""
        progress = self._iterator and self._iterator.progress
        taken = self.delivered.taken if self.delivered.within else 0
        batches = (progress.delivered if progress else 0) - bool(taken)
        state = {"format": FORMAT, "version": VERSION, "epoch": self.epoch, "samples": taken}
        if self._worker is None:
            start = progress.position(batches) if progress else self.start
            return {**state, "worker": None, "start": start, "batches": 0}
        share = {"worker": list(self._worker), **self._sizes()}
        return {**state, **share, "start": self.start, "batches": self._done + batches}

    def _sizes(self) -> dict[str, int]:
        """What the batches of a worker's share depend on."""
        loader = self._dataset.loader
        return {"batch_size": loader.batch_size, "world_size": loader.world_size}

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
        for name, value in self._sizes().items() if ours else ():
            if state[name] != value:
                raise StateError(
                    f"the state was saved with {name} {state[name]}, not {value}: in the middle of an epoch "
                    f"that can change only with num_workers=0"
                )
        self.epoch, self.start, self._done = state["epoch"], state["start"], state["batches"]
        self._iterator = None
        if ours is None:
            self._open()
            self._dataset.epochs.set(self.epoch + 1)


class Samples(Batches):
    """The samples of the batches, one by one."""

    _rest: Iterator[tuple[Any, ...]] = iter(())

    def __next__(self) -> Any:
        while True:
            for values in self._rest:
                self.delivered.taken += 1
                return self._dataset.pack(values)
            fields = self._fields()
            self._rest = zip(*map(unbound, fields), strict=True)
            self._begin_batch(len(fields[0]))

    def _begin_batch(self, size: int) -> None:
        iterator, batch_size = self._open(), self._dataset.loader.batch_size
        number = iterator.progress.delivered
        now = self.delivered
        now.before = (number - 1) * batch_size
        now.asked = min(batch_size, len(iterator.progress.sampler) - now.before)
        now.places = iterator.places(number) or range(now.asked)
        now.size, now.taken = size, 0

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As of batches; reads the batch that was being delivered again."""
        super().load_state_dict(state)
        self._rest, self.delivered.size, self.delivered.taken = iter(()), 0, 0
        left = state["samples"]
        while left:
            try:
                next(self)
                left -= 1
            except (DataError, DlioFastOSError):
                pass  # was raised before the first sample of its batch, and so before the state was saved
            except StopIteration:
                raise StateError(
                    "the state is of more samples than there are; did the data change?"
                ) from None


def unbound(values: Any) -> Any:
    """The samples of a field."""
    return values.unbind() if isinstance(values, Tensor) else values
