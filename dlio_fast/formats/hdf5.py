"""HDF5: samples along the first axis of datasets.

h5py reads the metadata, once a file; contiguous and chunked datasets (deflate, LZF, shuffle, fletcher32) are
then read by the core from the file's own addresses, without HDF5's global lock. Everything else (virtual,
external and compact datasets, compound types, other filters, a user block) goes through h5py, on the ring's
threads; ``Loader.stats()`` counts the samples of either way as ``core_samples`` and ``library_samples``.

DLIO's layout: ``records_0`` ... ``records_{k-1}``, shaped (samples, ...), and ``labels`` (samples,), int64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .. import _core
from .._typing import Array, Values
from ..errors import ConfigError, SampleError
from .base import FieldSpec, FileSpec, Format
from .generating import Generator
from .hdf5_generating import hdf5_generator, new_file, new_groups
from .hdf5_library import h5py, typed_errors
from .hdf5_metadata import Dataset, MetadataFile
from .layout import ALIGNMENT
from .packing import Packer, Packing

if TYPE_CHECKING:
    from ..config.data import DatasetSection


class Hdf5Format(Format):
    """HDF5; the fields are datasets, by their paths in the file, by default all at its top."""

    name = "hdf5"
    suffixes = (".hdf5", ".h5")
    container = "hdf5"
    payload = "records_0"
    label = "labels"

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        """Read a file's metadata, through the page cache whatever `direct` says.

        The samples lie along the first axis, whatever `sample_axis` says.
        """
        with MetadataFile(path) as file, typed_errors(path):
            datasets = file.datasets(fields)
            for dataset in datasets:
                if not _is_elsewhere(dataset):
                    dataset.check_size()
            specs = tuple(_field(dataset) for dataset in datasets)
            return FileSpec(
                specs, datasets[0].shape[0], max(map(_scratch_bytes, datasets)),
                apart=all(map(_is_apart, datasets)),
            )  # fmt: skip

    def reader(self, spec: FileSpec, cache_bytes: int) -> Hdf5Reader:
        return Hdf5Reader(spec)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return Hdf5Packer(fields, packing, self.name)

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return hdf5_generator(dataset, where)


def _field(dataset: Dataset) -> FieldSpec:
    dtype = dataset.dtype
    return FieldSpec(dataset.name, dtype, dataset.shape[1:], dataset.name.encode("utf-8", "surrogateescape"))


def _is_elsewhere(dataset: Dataset) -> bool:
    """Whether other files hold the bytes."""
    plist = dataset.id.get_create_plist()
    return bool(plist.get_layout() == h5py().h5d.VIRTUAL or plist.get_external_count() > 0)


def _is_apart(dataset: Dataset) -> bool:
    """Whether no chunk holds several samples."""
    plist = dataset.id.get_create_plist()
    return bool(plist.get_layout() != h5py().h5d.CHUNKED or plist.get_chunk()[0] == 1)


def _scratch_bytes(dataset: Dataset) -> int:
    """What reading a sample takes beside it: a chunk packed and, unless it is the sample, unpacked."""
    plist = dataset.id.get_create_plist()
    if plist.get_layout() != h5py().h5d.CHUNKED:
        return 0
    chunk = plist.get_chunk()
    blocks = 2 if chunk == (1, *dataset.shape[1:]) else 3
    return blocks * dataset.dtype.itemsize * int(np.prod(chunk, dtype=object))


class Hdf5Packer(Packer):
    """Writes a dataset a field, contiguous, or, to compress them, in chunks of a sample each."""

    compressions = ("none", "gzip", "lzf")

    def __init__(self, fields: Sequence[FieldSpec], packing: Packing, name: str):
        super().__init__(fields, packing, name)
        for field in self.fields:
            try:
                h5py().h5t.py_create(field.dtype, logical=True)
            except TypeError as error:
                raise ConfigError(f"HDF5 cannot hold field {field.name!r}: {error}") from error

    def nbytes(self) -> int:
        return super().nbytes() + (1 + len(self.fields)) * (ALIGNMENT + 1024)

    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        with new_file(file, ALIGNMENT if self.packing.align else None) as out:
            for name, values in samples.items():
                array = self.stacked(name, values)
                new_groups(out, name)
                out.create_dataset(name, data=array, track_times=False, **self._filters(array))

    def _filters(self, array: Array) -> dict[str, Any]:
        if self.packing.compression == "none" or not array.size:
            return {}
        gzip = self.packing.compression == "gzip"
        level = {"compression_opts": self.packing.level} if gzip and self.packing.level is not None else {}
        chunks = (1, *array.shape[1:]) if array.ndim > 1 else array.shape
        return {"compression": self.packing.compression, "shuffle": True, "chunks": chunks, **level}


class Hdf5Reader:
    """What the core asks of h5py: where samples lie, and those that it cannot read itself."""

    def __init__(self, spec: FileSpec):
        self._spec = spec
        self._names = [field.name for field in spec.fields]

    def learn(self, task: _core.Task) -> bytes:
        """Describe a file, see csrc/dlf_hdf5.h."""
        with MetadataFile(task.path) as file, typed_errors(task.path):
            return file.describe(self._names)

    def read(self, task: _core.Task) -> Sequence[Array]:
        """Read samples with h5py: for each field an array of them."""
        with MetadataFile(task.path) as file, typed_errors(task.path):
            values = [
                self._samples(file, file.dataset(field.name), field, task.samples)
                for field in self._spec.fields
            ]
            file.check_unchanged()
            return values

    def _samples(
        self, file: MetadataFile, dataset: Dataset, field: FieldSpec, samples: Sequence[int]
    ) -> Array:
        if dataset.shape[0] != self._spec.samples:
            raise SampleError(
                f"{file.path}: {field.name!r} holds {dataset.shape[0]} samples, the first file of the data "
                f"set {self._spec.samples}",
                file.path, field.name,
            )  # fmt: skip
        if not _is_elsewhere(dataset):
            dataset.check_size()
        if dataset.dtype.names is not None and dataset.dtype != field.dtype:
            raise SampleError(
                f"{file.path}: {field.name!r} has dtype {dataset.dtype}, in the first file of the data set "
                f"{field.dtype}",
                file.path, field.name,
            )  # fmt: skip
        high = h5py().Dataset(dataset.id)
        values: Array = np.empty((len(samples), *dataset.shape[1:]), dataset.dtype)
        for first, count, at in _runs(samples):
            values[at : at + count] = high[first : first + count]
        return values


def _runs(samples: Sequence[int]) -> list[tuple[int, int, int]]:
    """Return (first, count, position) of the runs of samples that follow one another."""
    runs: list[tuple[int, int, int]] = []
    for at, sample in enumerate(samples):
        if runs and sample == sum(runs[-1][:2]):
            first, count, begin = runs.pop()
            runs.append((first, count + 1, begin))
        else:
            runs.append((sample, 1, at))
    return runs


FORMAT = Hdf5Format()
