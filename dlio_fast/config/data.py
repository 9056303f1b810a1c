"""The sections that say what the data are and where they lie: `storage` and `dataset`."""

from __future__ import annotations

import math
import posixpath
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from . import sizes
from .address import backend_of, split_address
from .fields import (
    Bytes,
    Count,
    FreeMapping,
    FrozenDict,
    Int,
    Positive,
    RecordBytes,
    Section,
    Seed,
    one_or_many,
    words,
)

Dims = tuple[Positive, ...]
Names = Annotated[tuple[str, ...], BeforeValidator(one_or_many)]

FORMATS = (
    "tfrecord", "hdf5", "csv", "npz", "npy", "jpeg", "png", "indexed_binary", "mmap_indexed_binary",
    "synthetic", "parquet", "arrow", "hdf5_opt",
)  # fmt: skip
"""DLIO's."""


def _format(name: str) -> str:
    if name in FORMATS:
        return name
    from ..formats import format_names  # which looks for those of other packages

    known = [*FORMATS, *(other for other in format_names() if other not in FORMATS)]
    if name not in known:
        raise ValueError(", ".join(map(repr, known)))
    return name


Format = Annotated[str, words(), AfterValidator(_format)]
Compression = Annotated[
    Literal["none", "gzip", "lzf", "bz2", "zip", "xz", "snappy", "lz4", "zstd"], words(off="none")
]
IMAGE_FORMATS = ("jpeg", "png")


def _element_type(name: str) -> str:
    try:
        dtype = np.dtype(name)
    except TypeError:
        dtype = np.dtype(object)
    if dtype.kind not in "biufc":
        raise ValueError("the name of a numpy number type, such as uint8, float32 or int64")
    return name


ElementType = Annotated[str, AfterValidator(_element_type)]


def _file_prefix(prefix: str) -> str:
    if "/" in prefix or "\0" in prefix or prefix.startswith("."):
        raise ValueError("the beginning of a file's name: without / and NUL, and not starting with a dot")
    return prefix


def _data_folder(address: str) -> str:
    if not address.strip() or "\0" in address:
        raise ValueError("a path or an address, not empty (. is the working directory) and without NUL")
    return address


class StorageSection(Section):
    """Where data lie when `dataset.data_folder` is not a complete address."""

    storage_type: Annotated[Literal["local_fs", "parallel_fs", "s3", "aistore", "direct_fs"], words()] = (
        "local_fs"
    )
    storage_root: str = "./"
    """A folder that `data_folder` is relative to, or the bucket."""
    storage_options: FreeMapping = Field(default=FrozenDict(), repr=False)
    """Passed on to the storage library, and fsspec's own names too."""
    storage_library: Annotated[Literal["s3dlio", "s3torchconnector", "minio"], words()] | None = None
    post_generation_settle_seconds: Annotated[float, Field(ge=0)] = 0.0


class Hdf5Section(Section):
    """HDF5 layout."""

    chunk_dims: Dims = ()
    num_dset_per_record: Positive = 1
    max_shape: Dims = ()


class Column(Section):
    """One column of a Parquet or Arrow file."""

    name: str
    dtype: str = "float32"
    size: Positive = 1
    read: bool = True
    """False: the column is written, but training does not read it."""


class ParquetSection(Section):
    """Parquet layout."""

    columns: tuple[Column, ...] = ()
    row_group_size: Positive = 1024
    partition_by: Names | None = None
    generation_batch_size: Count = 0
    read_mode: str | None = None
    use_s3dlio_gen: bool = False


class ArrowSection(Section):
    """Arrow IPC layout."""

    columns: tuple[Column, ...] = ()
    generation_batch_size: Count = 0


class DatasetSection(Section):
    """What the data set consists of; the sizes that follow from it are properties."""

    data_folder: Annotated[str, AfterValidator(_data_folder)] = "./data/"
    """A path or an address: ``file://``, ``direct://``, ``s3://``, ``az://`` or any scheme of fsspec."""
    format: Format = "tfrecord"
    num_files_train: Count = 8
    num_files_eval: Count = 0
    num_samples_per_file: Positive = 1
    num_subfolders_train: Count = 0
    num_subfolders_eval: Count = 0
    record_length_bytes: RecordBytes = 65536
    record_length_bytes_stdev: Bytes = 0
    record_length_bytes_resize: Bytes = 0
    record_dims: Dims = ()
    record_element_type: ElementType = "uint8"
    record_element_bytes: Positive = 4
    """Accepted and unused, as in DLIO: the size follows from `record_element_type`."""
    file_prefix: Annotated[str, AfterValidator(_file_prefix)] = "img"
    """What generated files' names begin with; readers pass over names that start with a dot."""
    compression: Compression = "none"
    compression_level: Int = 4
    enable_chunking: bool = False
    chunk_size: Count = 0
    keep_files: bool = True
    generation_buffer_size: Positive = 2 * 1024**3
    hdf5: Hdf5Section = Hdf5Section()
    parquet: ParquetSection = ParquetSection()
    arrow: ArrowSection = ArrowSection()
    data_gen_method: Annotated[Literal["dgen", "numpy"], words()] | None = None
    skip_listing: bool = False
    listing_validation_interval: Count = 1000
    num_files_generated: Count = 0
    align_payload: bool = True
    """dlio_fast: the payload of a generated NPZ or NPY file starts on a 4096-byte boundary of the file."""
    seed: Seed = 123
    """dlio_fast: seed of the generated contents; the default is that of `train.seed`."""

    @model_validator(mode="after")
    def _shapes_agree(self) -> DatasetSection:
        if self.record_dims and self.record_length_bytes_stdev > 0:
            raise ValueError("record_dims fixes the shape: record_length_bytes_stdev must be 0 or absent")
        if self.format in IMAGE_FORMATS and len(self.record_dims) > 2:
            raise ValueError(
                f"{self.format} format does not support more than 2 dimensions, "
                f"but got {len(self.record_dims)} dimensions."
            )
        parts = self.hdf5.num_dset_per_record
        if parts > 1 and (not self.record_dims or self.record_dims[0] % parts):
            raise ValueError(
                f"hdf5.num_dset_per_record = {parts} needs record_dims whose first dimension it divides, "
                f"not {list(self.record_dims)}"
            )
        return self

    @property
    def num_files(self) -> int:
        """Training and evaluation files together; evaluation files are numbered after training files."""
        return self.num_files_train + self.num_files_eval

    @property
    def dtype(self) -> np.dtype:
        """Element type of a record; images are always uint8, as in DLIO."""
        return np.dtype("uint8" if self.format in IMAGE_FORMATS else self.record_element_type)

    @property
    def sizes_are_ragged(self) -> bool:
        """True where files draw their sample sizes, so that samples of different files differ in shape."""
        return not self.record_dims and self.record_length_bytes_stdev > 0

    @property
    def sample_dims(self) -> tuple[int, ...]:
        """Shape of one sample: `record_dims`, or DLIO's square; the mean shape where sizes are ragged."""
        return self.record_dims or (sizes.side(self.record_length_bytes),) * 2

    @property
    def record_nbytes(self) -> int:
        """Bytes of one sample of shape `sample_dims`."""
        return math.prod(self.sample_dims) * self.dtype.itemsize

    def dims_table(self, n_files: int | None = None) -> np.ndarray:
        """Return the sample shape of each of the first `n_files` files (default: all), training files first.

        Returns
        -------
        numpy.ndarray
            int64, shape (n_files, ndim), read-only.
        """
        count = self.num_files if n_files is None else n_files
        if self.sizes_are_ragged:
            return sizes.ragged_sides(self.record_length_bytes, self.record_length_bytes_stdev, count)
        return np.broadcast_to(np.array(self.sample_dims, dtype=np.int64), (count, len(self.sample_dims)))

    def file_dims(self, index: int) -> tuple[int, ...]:
        """Return the shape of the samples in file `index`; evaluation file j is ``num_files_train + j``."""
        if not self.sizes_are_ragged:
            return self.sample_dims
        return tuple(self.dims_table(index + 1)[index].tolist())


def data_address(dataset: DatasetSection, storage: StorageSection, direct: bool) -> str:
    """Return the complete address of the data.

    A `data_folder` with a scheme stands alone (``directio://`` and the like get their usual spelling).
    Otherwise `storage_root` comes first: as a folder, or as the bucket where it is an address of one
    (``s3://bucket``, ``az://container/folder``) or the storage type is s3 or aistore (``bucket``); an
    absolute path stays where it is local. `direct`, or storage type direct_fs, turns a local address into
    ``direct://``.
    """
    scheme, path = split_address(dataset.data_folder)
    root_scheme, root = split_address(storage.storage_root)
    bucket = storage.storage_type in ("s3", "aistore") or backend_of(root_scheme) not in ("file", "direct")
    if not scheme and bucket:
        scheme, root = root_scheme or "s3", root if root_scheme else root.strip("./")
        path = posixpath.join(root, path.removeprefix("./").lstrip("/"))
    elif not scheme:
        scheme, path = root_scheme, posixpath.normpath(posixpath.join(root, path))
    if (direct or storage.storage_type == "direct_fs") and backend_of(scheme) == "file":
        scheme = "direct"
    return f"{backend_of(scheme)}://{path}" if scheme else path
