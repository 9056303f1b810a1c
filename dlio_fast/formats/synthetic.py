"""Synthetic: samples that are made, not read.

DLIO's files of this format are texts that hold their number; its reader opens none of them
(reader/synthetic_reader.py). Here, too, nothing of the storage is touched but that the files are listed: a
sample has the shape and element type of the configuration, and contents that follow from the seed
(``dataset.seed``) and from its number in the data set. It shows what everything but storage costs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._typing import Array
from ..errors import MemberError
from .base import FieldSpec, FileSpec, Format, Reader
from .generating import Generator, LaidOutGenerator, fill_kind
from .layout import FileLayout

if TYPE_CHECKING:
    from ..config import Config
    from ..config.data import DatasetSection

FIELD = "x"
"""What the one array of a sample is called."""

STREAM = 1 << 63
"""Where the random streams of samples begin: beyond those of the files of generated data sets."""


class SyntheticGenerator(LaidOutGenerator):
    """DLIO's files: each holds its number, in digits."""

    def layout(self, index: int) -> FileLayout:
        return FileLayout(str(index).encode(), 0)

    def payload_nbytes(self) -> npt.NDArray[np.float64]:
        return np.zeros(len(self))


class SyntheticFormat(Format):
    """Samples that follow from their number.

    Without a configuration they are DLIO's by default: one a file, uint8, (256, 256).
    """

    name = "synthetic"
    suffixes = (".synthetic",)
    container = "maker"

    def __init__(
        self,
        dtype: np.dtype[Any] | str = "uint8",
        dims: tuple[int, ...] = (256, 256),
        samples: int = 1,
        seed: int = 123,
    ):
        self.dtype, self.dims, self.samples, self.seed = np.dtype(dtype), dims, samples, seed

    def configured(self, config: Config) -> SyntheticFormat:
        dataset = config.dataset
        return SyntheticFormat(dataset.dtype, dataset.sample_dims, dataset.num_samples_per_file, dataset.seed)

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        if fields is not None and list(fields) != [FIELD]:
            raise MemberError(f"{path}: samples have the one field {FIELD!r}, not {list(fields)}", path)
        field = FieldSpec(FIELD, self.dtype, self.dims, b"", self.dtype.str.encode())
        return FileSpec((field,), self.samples)

    def reader(self, spec: FileSpec, cache_bytes: int) -> Reader:
        return SyntheticReader(self)

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return SyntheticGenerator(dataset, where)


class SyntheticReader:
    """Makes samples; see :class:`SyntheticFormat`."""

    def __init__(self, format: SyntheticFormat):
        self._format = format
        self._kind = fill_kind(format.dtype, "dataset.record_element_type")

    def read(self, task: _core.Task) -> Sequence[Array]:
        """Return the samples of a task."""
        format = self._format
        nbytes = math.prod(format.dims) * format.dtype.itemsize
        made = np.empty((len(task.samples), nbytes), np.uint8)
        for row, sample in zip(made, task.samples, strict=True):
            stream = STREAM + task.file * format.samples + sample
            _core.fill(row, format.seed, stream, 0, self._kind)
        return [made.view(format.dtype).reshape(-1, *format.dims)]


FORMAT = SyntheticFormat()
