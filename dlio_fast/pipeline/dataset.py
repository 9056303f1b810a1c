"""The data set: which files there are, what a sample is, and single samples on demand."""

from __future__ import annotations

import operator
import os
import re
import threading
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from .. import _core
from .._typing import Array, Fields, Int64Array, Values
from ..config import Config, load_config, split_address
from ..errors import ConfigError, DataError, DlioFastFileNotFoundError, DlioFastOSError, SampleError
from ..formats import FileSpec, Format, format_for, format_named, suffixes
from ..storage.disk_cache import with_cache
from ..storage.files import FileList, list_files
from ..storage.local import Address
from ..storage.memory import shared_pool
from .batch import SampleList, whole_batch
from .lazy import lazy
from .splits import split_files

DLIO_SAMPLE_AXIS = -1
"""In DLIO's NPZ and NPY files the samples lie along the last axis."""

READER_CACHE = 64 << 20
"""Bytes of decoded files that are kept for samples that are asked for one by one."""

SPEC_TRIES = 100
"""Files looked into for one that says what a sample is."""

SPLITS = {"train": "num_files_train", "valid": "num_files_eval"}
"""Which setting says how many files each has."""


class Dataset:
    """Samples in files, by DLIO config; :meth:`from_files` does without one.

    Constructing it touches no storage: the files are listed when first asked for.

    Parameters
    ----------
    config : Config, str, path or dict
        As :func:`dlio_fast.load_config` takes it.
    split : str
        "train" or "valid".
    fields : str or sequence of str, optional
        Which arrays make up a sample; default all that the files have.
    data_folder : str or path-like, optional
        Instead of the config's; a plain path is read past the page cache where the config asks for it.
    storage_options : mapping, optional
        For the store that the folder lies in, in s3fs's or adlfs's own names; they go before the config's
        ``storage`` section. See docs/remote.md.
    cache_dir : str or path-like, optional
        A folder on local disk where objects of stores are kept, for all processes that name it; no effect on
        local files. See docs/remote.md.
    cache_dir_bytes : int, optional
        The most bytes there; default half of what is free on that disk, what is kept included.

    Attributes
    ----------
    config : Config or None
    split : str or None
    folder : str or None
        The address of the data.

    Notes
    -----
    A map-style data set: ``len(ds)``, ``ds[i]`` -> dict[str, Any] of arrays. Picklable.
    """

    config: Config | None
    split: str | None
    folder: str | None

    def __init__(
        self,
        config: Config | str | os.PathLike[str] | Mapping[str, Any],
        split: str = "train",
        *,
        fields: str | Sequence[str] | None = None,
        data_folder: Address | None = None,
        storage_options: Mapping[str, Any] | None = None,
        cache_dir: Address | None = None,
        cache_dir_bytes: int | None = None,
    ):
        if split not in SPLITS:
            raise ConfigError(f"split {split!r} is not one of {', '.join(SPLITS)}")
        self.config = config if isinstance(config, Config) else load_config(config)
        self._setup(fields, DLIO_SAMPLE_AXIS, self.config.dataset.sizes_are_ragged)
        self.split = split
        self._storage_options = with_cache(storage_options, cache_dir, cache_dir_bytes)
        if data_folder is not None:
            self.folder = _folder_address(data_folder, self.config)
        elif self.config.is_set("dataset.data_folder"):
            self.folder = self.config.data_address
        else:
            raise ConfigError(
                f"{self.config.source}: dataset.data_folder is required: say where the files are"
            )
        self._format = None
        if self.config.is_set("dataset.format"):
            self._format = format_named(self.config.dataset.format).configured(self.config)

    @classmethod
    def from_files(
        cls,
        files: Address | Iterable[Address],
        *,
        format: str | Format | None = None,
        fields: str | Sequence[str] | None = None,
        sample_axis: int | None = None,
        ragged: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        cache_dir: Address | None = None,
        cache_dir_bytes: int | None = None,
    ) -> Dataset:
        """A data set of files, without a DLIO config.

        Parameters
        ----------
        files : str, path-like, or iterable of these
            A list, a folder, a glob, a manifest (a text file, one path a line), or one file.
        format : str or Format, optional
            A format's name, or the format itself; default from the first file's suffix.
        fields : str or sequence of str, optional
            Which arrays make up a sample; default all that the files have.
        sample_axis : int, optional
            The axis along which several samples lie in a file; default: a file is one sample.
        ragged : bool
            Say beforehand that samples differ in shape: each then gets memory of its own at once.
            Differing samples are coped with anyway, at the cost of address space.
        storage_options : mapping, optional
            For the store that they lie in, as in :func:`dlio_fast.read`.
        cache_dir, cache_dir_bytes
            As :class:`Dataset` has them.
        """
        storage_options = with_cache(storage_options, cache_dir, cache_dir_bytes)
        self = cls.__new__(cls)
        self.config = None
        self.folder = None
        self.split = None
        self._setup(fields, sample_axis, ragged)
        self._format = format_named(format) if isinstance(format, str) else format
        self.__dict__["files"] = list_files(files, self._suffixes(), storage_options)
        return self

    def _setup(self, fields: str | Sequence[str] | None, sample_axis: int | None, ragged: bool) -> None:
        self._fields = None if fields is None else (fields,) if isinstance(fields, str) else tuple(fields)
        self.sample_axis = sample_axis
        self.ragged = ragged
        self._forget()

    def _forget(self) -> None:
        self._ring: _core.Ring | None = None
        self._plan: _core.Plan | None = None
        self._verify = True
        self._lock = threading.Lock()
        _datasets.add(self)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_ring", "_plan", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    @lazy
    def files(self) -> FileList:
        """The files, in order; listed when first asked for."""
        # from_files has listed its own
        assert self.config is not None and self.folder is not None and self.split is not None
        key = SPLITS[self.split]
        files = split_files(self.config, self.folder, self.split, self._suffixes(), self._storage_options)
        if not self.config.is_set(f"dataset.{key}"):
            return files
        wanted = getattr(self.config.dataset, key)
        if len(files) < wanted:
            raise DlioFastFileNotFoundError(
                2,
                f"{len(files)} of {wanted} files are there (dataset.{key}); `dlio-fast generate` makes them",
                self.folder,
            )  # fmt: skip
        if len(files) > wanted:
            warnings.warn(f"{self.folder}: using {wanted} of the {len(files)} files there", stacklevel=3)
            return self._own(files, wanted)
        return files

    def _suffixes(self) -> list[str]:
        return list(self._format.suffixes if self._format else suffixes())

    def _own(self, files: FileList, wanted: int) -> FileList:
        """Choose from too many files: those that the config's names fit, where they are complete."""
        assert self.config is not None
        name = re.compile(rf"{re.escape(self.config.dataset.file_prefix)}_\d+_of_{wanted}\.[^.]+")
        own = [i for i, path in enumerate(files) if name.fullmatch(os.path.basename(path))]
        return files.chosen(own) if len(own) == wanted else files.head(wanted)

    @lazy
    def format(self) -> Format:
        """The files' format: as given, else by the first file's suffix."""
        if self._format:
            return self._format
        found = format_for(self._first_file())
        return found.configured(self.config) if self.config else found

    @lazy
    def fields(self) -> tuple[str, ...] | None:
        """The arrays that make up a sample; None: all that the files have."""
        return self._fields and tuple(self.format.field(name) for name in self._fields)

    @lazy
    def spec(self) -> FileSpec:
        """What a file holds, from the first with good headers: fields with dtype and shape, samples a file.

        A bad file before it fails like any other when its samples are read.
        """
        self._first_file()
        errors: list[Exception] = []
        for path in self.files[:SPEC_TRIES]:
            try:
                return self.format.inspect(
                    path, fields=self.fields, sample_axis=self.sample_axis, direct=self.files.direct
                )
            except (DataError, DlioFastOSError) as error:
                errors.append(error)
        raise errors[0]

    def _first_file(self) -> str:
        if not len(self.files):
            raise DlioFastFileNotFoundError(2, "the data set has no files", self.folder or "")
        return self.files[0]

    def __len__(self) -> int:
        """Samples in all files."""
        return len(self.files) * self.spec.samples if len(self.files) else 0

    def plan(self, *, verify: bool = True, cache_bytes: int = READER_CACHE) -> _core.Plan:
        """What the core reads batches of this data set from.

        `cache_bytes` is what a format that is decoded in Python may keep of files for later batches.
        """
        return _core.Plan(
            container=self.format.container,
            root=self.files.root,
            names=self.files.names,
            offsets=self.files.offsets,
            fields=[(f.member, f.descr, f.dtype.itemsize, f.shape) for f in self.spec.fields],
            samples_per_file=self.spec.samples,
            sample_axis=self.sample_axis,
            direct=self.files.direct,
            verify=verify,
            ragged=self.ragged,
            reader=self.format.reader(self.spec, cache_bytes),
            store=self.files.store,
            sizes=self.files.sizes,
            versions=self.files.versions,
        )

    def __getitem__(self, index: int) -> dict[str, Array]:
        """One sample, read and verified now: field -> array of the sample's shape, 0-d for scalars."""
        sample: dict[str, Array] = self.__getitems__([index])[0]
        return sample

    def __getitems__(self, indices: Sequence[int]) -> SampleList:
        """Several samples at once, read together; PyTorch's DataLoader calls this for a batch."""
        fields = self.batch(indices) if len(indices) else {}
        samples = [{name: _sample(v, i) for name, v in fields.items()} for i in range(len(indices))]
        return SampleList(samples, fields)

    def batch(self, indices: Sequence[int], *, verify: bool = True) -> Fields:
        """At least one sample, put together as :class:`dlio_fast.Loader` does."""
        n = len(self)
        wanted = [operator.index(i) for i in indices]
        for i in wanted:
            if not -n <= i < n:
                raise SampleError(f"sample {i} is out of range: the data set has {n} samples")
        ids = np.array([i + n if i < 0 else i for i in wanted], np.int64)
        with self._lock:
            return whole_batch(self._read(ids, verify), self.spec)

    def _read(self, ids: Int64Array, verify: bool) -> _core.Batch:
        ring, plan = self._ring, self._plan  # another thread may close the data set meanwhile
        if ring is None or not ring.usable():
            ring = self._ring = _core.Ring(self.files.threads, 0, shared_pool())
        if plan is None or self._verify != verify:
            plan, self._verify = self.plan(verify=verify), verify
            self._plan = plan
        try:
            ring.submit_batch(plan, ids)
            return ring.next_batch(plan)
        except BaseException:  # Ctrl-C leaves the batch in the ring: the next call must not get it
            self._ring = None
            ring.close()
            raise

    def __iter__(self) -> Iterator[dict[str, Array]]:
        return (self[i] for i in range(len(self)))

    def close(self) -> None:
        """Stop the threads that ``ds[i]`` started; the next ``ds[i]`` starts others."""
        ring, self._ring = self._ring, None
        self._plan = None  # with what its reader has kept
        if ring is not None:
            ring.close()

    def __repr__(self) -> str:
        what = f"of {len(self.files)} files" if self.folder is None else f"{self.split} {self.folder}"
        return f"<dlio_fast.Dataset {what}>"


def _sample(values: Values, i: int) -> Array:
    sample: Array = values[i] if isinstance(values, list) else values[i, ...]
    return sample


def _folder_address(folder: Address, config: Config) -> str:
    address = os.fsdecode(os.fspath(folder))
    direct = config.reader.odirect or config.storage.storage_type == "direct_fs"
    return f"direct://{address}" if direct and not split_address(address)[0] else address


def _forget_inherited() -> None:
    # A thread of the parent's may hold their locks for ever here.
    for dataset in list(_datasets):
        dataset._forget()


_datasets: weakref.WeakSet[Dataset] = weakref.WeakSet()
os.register_at_fork(after_in_child=_forget_inherited)
