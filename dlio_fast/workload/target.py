"""What a conversion writes: the files of one split, which samples each holds and what they are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from .._typing import Array, Fields, Values
from ..config import load_config
from ..errors import ConfigError, SampleError
from ..formats import FieldSpec, Format
from ..formats.packing import Packer, Packing
from ..pipeline import Dataset

PREFIX = "img"
"""What the names of regrouped files begin with, as DLIO's do."""


@dataclass(frozen=True)
class Options:
    """What is asked for; see :func:`convert`."""

    format: Format
    files: int | None
    samples_per_file: int | None
    flatten: bool
    packing: Packing


class Target:
    """The files that the samples of a data set are converted to.

    Parameters
    ----------
    dataset : Dataset
    root, split : str
        The files go to that folder below the root.
    options : Options

    Attributes
    ----------
    per_file : int
        Samples of each file.
    packer : Packer
    format : Format
        What reads the files back, with the element type and the shape of the samples where a file keeps none.

    Raises
    ------
    ConfigError
        The format cannot hold the samples, or they cannot be divided like that.
    """

    def __init__(self, dataset: Dataset, root: str, split: str, options: Options):
        self.dataset, self.root, self.split = dataset, root, split
        self.folder = os.path.join(root, split)
        self.flatten = options.flatten
        self.samples = len(dataset)
        self.names = _new_names(dataset.format, options.format, [field.name for field in dataset.spec.fields])
        self.fields = [self._field(field) for field in dataset.spec.fields]
        self.per_file, self.packer = self._divide(options)
        self.format = self._configured(options.format)
        self._suffix = options.format.suffixes[0]
        self._keeps_names = self.per_file == dataset.spec.samples and _in_order(list(self._kept_names()))

    def __len__(self) -> int:
        return self.samples // self.per_file

    @property
    def sample_axis(self) -> int | None:
        """The axis along which the samples of a file lie, in formats that leave it open."""
        return self.packer.packing.sample_axis

    @property
    def sample_nbytes(self) -> int:
        """Bytes of a sample, of the first file."""
        return sum(field.nbytes for field in self.fields)

    def ids(self, index: int) -> Array:
        """Return which samples file `index` holds."""
        return np.arange(index * self.per_file, (index + 1) * self.per_file, dtype=np.int64)

    def name(self, index: int) -> str:
        """Return the name of file `index` below the folder.

        Files that hold the samples of one file each are called like that one, unless that would change the
        order in which they are found.
        """
        if self._keeps_names:
            return self._kept_name(index)
        count = str(len(self))
        return f"{PREFIX}_{index:0{len(count)}d}_of_{count}{self._suffix}"

    def path(self, index: int) -> str:
        """Return the path of file `index`."""
        return os.path.join(self.folder, self.name(index))

    def companions(self, index: int, samples: Mapping[str, Values]) -> dict[str, bytes]:
        """Return the index files of file `index`, which holds these samples: path -> contents."""
        found = self.packer.companions(os.path.join(self.split, self.name(index)), samples)
        return {os.path.join(self.root, name): data for name, data in found.items()}

    def folders(self) -> list[str]:
        """Return every folder that files go to."""
        indices = range(len(self)) if self._keeps_names else range(min(1, len(self)))
        names = (os.path.join(self.split, self.name(index)) for index in indices)
        names = (own for name in names for own in (name, *self.packer.companion_names(name)))
        below = dict.fromkeys(map(os.path.dirname, names))
        return list(dict.fromkeys([self.folder, *(os.path.join(self.root, folder) for folder in below)]))

    def converted(self, fields: Fields) -> dict[str, Values]:
        """Return samples as they are written: under their new names, flat where that is asked for."""
        return {self.names[name]: self._values(values) for name, values in fields.items()}

    def _field(self, field: FieldSpec) -> FieldSpec:
        shape = (field.nbytes // max(1, field.dtype.itemsize),) if self.flatten else field.shape
        return replace(field, name=self.names[field.name], shape=shape)

    def _values(self, values: Values) -> Values:
        if not self.flatten:
            return values
        if isinstance(values, list):
            return [value.reshape(-1) for value in values]
        return values.reshape(len(values), -1)

    def _divide(self, options: Options) -> tuple[int, Packer]:
        own = self.dataset.spec.samples
        if options.files is not None or options.samples_per_file is not None:
            return self._packer(self._wanted(options), options)
        try:
            return self._packer(own, options)
        except ConfigError:
            if own == 1:
                raise
            try:  # a format of one sample a file
                return self._packer(1, options)
            except ConfigError:
                pass
            raise

    def _wanted(self, options: Options) -> int:
        if options.files is not None:
            if self.samples % options.files:
                raise ConfigError(
                    f"{self.samples} samples cannot be divided into {options.files} files of as many each"
                )
            return self.samples // options.files
        per_file = options.samples_per_file or 1
        if self.samples % per_file:
            raise ConfigError(f"{self.samples} samples cannot be divided into files of {per_file} each")
        return per_file

    def _packer(self, per_file: int, options: Options) -> tuple[int, Packer]:
        axis = self.dataset.sample_axis
        if axis is None and per_file > 1:
            axis = -1  # DLIO's
        packing = replace(options.packing, samples=per_file, sample_axis=axis)
        packer = options.format.packer(self.fields, packing)
        if packer.one_field and self.fields[0].name != options.format.payload:
            self.names = dict.fromkeys(self.names, options.format.payload)
            self.fields = [replace(self.fields[0], name=options.format.payload)]
            packer = options.format.packer(self.fields, packing)
        return per_file, packer

    def _configured(self, format: Format) -> Format:
        """Return the format as a configuration that says what a sample is would have it."""
        payload = next((field for field in self.fields if field.name == format.payload), None)
        if payload is None or not payload.shape:
            return format
        dtype = payload.dtype.name if payload.dtype.isnative else payload.dtype.str
        dataset = {"format": format.name, "record_dims": [*payload.shape], "record_element_type": dtype}
        try:
            return format.configured(load_config({"dataset": dataset}))
        except ConfigError:  # dtypes and shapes that DLIO has not
            return format

    def _kept_names(self) -> Iterator[str]:
        return map(self._kept_name, range(len(self.dataset.files)))

    def _kept_name(self, index: int) -> str:
        path, root = self.dataset.files[index], os.fsdecode(self.dataset.files.root)
        # Without a common root, as of a list or a glob, subfolders are not known from other folders.
        below = os.path.relpath(path, root) if root else os.path.basename(path)
        return os.path.splitext(below)[0] + self._suffix


def _new_names(old: Format, new: Format, names: list[str]) -> dict[str, str]:
    """Return what the fields are called in another format: payload and label are what it calls these."""
    roles = {old.payload: new.payload, old.label: new.label} if old.name != new.name else {}
    found = {name: roles.get(name, name) for name in names}
    if len(set(found.values())) < len(found):
        raise ConfigError(f"{', '.join(names)} would be called {', '.join(found.values())} in {new.name}")
    return found


def _in_order(names: list[str]) -> bool:
    """Tell whether a reader finds files of these names in this order; see storage.files.list_folder."""
    if len({name.count("/") for name in names}) > 1 or any(name.count("/") > 1 for name in names):
        return False
    last = [os.fsencode(os.path.basename(name)) for name in names]
    return all(a < b for a, b in zip(last, last[1:], strict=False)) and not any(
        name.startswith(b".") for name in last
    )


def compare(path: str, expected: Mapping[str, Values], actual: Fields, *, exact: bool) -> None:
    """Raise SampleError unless samples read back from a file are those that were to be written, bit for bit.

    One NaN is like another: text has only one. Not `exact`: only shapes and dtypes are compared.
    """
    for name, wanted in expected.items():
        found = actual[name]
        if len(found) != len(wanted):
            raise SampleError(
                f"{path}: {len(wanted)} samples were written, {len(found)} read back", path, name
            )
        if isinstance(wanted, np.ndarray) and isinstance(found, np.ndarray) and _equal(wanted, found):
            continue
        for number, (a, b) in enumerate(zip(wanted, found, strict=True)):
            if (a.dtype, a.shape) != (b.dtype, b.shape):
                raise SampleError(
                    f"{path}: {name!r} of sample {number} is {a.dtype} {a.shape} and is read back as "
                    f"{b.dtype} {b.shape}, which is what the format keeps of it",
                    path, name,
                )  # fmt: skip
            if exact and not _equal(np.asarray(a), np.asarray(b)):
                raise SampleError(
                    f"{path}: {name!r} of sample {number} is read back with other values than were written",
                    path, name,
                )  # fmt: skip


def _equal(a: Array, b: Array) -> bool:
    """Tell whether two arrays are the same bit for bit."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return False
    if not a.nbytes:
        return True
    first, second = (np.ascontiguousarray(array).reshape(-1) for array in (a, b))
    if (first.view(np.uint8) == second.view(np.uint8)).all():
        return True
    if a.dtype.kind not in "fc":
        return False
    rest = ~(np.isnan(first) & np.isnan(second))
    return bool((first[rest].view(np.uint8) == second[rest].view(np.uint8)).all())
