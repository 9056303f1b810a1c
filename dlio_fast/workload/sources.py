"""Where a run's batches come from: the loader of each framework, behind one small interface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from ..config import Config
from ..pipeline import Dataset, Loader

FRAMEWORKS = ("pytorch", "none")
"""What a run can train with."""

SPLITS = {"train": "train", "eval": "valid"}


class Source(Protocol):
    """Batches of one split, epoch by epoch."""

    batch_size: int

    @property
    def dataset(self) -> Dataset:
        """What is read."""
        ...

    def __len__(self) -> int:
        """Batches an epoch."""
        ...

    def epoch(self, epoch: int) -> Iterator[Any]:
        """Begin a pass, counted from 0; dropping the iterator ends it."""
        ...

    def samples_in(self, batch: Any) -> int:
        """How many samples a batch holds."""
        ...

    def stats(self) -> dict[str, Any]:
        """Settings in force and counters so far, as :meth:`dlio_fast.Loader.stats` gives them."""
        ...

    def close(self) -> None:
        """Stop reading."""
        ...


def open_source(cfg: Config, kind: str, **options: Any) -> Source:
    """Make the source of a run's "train" or "eval" batches. Touches no storage.

    Options are the :class:`dlio_fast.Loader`'s ``threads``, ``prefetch_bytes`` and ``verify``; None: default.
    """
    given = {name: value for name, value in options.items() if value is not None}
    if kind == "eval":
        given["batch_size"] = cfg.reader.batch_size_eval
    return _SOURCES[cfg.framework](cfg, SPLITS[kind], given)


class LoaderSource:
    """The bare loader: framework none."""

    def __init__(self, cfg: Config, split: str, options: dict[str, Any]):
        self._loader = Loader(Dataset(cfg, split), **options)
        self.batch_size = self._loader.batch_size

    @property
    def dataset(self) -> Dataset:
        return self._loader.dataset

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, epoch: int) -> Iterator[dict[str, Any]]:
        self._loader.set_epoch(epoch)
        return iter(self._loader)

    def samples_in(self, batch: dict[str, Any]) -> int:
        return len(next(iter(batch.values())))

    def stats(self) -> dict[str, Any]:
        return self._loader.stats()

    def close(self) -> None:
        self._loader.close()


class PyTorchSource:
    """:class:`dlio_fast.torch.DlioPyTorchDataLoader` without workers, whose reading could not be counted."""

    def __init__(self, cfg: Config, split: str, options: dict[str, Any]):
        from ..torch import create_pytorch_dataloader

        self._loader = create_pytorch_dataloader(cfg, split=split, num_workers=0, **options)
        self.batch_size = self._loader.source.options["batch_size"]

    @property
    def dataset(self) -> Dataset:
        return self._loader.source.dataset

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, epoch: int) -> Iterator[Any]:
        self._loader.set_epoch(epoch)
        return iter(self._loader)

    def samples_in(self, batch: Any) -> int:
        return len(next(iter(batch.values())) if isinstance(batch, dict) else batch)

    def stats(self) -> dict[str, Any]:
        return self._loader.source.stats()

    def close(self) -> None:
        self._loader.source.close()


_SOURCES: dict[str, type[PyTorchSource] | type[LoaderSource]] = {
    "pytorch": PyTorchSource,
    "none": LoaderSource,
}
