"""JAX: a data set's batches as numpy arrays, or as jax.Arrays over the memory that the files were read into.

>>> ds = DlioJaxDataset("unet3d_h100", data_folder="direct:///data/unet3d")  # doctest: +SKIP
>>> for batch in ds.device_iter(): ...                                       # doctest: +SKIP

Importing this, and constructing a data set, leaves JAX's backends alone: ``jax.distributed.initialize``
and ``jax.config`` may still follow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from ._typing import Fields
from ._wrapper import Wrapper
from .config import Config
from .errors import MissingDependencyError
from .pipeline.state import State

try:
    import jax
except ImportError as error:
    raise MissingDependencyError("dlio_fast.jax needs JAX: pip install dlio-fast[jax]") from error
from ._device_iter import Delivered, DeviceIterator, Shardings, native

__all__ = ["DlioDataSource", "DlioJaxDataset", "JaxIterable", "create_jax_iterable"]

PREFETCH = 2
"""Transfers to a device that are under way while the consumer works."""

Source: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Config


class DlioJaxDataset(Wrapper):
    """The batches of a DLIO configuration, as numpy arrays; :meth:`device_iter` has them as jax.Arrays.

    Constructing one validates everything and touches neither storage nor JAX's backends; the first
    ``len()`` or iteration lists the files.

    Parameters
    ----------
    config_path : str, path, mapping or Config, optional
        As :func:`dlio_fast.load_config` takes it.
    config_dict : mapping, optional
        The same, instead of `config_path`.
    data_folder : str or path-like, optional
        Instead of the configuration's; one of the two is required.
    jax_config : mapping, optional
        Options, as a configuration's section `jax_config` has them. A keyword argument wins over this,
        this over the section, the section over ``framework_profiles.jax``, that over `reader` and `train`.
    **options
        batch_size, shuffle, shuffle_window, seed, drop_last, pad, shard_strategy, rank, world_size, shard,
        threads, prefetch_bytes, verify, on_error, transform, transform_per and transform_threads as
        :class:`dlio_fast.Loader` has them;
        fields: the arrays that make up a batch, one for the bare array (the default, `x`), several for a
        dict;
        return_labels: (payload, label) pairs;
        split: "train" or "valid";
        storage_options, cache_dir, cache_dir_bytes: as :class:`dlio_fast.Dataset` has them;
        writable: False marks the numpy arrays read-only (default True: they are the caller's);
        prefetch_buffer_size: the default of :meth:`device_iter`'s `prefetch`.

    Yields
    ------
    numpy.ndarray, tuple or dict
        One batch: arrays of shape (B, *sample shape) in native byte order, aligned to 64 bytes, or lists
        of B arrays where samples differ in shape.

    Raises
    ------
    ConfigError
        No data folder, or an option of a wrong type or value.
    TypeError
        An unknown option; names the nearest.

    Notes
    -----
    One pass is an epoch; each pass goes on to the next one unless :meth:`set_epoch` says otherwise. An
    exception comes at the batch that it belongs to; going on after it delivers the rest. Whatever is
    under way, :meth:`state_dict` is exact: a data set that has loaded it goes on with the next batch.
    """

    framework = "jax"

    def __init__(
        self,
        config_path: Source | None = None,
        config_dict: Mapping[str, Any] | Config | None = None,
        data_folder: str | os.PathLike[str] | None = None,
        jax_config: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(config_path, config_dict, data_folder, jax_config, options)
        self.options.setdefault("writable", True)
        if self.options.get("prefetch_buffer_size", -1) < 0:  # -1: as is best
            self.options["prefetch_buffer_size"] = PREFETCH
        self._delivered: Delivered | None = None  # of the latest pass, where device_iter makes it

    @property
    def jax_config(self) -> dict[str, Any]:
        """The options in force."""
        return self.options

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch; see :meth:`dlio_fast.Loader.set_epoch`."""
        super().set_epoch(epoch)
        self._delivered = None

    def state_dict(self, batches: int | None = None) -> State:
        """Return from where a later process is to go on; see :meth:`dlio_fast.Loader.state_dict`."""
        if batches is None and self._delivered is not None:
            batches = self._delivered.batches
        return super().state_dict(batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next pass go on from a state; see :meth:`dlio_fast.Loader.load_state_dict`."""
        super().load_state_dict(state)
        self._delivered = None

    def __len__(self) -> int:
        """Batches an epoch on this rank."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        batches = map(self._arrays, iter(self.loader))
        self._delivered = None
        return batches

    def create_iterable(self) -> DlioJaxDataset:
        """Return the data set itself, to be iterated over again and again: the seed system's name."""
        return self

    def device_iter(self, sharding: Shardings = None, prefetch: int | None = None) -> DeviceIterator:
        """Begin a pass whose batches are made of jax.Arrays instead.

        Parameters
        ----------
        sharding : Sharding, or a mapping of fields to such, optional
            Which devices the arrays go to; default JAX's default device. Over several processes each batch
            is put together of those of all of them.
        prefetch : int, optional
            Transfers that are under way ahead of the consumer; default the option `prefetch_buffer_size`,
            else 2. On the CPU without a sharding there are none: the arrays lie where the files were read
            to.

        Raises
        ------
        ConfigError
            At a batch that cannot be split over the sharding; at once, where processes would have
            batches of different lengths.
        UnsupportedError
            At a batch with a dtype that JAX lacks; names the field.

        Notes
        -----
        JAX has 64-bit numbers only with ``jax_enable_x64``; without it they become 32-bit ones, as in
        ``jnp.asarray``: labels of int64 become int32.
        """
        depth = self.options["prefetch_buffer_size"] if prefetch is None else prefetch
        if depth < 0:
            raise ValueError(f"prefetch {depth} must not be negative")
        if sharding is None and jax.default_backend() == "cpu":
            depth = 0
        batches = DeviceIterator(self, sharding, depth)
        self._delivered = batches.delivered
        return batches

    def data_source(self) -> DlioDataSource:
        """Return the samples of all ranks for Grain, which shuffles, shares out and batches them itself."""
        return DlioDataSource(self)

    def _arrays(self, batch: Fields) -> Any:
        values = [native(batch[name]) for name in self.names]
        if not self.options["writable"]:
            for value in values:
                for array in value if isinstance(value, list) else [value]:
                    array.flags.writeable = False
        return self.pack(values)


class JaxIterable(DlioJaxDataset):
    """The files of an address, without a configuration; constructed as s3dlio's class of that name.

    Parameters
    ----------
    uri : str or path-like
        A folder, laid out as DLIO does.
    loader_opts : mapping, optional
        Options, as :class:`DlioJaxDataset` and :meth:`from_prefix` have them.
    transform, writable, **options
        As :class:`DlioJaxDataset` has them.
    """

    def __init__(
        self, uri: str | os.PathLike[str], *, loader_opts: Mapping[str, Any] | None = None, **options: Any
    ):
        given = {**(loader_opts or {}), **options}
        for name in _OWN_TUNING:
            given.pop(name, None)
        given["threads"] = given.pop("num_workers", 0) or given.get("threads")
        super().__init__(data_folder=uri, **given)

    @classmethod
    def from_prefix(cls, uri: str | os.PathLike[str], **options: Any) -> JaxIterable:
        """Load the files of a folder.

        Parameters
        ----------
        uri : str or path-like
        num_workers : int
            Threads; 0, the default: as many as are right.
        prefetch, auto_tune, reader_mode, part_size, max_inflight_parts
            Have no effect: `prefetch_bytes` bounds what is read ahead.
        batch_size, drop_last, shuffle, seed, transform, writable, **options
            As :class:`DlioJaxDataset` has them.
        """
        return cls(uri, **options)


_OWN_TUNING = ("prefetch", "auto_tune", "reader_mode", "part_size", "max_inflight_parts")
"""Options of s3dlio's that the library finds out for itself."""


def create_jax_iterable(config_path: Source, **options: Any) -> DlioJaxDataset:
    """Return ``DlioJaxDataset(config_path, **options)``."""
    return DlioJaxDataset(config_path, **options)


class DlioDataSource:
    """Single samples on demand, as a random-access data source of Grain's.

    Picklable, so that Grain's worker processes get it; each opens files for itself. Made by
    :meth:`DlioJaxDataset.data_source`; what that yields a batch of, this yields one of.
    """

    def __init__(self, dataset: DlioJaxDataset):
        self._source = dataset

    def __len__(self) -> int:
        return len(self._source.dataset)

    def __getitem__(self, index: int) -> Any:
        return self._getitems([index])[0]

    def _getitems(self, indices: Sequence[int]) -> list[Any]:
        """Several samples, read together: Grain's name for it."""
        pack, names = self._source.pack, self._source.names
        samples = self._source.dataset.__getitems__(indices)
        return [pack([native(sample[name]) for name in names]) for sample in samples]

    def __repr__(self) -> str:
        """What Grain compares when it restores a checkpoint: alike where the data are."""
        fields = ", ".join(self._source.names)
        return f"<DlioDataSource {self._source.data_folder}: {len(self)} samples of {fields}>"
