"""The interface of what writes given samples as files of a format: the other end of a conversion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, ClassVar

import numpy as np

from .._typing import Array, Values
from ..errors import ConfigError, SampleError
from .generating import check_choice

if TYPE_CHECKING:
    from .base import FieldSpec


@dataclass(frozen=True)
class Packing:
    """How files are to be written.

    Attributes
    ----------
    samples : int
        Samples of each file.
    sample_axis : int, optional
        The axis along which the samples of a file lie, in formats that leave it open; None: the file is one
        sample.
    compression : str
        As ``dataset.compression`` calls it.
    level : int, optional
        Of the compression, where it has levels.
    align : bool
        Payloads begin on 4096-byte boundaries of the file, where the format permits it.
    lossy : bool
        A format that cannot give back the exact values will do.
    """

    samples: int = 1
    sample_axis: int | None = None
    compression: str = "none"
    level: int | None = None
    align: bool = True
    lossy: bool = False


class Packer(ABC):
    """Writes samples as files of one format; :meth:`Format.packer` gives it. Several threads use it at once.

    Parameters
    ----------
    fields : sequence of FieldSpec
        What a sample consists of, as the format calls it.
    packing : Packing
    name : str
        The format's name.

    Attributes
    ----------
    compressions : tuple of str
        What of ``Packing.compression`` it can write.
    one_field, one_sample : bool
        A file holds one array, or one sample, only.
    exact : bool
        What is read back is what was written.

    Raises
    ------
    ConfigError
        The format cannot hold such samples.
    """

    compressions: ClassVar[tuple[str, ...]] = ("none",)
    one_field: ClassVar[bool] = False
    one_sample: ClassVar[bool] = False
    exact: ClassVar[bool] = True

    def __init__(self, fields: Sequence[FieldSpec], packing: Packing, name: str):
        check_choice("compression", packing.compression, self.compressions)
        self.fields, self.packing, self.name = tuple(fields), packing, name
        if self.one_field and len(fields) != 1:
            raise ConfigError(
                f"a file of format {name} holds one field: choose it of {', '.join(f.name for f in fields)}"
            )
        if self.one_sample and packing.samples != 1:
            raise ConfigError(f"a file of format {name} holds one sample, not {packing.samples}")
        if not self.exact and not packing.lossy:
            raise ConfigError(f"format {name} does not keep the exact values; allow that, or choose another")

    def nbytes(self) -> int:
        """Return the bytes of a file, estimated: of the samples alone where nothing better is known."""
        return self.packing.samples * sum(field.nbytes for field in self.fields)

    @abstractmethod
    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        """Write a file's samples to a file object, the same bytes for the same samples.

        Parameters
        ----------
        samples : mapping
            Field -> array of shape (N, *sample shape), or a list of N arrays where they differ in shape.
        file : file object
            Empty; can be read and sought in too.
        """

    def companion_names(self, name: str) -> tuple[str, ...]:
        """Return the names of the index files that belong to a file; see :class:`Generator`."""
        return ()

    def companions(self, name: str, samples: Mapping[str, Values]) -> dict[str, bytes]:
        """Return the contents of the index files that belong to a file of these samples, by their names."""
        return {}

    def array(self, name: str, values: Values) -> Array:
        """Return a field's samples as the one array that a file of NPZ's kind holds: see ``sample_axis``."""
        stacked = self.stacked(name, values)
        if self.packing.sample_axis is None:
            return stacked[0, ...]
        axis = self.packing.sample_axis
        return np.moveaxis(stacked, 0, axis) if stacked.ndim else stacked

    def stacked(self, name: str, values: Values) -> Array:
        """Return a field's samples as one array; SampleError where they differ in shape or dtype."""
        if isinstance(values, np.ndarray):
            return values
        kinds = {(value.dtype, value.shape) for value in values}
        if len(kinds) > 1:
            shown = " and ".join(sorted(f"{dtype} {shape}" for dtype, shape in kinds)[:2])
            raise SampleError(
                f"samples of {name!r} differ ({shown}), which one file of {self.name} cannot hold"
            )
        return np.stack(values)
