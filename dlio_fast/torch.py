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
from .errors import DlioFastError, MissingDependencyError, StateError
from .pipeline.batch import SampleList
from .pipeline.state import State
from .pipeline.transform import apply
from .storage.memory import shared_pool

try:
    import torch
except ImportError as error:
    raise MissingDependencyError("dlio_fast.torch needs PyTorch: pip install dlio-fast[torch]") from error
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from ._epochs import SharedEpoch
from ._pinning import cuda_pinning
from ._tensors import collate, tensors
from ._torch_errors import arrive_whole
from ._torch_pass import Batches, Delivered, Samples, unbound

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


class DlioPyTorchDataset(Wrapper, IterableDataset[Any]):
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
        batch_size, shuffle, shuffle_window, seed, drop_last, pad, shard_strategy, rank, world_size, shard,
        threads, prefetch_bytes, verify, on_error, transform, transform_per and transform_threads as
        :class:`dlio_fast.Loader` has them;
        fields: the arrays that make up a sample, one for the bare tensor (the default, `x`), several for
        a dict;
        return_labels: (payload, label) pairs;
        return_type: "tensor", "numpy", or "bytes" or "reader" for a sample's memory as bytes or a binary
        file;
        split: "train" or "valid";
        storage_options, cache_dir, cache_dir_bytes: as :class:`dlio_fast.Dataset` has them;
        pin_memory: page-lock the memory that files are read into, where there is a CUDA device, so that
        ``tensor.to(device, non_blocking=True)`` copies asynchronously from where the data were read; nothing
        changes where there is none, and in worker processes. ``stats()["pool"]`` has the bytes `pinned`;
        num_workers (default 0), prefetch_factor, persistent_workers: for :class:`DlioPyTorchDataLoader`.

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

    :meth:`state_dict` says from where to go on after what this process has iterated over. Of passes in
    worker processes only torchdata's StatefulDataLoader knows what was delivered: save its state.
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
        Wrapper.__init__(self, config_path, config_dict, data_folder, pytorch_config, options)
        for name, default in (("num_workers", 0), ("return_type", "tensor"), ("pin_memory", None)):
            self.options.setdefault(name, default)
        if self.options["pin_memory"] is None:
            self.options["pin_memory"] = self.config.reader.pin_memory and torch.cuda.is_available()
        if self.options["pin_memory"]:
            self.loader.pinning = cuda_pinning
        self.epochs = SharedEpoch()
        self._restored: tuple[int, int] | None = None  # in a worker: where its next pass begins
        self._begun: tuple[int, int] = (0, 0)  # where the latest pass has begun
        self._delivered: Delivered | None = None  # what the latest pass has delivered

    @property
    def pytorch_config(self) -> dict[str, Any]:
        """The options in force."""
        return self.options

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch, in the workers of DataLoaders too.

        Where a state of that very epoch was loaded, its position is kept.
        """
        following, start = self.epochs.next()
        restored = self._delivered is None and following == epoch
        self.epochs.set(epoch, start if restored else 0)
        self._delivered = None

    def state_dict(self, batches: int | None = None) -> State:
        """Return from where a later process is to go on; see :meth:`dlio_fast.Loader.state_dict`.

        Raises
        ------
        StateError
            The latest pass is one of worker processes.
        """
        if get_worker_info() is not None:  # the state of the pass itself says how far it has come
            self.loader.begin_at(*self._begun)
            return self.loader.state_dict()
        if self.epochs.elsewhere:
            raise StateError(
                "the latest pass is made by worker processes, so what was delivered is not known here: use "
                "torchdata.stateful_dataloader.StatefulDataLoader and save its state_dict(), or num_workers=0"
            )
        if self._delivered is None:
            self.loader.begin_at(*self.epochs.next())
            return self.loader.state_dict(batches)
        return self.loader.state_dict(batches, samples=self._delivered.samples() if batches is None else None)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next pass go on from a state; see :meth:`dlio_fast.Loader.load_state_dict`."""
        self.loader.load_state_dict(state)
        at = state["epoch"], state["position"]
        if get_worker_info() is not None:  # each worker restores for itself
            self._restored = at
            return
        self.epochs.set(*at)
        self._delivered = None

    def batches(self) -> DlioPyTorchBatches:
        """The same samples in ready-made batches, for ``DataLoader(ds.batches(), batch_size=None)``."""
        return DlioPyTorchBatches(self)

    def map_style(self) -> DlioPyTorchMapDataset:
        """All samples by index, for the samplers of PyTorch, whoever shares them out."""
        return DlioPyTorchMapDataset(self)

    def __iter__(self) -> Iterator[Any]:
        return self.begin(Samples)

    @arrive_whole
    def begin(self, kind: type[Batches]) -> Iterator[Any]:
        """Begin a pass, or a worker's share of one."""
        len(self)  # lists the files: a pass that cannot begin does not count
        started = kind(self, self._restored)
        self._restored, self._begun = None, (started.epoch, started.start)
        self._delivered = started.delivered
        return started

    def converted(self, batch: Mapping[str, Any]) -> list[Any]:
        """The fields of a batch, as `return_type` says."""
        kind = self.options["return_type"]
        if kind == "tensor":
            return [tensors(name, batch[name]) for name in self.names]
        if kind == "numpy":
            return [batch[name] for name in self.names]
        wrap = bytes if kind == "bytes" else io.BytesIO
        return [[wrap(sample.tobytes()) for sample in batch[name]] for name in self.names]


class DlioPyTorchMapDataset(torch.utils.data.Dataset[Any]):
    """The samples of a :class:`DlioPyTorchDataset` by index; made by its method `map_style`.

    Not shared out over ranks: that is for the sampler (``DistributedSampler``, Accelerate, Lightning). A
    DataLoader fetches a whole batch at once, read together; with ``collate_fn=dlio_fast.torch.collate``
    the batch is the memory that it was read into.
    """

    def __init__(self, dataset: DlioPyTorchDataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    @arrive_whole
    def __getitems__(self, indices: Sequence[int]) -> SampleList:
        """Several samples, read together."""
        if not len(indices):
            return SampleList([], None)
        loader = self.dataset.loader
        whole = self.dataset.dataset.batch(indices, verify=loader.verify)
        if loader.transform is not None:
            whole = apply(loader.transform, whole, shared_pool())
        fields = self.dataset.converted(whole)
        samples = [self.dataset.pack(values) for values in zip(*map(unbound, fields), strict=True)]
        return SampleList(samples, self.dataset.pack(fields))


class DlioPyTorchBatches(IterableDataset[Any]):
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
        return len(self.dataset.loader)

    def __iter__(self) -> Iterator[Any]:
        return self.dataset.begin(Batches)

    def state_dict(self, batches: int | None = None) -> State:
        """As the data set's."""
        return self.dataset.state_dict(batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As the data set's."""
        self.dataset.load_state_dict(state)


class DlioPyTorchDataLoader(DataLoader[Any]):
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
        given = {
            "num_workers": source.options["num_workers"],
            "pin_memory": source.options["pin_memory"] and torch.cuda.is_available(),
        }
        return cls(source.batches(), batch_size=None, **{**given, **workers, **loading})

    @classmethod
    def from_uri(
        cls, data_folder: str | os.PathLike[str], batch_size: int = 32, **options: Any
    ) -> DlioPyTorchDataLoader:
        """Load the files of a folder, laid out as DLIO does, without a configuration."""
        return cls.from_config({}, data_folder=data_folder, batch_size=batch_size, **options)

    @property
    def source(self) -> DlioPyTorchDataset:
        """The data set."""
        batches: Any = self.dataset  # typed by torch, which knows no more than a data set
        source: DlioPyTorchDataset = batches.dataset
        return source

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch."""
        self.source.set_epoch(epoch)

    def state_dict(self) -> State:
        """As the data set's: for loaders without workers."""
        return self.source.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As the data set's."""
        self.source.load_state_dict(state)


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
