"""TensorFlow: data sets whose tensors share the memory that the files were read into.

>>> ds = DlioTensorFlowDataset("unet3d_h100", data_folder="direct:///data/unet3d")  # doctest: +SKIP
>>> model.fit(ds.create_dataset(), epochs=5)                                         # doctest: +SKIP

The library reads ahead on threads of its own: a ``tf.data`` pipeline needs no parallel calls to be fed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from ._wrapper import Wrapper
from .config import Config
from .errors import ConfigError, DlioFastError, MissingDependencyError, StateError
from .pipeline.state import State

try:
    import tensorflow as tf
except ImportError as error:
    raise MissingDependencyError(
        "dlio_fast.tensorflow needs TensorFlow: pip install dlio-fast[tensorflow]"
    ) from error

from ._tf_elements import Elements, History
from ._tf_errors import tf_error
from ._tf_layout import Layout
from ._tf_source import dataset_over

__all__ = [
    "DlioTensorFlowDataset",
    "DlioTensorFlowError",
    "create_tensorflow_dataset",
    "create_tensorflow_dataset_from_uri",
    "make_tf_dataset",
]

DlioTensorFlowError = DlioFastError
"""The seed system's name for the base of all errors."""

Source: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Config

PREFETCH = 2
"""Elements that tf.data takes ahead of the consumer: enough to hide the way through it."""

DROP = ("drop_last", "drop_remainder")


class DlioTensorFlowDataset(Wrapper):
    """The batches of a DLIO configuration, for TensorFlow.

    :meth:`create_dataset` makes a ``tf.data.Dataset`` of them, for ``model.fit`` and for further steps.
    Iterating over this object itself yields the same batches as eager tensors, without tf.data in between.

    Constructing one validates everything and touches no storage; the first ``len()``, iteration or
    :meth:`create_dataset` lists the files.

    Parameters
    ----------
    config_path : str, path, mapping or Config, optional
        As :func:`dlio_fast.load_config` takes it.
    config_dict : mapping, optional
        The same, instead of `config_path`.
    data_folder : str or path-like, optional
        Instead of the configuration's; one of the two is required.
    tensorflow_config : mapping, optional
        Options, as a configuration's section `tensorflow_config` has them. A keyword argument wins over
        this, this over the section, the section over ``framework_profiles.tensorflow``, that over
        `reader` and `train`.
    **options
        batch_size, shuffle, shuffle_window, seed, drop_last, pad, shard_strategy, rank, world_size, shard,
        threads, prefetch_bytes, verify, on_error, transform, transform_per and transform_threads as
        :class:`dlio_fast.Loader` has them;
        fields: the arrays that make up a sample, one for the bare tensor (the default, `x`), several for
        a dict;
        return_labels: (payload, label) pairs;
        split: "train" or "valid";
        storage_options, cache_dir, cache_dir_bytes: as :class:`dlio_fast.Dataset` has them;
        drop_remainder: another name of `drop_last`. Batches then have a static size;
        ragged: what becomes of samples that differ in shape. "batch": a batch is a tf.RaggedTensor, put
        together with one copy; the default where the configuration gives sizes a spread. "sample": an
        element is one sample, not copied, with open dimensions. None, the default else: a sample of
        another shape is an error;
        repeat: how many epochs a pass over ``create_dataset()`` has (default 1), each shuffled anew; -1
        for ever;
        reshuffle_each_iteration: False gives each epoch the order of epoch 0;
        prefetch_buffer_size: elements that tf.data takes ahead of the consumer (default 2), beyond what
        `prefetch_bytes` bounds; 0 for none, -1 for AUTOTUNE.

        shuffle_buffer_size, num_parallel_calls, deterministic and writable are accepted and have no
        effect: the shuffle is exact and needs no buffer, the threads of the library read and decode, the
        order is always the same for the same seed, and tensors are never written to.

    Yields
    ------
    tf.Tensor, tf.RaggedTensor, tuple or dict
        A batch of shape (B, *sample shape), over the memory that was read into.

    Raises
    ------
    ConfigError
        No data folder, or an option of a wrong type or value.
    TypeError
        An unknown option; names the nearest.
    UnsupportedError
        At the first iteration or ``create_dataset()``: a dtype that no tensor has; names the field.

    Notes
    -----
    One pass is an epoch; each pass goes on to the next one unless :meth:`set_epoch` says otherwise.

    What fails while this object is iterated over, or in ``create_dataset()``, is raised as the exception
    that :class:`dlio_fast.Loader` has for it, and is at the same time the nearest of tf.errors:
    NotFoundError, PermissionDeniedError, DataLossError, InvalidArgumentError and so on. Inside a
    ``tf.data.Dataset`` TensorFlow itself makes the error, with our message: InvalidArgumentError for what
    is wrong in a file, UnknownError for what the operating system reports. Going on after an error
    delivers the rest.

    A ``tf.data.Dataset`` of Python cannot be saved by tf.train.Checkpoint: save :meth:`state_dict`.
    """

    framework = "tensorflow"

    def __init__(
        self,
        config_path: Source | None = None,
        config_dict: Mapping[str, Any] | Config | None = None,
        data_folder: str | os.PathLike[str] | None = None,
        tensorflow_config: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        super().__init__(config_path, config_dict, data_folder, tensorflow_config, options)
        ragged = "batch" if self.config.dataset.sizes_are_ragged else None
        for name, default in (("ragged", ragged), ("repeat", 1), ("prefetch_buffer_size", PREFETCH)):
            self.options.setdefault(name, default)
        if self.options["repeat"] == 0:
            raise ConfigError("tensorflow_config.repeat = 0: accepted is a number of epochs, or -1 for ever")
        self.options["drop_remainder"] = self.loader.drop_last
        if (reshuffle := self.options.get("reshuffle_each_iteration")) is not None:
            self.loader.reshuffle = reshuffle
        self.dataset.ragged = self.options["ragged"] is not None
        self._history: History | None = None
        self._restored = False

    def _resolved(
        self, framework_config: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        found = super()._resolved(framework_config, options)
        profile, section = self.config.framework_profiles.tensorflow, self.config.tensorflow_config
        for layer in (options, framework_config or {}, section.to_dict(), profile.to_dict()):
            given = {found[name] for name in DROP if layer.get(name) is not None}
            if len(given) > 1:
                raise ConfigError("drop_last and drop_remainder are two names of one option, but differ")
            if given:
                found["drop_last"] = given.pop()
                break
        return found

    @property
    def tensorflow_config(self) -> dict[str, Any]:
        """The options in force."""
        return self.options

    @functools.cached_property
    def layout(self) -> Layout:
        """What an element is made of; looks into the first file."""
        return Layout(self)

    @property
    def element_spec(self) -> Any:
        """The specs of an element, as ``tf.data.Dataset.element_spec``."""
        return self.layout.structure

    def __len__(self) -> int:
        """Batches an epoch on this rank; samples with ``ragged="sample"``."""
        return len(self.loader.sampler) if self.options["ragged"] == "sample" else len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        try:
            return _Tensors(self, self._begin(1, ahead=False))
        except DlioFastError as error:
            raise tf_error(error) from error

    def _begin(self, passes: int, *, ahead: bool) -> Elements:
        elements = Elements(self, passes, ahead=ahead)
        self._history, self._restored = elements.history, False
        return elements

    def create_dataset(self) -> tf.data.Dataset:
        """Return the batches as a tf.data.Dataset.

        Each pass over it begins the next epoch. It shards nothing: this data set is a rank's share
        already. Its cardinality is known unless a state was restored or files may be skipped.

        TensorFlow's tuner is off unless `prefetch_buffer_size` is AUTOTUNE, because the end of a pass would
        wait for it: AUTOTUNE in later steps means as many calls as there are cores. Options of yours win.
        """
        try:
            layout, passes = self.layout, self.options["repeat"]
            whole = len(self) * passes if passes > 0 or not len(self) else tf.data.INFINITE_CARDINALITY
        except DlioFastError as error:
            raise tf_error(error) from error
        counted = not self._restored and self.loader.on_error == "raise"

        def begin() -> Elements:
            if counted and self._restored:
                raise StateError(
                    "a state was restored after create_dataset(): call it again, and use the new one"
                )
            return self._begin(passes, ahead=True)

        dataset = dataset_over(
            begin, layout.specs, layout.structure if layout.is_flat else tuple(layout.specs)
        )
        if not layout.is_flat:
            dataset = dataset.map(tf.autograph.experimental.do_not_convert(layout.assembled))
        if counted:
            dataset = dataset.apply(tf.data.experimental.assert_cardinality(whole))
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        ahead = self.options["prefetch_buffer_size"]
        options.experimental_optimization.inject_prefetch = bool(ahead)  # by itself TensorFlow adds one
        # TensorFlow 2.21's tuner wakes at 10, 30, 70, 150 ms and so on, and an iterator is not gone before
        # it does: the end of a pass costs up to as much time again as the whole pass.
        options.autotune.enabled = ahead == tf.data.AUTOTUNE
        dataset = dataset.with_options(options)
        return dataset.prefetch(ahead) if ahead else dataset

    # -- epochs and state --

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch; see :meth:`dlio_fast.Loader.set_epoch`."""
        super().set_epoch(epoch)
        self._history = None

    def state_dict(self, batches: int | None = None, *, samples: int | None = None) -> State:
        """Return from where a later process is to go on; see :meth:`dlio_fast.Loader.state_dict`.

        Parameters
        ----------
        batches : int, optional
            How many of the latest pass the caller has got, over all its repetitions. Required for a pass
            over ``create_dataset()``, because tf.data takes them ahead; all of a pass: the next begins.
        samples : int, optional
            The same with ``ragged="sample"``, whose elements are samples.

        Raises
        ------
        StateError
            The number is missing, or more than have come.
        """
        history = self._history
        if history is None:
            return self.loader.state_dict(batches, samples=samples)
        name, given = ("samples", samples) if history.per_sample else ("batches", batches)
        if given is None and history.ahead:
            raise StateError(f"tf.data takes {name} ahead: say how many you have got, state_dict({name}=...)")
        if given is None and history.finished:
            return self.loader.state_dict()
        return history.state(given)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next pass go on from a state; see :meth:`dlio_fast.Loader.load_state_dict`.

        Call :meth:`create_dataset` after it, not before: what it returned before expects whole epochs.
        """
        super().load_state_dict(state)
        self._history, self._restored = None, True


class _Tensors(Iterator[Any]):
    """The elements of one pass as eager tensors; its errors are TensorFlow's, too."""

    def __init__(self, dataset: DlioTensorFlowDataset, elements: Elements):
        self._dataset, self._elements = dataset, elements

    def __next__(self) -> Any:
        try:
            return self._dataset.layout.tensors(next(self._elements))
        except DlioFastError as error:
            raise tf_error(error) from error

    def close(self) -> None:
        """End the pass: stop its threads and drop what is in flight."""
        self._elements.close()


def create_tensorflow_dataset(config_path: Source, **options: Any) -> tf.data.Dataset:
    """Return ``DlioTensorFlowDataset(config_path, **options).create_dataset()``."""
    return DlioTensorFlowDataset(config_path, **options).create_dataset()


def create_tensorflow_dataset_from_uri(
    data_folder: str | os.PathLike[str], batch_size: int = 32, **options: Any
) -> tf.data.Dataset:
    """Return a tf.data.Dataset of the files of a folder, laid out as DLIO does, without a configuration."""
    return create_tensorflow_dataset({}, data_folder=data_folder, batch_size=batch_size, **options)


def make_tf_dataset(
    uri: str | os.PathLike[str],
    *,
    prefetch: int = PREFETCH,
    num_workers: int = 0,
    batch_size: int = 1,
    auto_tune: bool = False,
    map_fn: Callable[..., Any] | None = None,
    **options: Any,
) -> tf.data.Dataset:
    """Return a tf.data.Dataset of the files of a folder; called as s3dlio's function of that name.

    Parameters
    ----------
    uri : str or path-like
    prefetch : int
        Batches that tf.data takes ahead of the consumer.
    num_workers : int
        Threads that read; 0: as many as are right.
    batch_size : int
    auto_tune : bool
        Let tf.data choose how much it takes ahead.
    map_fn : callable, optional
        Applied to each batch, in parallel.
    drop_last, shuffle, seed, **options
        As :class:`DlioTensorFlowDataset` has them. `reader_mode`, `part_size`, `max_inflight_parts` and
        `suppress_nonwritable_warning` have no effect.
    """
    for name in _OWN_TUNING:
        options.pop(name, None)
    dataset = create_tensorflow_dataset_from_uri(
        uri,
        batch_size,
        threads=num_workers or None,
        prefetch_buffer_size=tf.data.AUTOTUNE if auto_tune else prefetch,
        **options,
    )
    return dataset if map_fn is None else dataset.map(map_fn, num_parallel_calls=tf.data.AUTOTUNE)


_OWN_TUNING = ("reader_mode", "part_size", "max_inflight_parts", "suppress_nonwritable_warning")
