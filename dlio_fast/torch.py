"""PyTorch: data sets whose tensors share the memory that the files were read into.

>>> ds = DlioPyTorchDataset("unet3d_h100", data_folder="direct:///data/unet3d")  # doctest: +SKIP
>>> for batch in DataLoader(ds.batches(), batch_size=None): ...                   # doctest: +SKIP

The library reads ahead on threads of its own, so a DataLoader needs no workers; with workers it
delivers the same samples.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ._wrapper import Wrapper
from .config import Config
from .errors import DlioFastError, MissingDependencyError

try:
    import torch
except ImportError as error:
    raise MissingDependencyError("dlio_fast.torch needs PyTorch: pip install dlio-fast[torch]") from error
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ._epochs import SharedEpoch
from ._tensors import collate, tensors

__all__ = [
    "DlioDataLoaderError",
    "DlioPyTorchDataLoader",
    "DlioPyTorchDataset",
    "collate",
    "create_pytorch_dataloader",
    "create_pytorch_dataset",
]

DlioDataLoaderError = DlioFastError
"""The seed system's name for the base of all errors."""

Source = str | os.PathLike[str] | Mapping[str, Any] | Config


class DlioPyTorchDataset(Wrapper, IterableDataset):
    """The samples of a DLIO configuration, as tensors; :meth:`batches` has them in ready-made batches.

    Constructing one validates everything and touches no storage; the first ``len()`` or iteration lists
    the files. Safe to hand to a DataLoader with any number of workers: over all of them every sample
    comes once an epoch. Each worker has threads and a byte budget of its own.

    Parameters
    ----------
    config_path : str, path, mapping or Config, optional
        As :func:`dlio_fast.load_config` takes it.
    config_dict : mapping, optional
        The same, instead of `config_path`.
    data_folder : str or path-like, optional
        Instead of the configuration's; one of the two is required.
    pytorch_config : mapping, optional
        Options, as a configuration's section `pytorch_config` has them. A keyword argument wins over
        this, this over the section, the section over ``framework_profiles.pytorch``, that over `reader`
        and `train`.
    **options
        batch_size, shuffle, seed, drop_last, rank, world_size, threads, prefetch_bytes, verify and
        on_error as :class:`dlio_fast.Loader` has them, rank and world_size by default from
        torch.distributed where that is initialised;
        fields: the arrays that make up a sample, one for the bare tensor (the default, `x`), several for
        a dict;
        return_labels: (payload, label) pairs;
        return_type: "tensor", or "bytes" or "reader" for a sample's memory as bytes or a binary file;
        split: "train" or "valid";
        num_workers (default 0), pin_memory (where there is a GPU), prefetch_factor, persistent_workers:
        for :class:`DlioPyTorchDataLoader`.

    Yields
    ------
    torch.Tensor, tuple or dict
        One sample of the shape that the files give. Writable, and the caller's to keep.

    Raises
    ------
    ConfigError
        No data folder, or an option of a wrong type or value.
    TypeError
        An unknown option; names the nearest.

    Notes
    -----
    One pass is an epoch; each pass goes on to the next one unless :meth:`set_epoch` says otherwise.
    Workers of one pass agree on its epoch by the base seed that the DataLoader draws for them.
    """

    framework = "pytorch"

    def __init__(
        self,
        config_path: Source | None = None,
        config_dict: Mapping[str, Any] | Config | None = None,
        data_folder: str | os.PathLike[str] | None = None,
        pytorch_config: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
            options = {"rank": rank, "world_size": world_size, **options}
        Wrapper.__init__(self, config_path, config_dict, data_folder, pytorch_config, options)
        for name, default in (("num_workers", 0), ("return_type", "tensor"), ("pin_memory", None)):
            self.options.setdefault(name, default)
        if self.options["pin_memory"] is None:
            self.options["pin_memory"] = self.config.reader.pin_memory and torch.cuda.is_available()
        self._epochs = SharedEpoch()

    @property
    def pytorch_config(self) -> dict[str, Any]:
        """The options in force."""
        return self.options

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch, in the workers of DataLoaders too."""
        self._epochs.set(epoch)

    def batches(self) -> DlioPyTorchBatches:
        """The same samples in ready-made batches, for ``DataLoader(ds.batches(), batch_size=None)``."""
        return DlioPyTorchBatches(self)

    def __iter__(self) -> Iterator[Any]:
        return _Samples(self._passes(), self._pack)

    def _passes(self) -> Iterator[list]:
        """Begin a pass, or a worker's share of one: for each batch, its fields."""
        worker = get_worker_info()
        len(self)  # lists the files: a pass that cannot begin does not count
        self._loader.set_epoch(self._epochs.take(worker))
        first, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        return map(self._converted, self._loader.batches_from(first, step))

    def _converted(self, batch: Mapping[str, Any]) -> list:
        if self.options["return_type"] == "tensor":
            return [tensors(name, batch[name]) for name in self._names]
        wrap = bytes if self.options["return_type"] == "bytes" else io.BytesIO
        return [[wrap(sample.tobytes()) for sample in batch[name]] for name in self._names]

    def _pack(self, values: Sequence[Any]) -> Any:
        if self._kind == "bare":
            return values[0]
        return tuple(values) if self._kind == "pair" else dict(zip(self._names, values, strict=True))


class DlioPyTorchBatches(IterableDataset):
    """The batches of a :class:`DlioPyTorchDataset`; made by its method `batches`.

    Yields what the data set yields, with tensors of shape (B, *sample shape), or lists of B tensors
    where samples differ in shape. Worker w of W delivers batches w, w + W, ..., so that a DataLoader
    yields the same batches in the same order for any number of workers.
    """

    def __init__(self, dataset: DlioPyTorchDataset):
        self.dataset = dataset

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch."""
        self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.dataset._loader)

    def __iter__(self) -> Iterator[Any]:
        return map(self.dataset._pack, self.dataset._passes())


class _Samples(Iterator):
    """The samples of batches, one by one."""

    def __init__(self, batches: Iterator[list], pack):
        self._batches, self._pack = batches, pack
        self._rest: Iterator = iter(())

    def __next__(self) -> Any:
        while True:
            for values in self._rest:
                return self._pack(values)
            batch = next(self._batches)
            self._rest = zip(*(v.unbind() if isinstance(v, torch.Tensor) else v for v in batch), strict=True)


class DlioPyTorchDataLoader(DataLoader):
    """A DataLoader over the ready-made batches of a :class:`DlioPyTorchDataset`, which is its `source`."""

    @classmethod
    def from_config(
        cls,
        config_path: Source,
        pytorch_config: Mapping[str, Any] | None = None,
        dataloader_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> DlioPyTorchDataLoader:
        """Load what a DLIO configuration says.

        Parameters
        ----------
        config_path, pytorch_config, **options
            As :class:`DlioPyTorchDataset` has them.
        dataloader_kwargs : mapping, optional
            Arguments of torch's DataLoader; what is an option of the data set, too, counts as that.
        """
        extra = {**(dataloader_kwargs or {}), **options}
        loading = {name: extra.pop(name) for name in _DATALOADER_ONLY if name in extra}
        source = DlioPyTorchDataset(config_path, pytorch_config=pytorch_config, **extra)
        workers = {}
        if source.options["num_workers"]:
            names = ("prefetch_factor", "persistent_workers")
            workers = {name: source.options[name] for name in names if name in source.options}
            if source.config.is_set("reader.multiprocessing_context"):
                workers["multiprocessing_context"] = source.config.reader.multiprocessing_context
        given = {name: source.options[name] for name in ("num_workers", "pin_memory")}
        return cls(source.batches(), batch_size=None, **{**given, **workers, **loading})

    @classmethod
    def from_uri(
        cls, data_folder: str | os.PathLike[str], batch_size: int = 32, **options: Any
    ) -> DlioPyTorchDataLoader:
        """Load the files of a folder, laid out as DLIO does, without a configuration."""
        return cls.from_config({}, data_folder=data_folder, batch_size=batch_size, **options)

    dataset: DlioPyTorchBatches

    @property
    def source(self) -> DlioPyTorchDataset:
        """The data set."""
        return self.dataset.dataset

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch."""
        self.dataset.set_epoch(epoch)


_DATALOADER_ONLY = (
    "collate_fn",
    "generator",
    "in_order",
    "multiprocessing_context",
    "timeout",
    "worker_init_fn",
)


def create_pytorch_dataset(config_path: Source, **options: Any) -> DlioPyTorchDataset:
    """Return ``DlioPyTorchDataset(config_path, **options)``."""
    return DlioPyTorchDataset(config_path, **options)


def create_pytorch_dataloader(config_path: Source, **options: Any) -> DlioPyTorchDataLoader:
    """Return ``DlioPyTorchDataLoader.from_config(config_path, **options)``."""
    return DlioPyTorchDataLoader.from_config(config_path, **options)
