"""What the wrappers of all frameworks share: their arguments, which value wins, and their attributes."""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from .config import Config, backend_of, load_config, split_address
from .errors import ConfigError
from .formats import LABEL, PAYLOAD, Role
from .pipeline import Dataset, Loader
from .pipeline.state import State

BACKENDS = {"direct": "directio", "az": "azure"}
"""Names of `backend_type` that differ from the address's scheme."""

LOADER_OPTIONS = (
    "batch_size", "shuffle", "seed", "drop_last", "rank", "world_size", "shuffle_window", "pad",
    "shard_strategy", "threads", "prefetch_bytes", "verify", "on_error", "shard", "transform",
    "transform_per", "transform_threads",
)  # fmt: skip
PLAIN_OPTIONS = (
    "return_labels", "split", "rank", "world_size", "shard", "on_error", "transform", "transform_per",
    "transform_threads", "cache_dir", "cache_dir_bytes", "storage_options",
)  # fmt: skip
"""Options that a configuration's framework section does not have."""


class Wrapper:
    """Base of the frameworks' data sets; constructing one validates, and touches no storage.

    Attributes
    ----------
    config : Config
    options : dict
        The options that were given, by argument or by the configuration, and what they come to.
    dataset : Dataset
    loader : Loader
        What reads.
    """

    framework: str

    def __init__(
        self,
        config_path: str | os.PathLike[str] | Mapping[str, Any] | Config | None,
        config_dict: Mapping[str, Any] | Config | None,
        data_folder: str | os.PathLike[str] | None,
        framework_config: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ):
        if config_path is not None and config_dict is not None:
            raise ConfigError("give config_path or config_dict, not both")
        source = config_dict if config_path is None else config_path
        self.config = source if isinstance(source, Config) else load_config({} if source is None else source)
        self.options = self._resolved(framework_config, options)
        self._fields, self._kind = _sample_fields(
            self.options.get("fields"), self.options.get("return_labels", False)
        )
        self.dataset = Dataset(
            self.config,
            self.options.get("split", "train"),
            fields=self._fields,
            data_folder=data_folder,
            storage_options=self.options.pop("storage_options", None),  # there may be secrets in it
            cache_dir=self.options.get("cache_dir"),
            cache_dir_bytes=self.options.get("cache_dir_bytes"),
        )
        loading = {name: self.options[name] for name in LOADER_OPTIONS if name in self.options}
        self.loader = Loader(self.dataset, **loading)
        self.options.update({name: getattr(self.loader, name) for name in LOADER_OPTIONS[:9]})

    def _resolved(
        self, framework_config: Mapping[str, Any] | None, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the options given: arguments over the configuration's section over its profile."""
        section = f"{self.framework}_config"
        known = [*type(getattr(self.config, section)).model_fields, *PLAIN_OPTIONS]
        for name in options:
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; there are {', '.join(known)}"
                raise TypeError(f"{type(self).__name__} has no option {name!r}{hint}")
        given = {name: value for name, value in options.items() if value is not None}
        plain = {name: given.pop(name) for name in PLAIN_OPTIONS if name in given}
        arguments = load_config({section: {**(framework_config or {}), **given}})
        return {
            **self.config.framework_options(self.framework),
            **arguments.framework_options(self.framework),
            **plain,
        }

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The fields that make up a sample; lists the files where no format is configured."""
        names = tuple(map(self.dataset.format.field, self._fields))
        if any(isinstance(name, Role) for name in names):  # only a file tells
            return tuple(field.name for field in self.dataset.spec.fields)
        return names

    def pack(self, values: Sequence[Any]) -> Any:
        """Return what stands for a batch or a sample, of its fields in the order of `names`."""
        if self._kind == "bare":
            return values[0]
        return tuple(values) if self._kind == "pair" else dict(zip(self.names, values, strict=True))

    @property
    def data_folder(self) -> str:
        """The address of the data."""
        assert self.dataset.folder is not None  # it was made from a config
        return self.dataset.folder

    @property
    def backend_type(self) -> str:
        """Where the data lie: "file", "directio", "s3", "azure" or another scheme of fsspec."""
        backend = backend_of(split_address(self.data_folder)[0])
        return BACKENDS.get(backend, backend)

    @property
    def format_type(self) -> str:
        """The files' format; lists the files where the configuration does not say it."""
        if self.config.is_set("dataset.format"):
            return self.config.dataset.format
        return self.dataset.format.name

    @property
    def config_info(self) -> dict[str, Any]:
        """The settings in force, in one dict."""
        return {
            "framework": self.framework,
            "data_folder": self.data_folder,
            "backend_type": self.backend_type,
            "format": self.config.dataset.format if self.config.is_set("dataset.format") else None,
            **self.options,
        }

    def __len__(self) -> int:
        """Samples an epoch on this rank, without those of a batch that `drop_last` leaves out."""
        return len(self.loader.sampler)

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch; see :meth:`dlio_fast.Loader.set_epoch`."""
        self.loader.set_epoch(epoch)

    def state_dict(self, batches: int | None = None) -> State:
        """Return from where a later process is to go on; see :meth:`dlio_fast.Loader.state_dict`."""
        return self.loader.state_dict(batches)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next pass go on from a state; see :meth:`dlio_fast.Loader.load_state_dict`."""
        self.loader.load_state_dict(state)

    def get_state(self) -> State:
        """As :meth:`state_dict`, by Grain's name."""
        return self.state_dict()

    def set_state(self, state: Mapping[str, Any]) -> None:
        """As :meth:`load_state_dict`, by Grain's name."""
        self.load_state_dict(state)

    def stats(self) -> dict[str, Any]:
        """What this process has read, as :meth:`dlio_fast.Loader.stats` has it."""
        return self.loader.stats()

    def close(self) -> None:
        """Stop all threads of this process and end running passes."""
        self.loader.close()


def _sample_fields(fields: Sequence[str] | None, return_labels: bool) -> tuple[tuple[str, ...], str]:
    """Return the fields that a sample is made of, and whether it is "bare", a "pair" or a "dict"."""
    names = tuple(fields or (PAYLOAD,))
    if not return_labels:
        return names, "bare" if len(names) == 1 else "dict"
    if len(names) > 1:
        raise ConfigError(f"return_labels makes pairs of one field and its label; fields names {len(names)}")
    return (*names, LABEL), "pair"
