"""The interface of a file format, and the register of those there are."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError


@dataclass(frozen=True)
class FieldSpec:
    """One array of a sample.

    Attributes
    ----------
    name : str
        What a batch calls it.
    dtype : numpy.dtype
    shape : tuple of int
        Of one sample.
    member : bytes
        The archive member that holds it, b"" where the file is the array.
    descr : bytes
        The dtype literal as the file writes it.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    member: bytes
    descr: bytes

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=object))


@dataclass(frozen=True)
class FileSpec:
    """What one file holds.

    Attributes
    ----------
    fields : tuple of FieldSpec
    samples : int
    scratch_bytes : int
        Memory that reading the file takes beside its samples' own: the packed bytes of a deflated
        member, the whole array where samples are copied out of it.
    """

    fields: tuple[FieldSpec, ...]
    samples: int
    scratch_bytes: int = 0


class Format(ABC):
    """A file format.

    Attributes
    ----------
    name : str
        As DLIO's ``dataset.format`` calls it.
    suffix : str
        Of its files.
    """

    name: str
    suffix: str

    @abstractmethod
    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        """Read a file's headers and say what a sample of it looks like. Reads no payload.

        Parameters
        ----------
        path : str
        fields : sequence of str, optional
            Which arrays make up a sample; default all.
        sample_axis : int, optional
            The axis along which the samples lie; None: the file is one sample.
        direct : bool
            Bypass the page cache.
        """


_MODULES = {"npz": "npz", "npy": "npy"}
_FORMATS: dict[str, Format] = {}


def format_names() -> tuple[str, ...]:
    """The formats that can be read and written."""
    return tuple(_MODULES)


def format_named(name: str) -> Format:
    """The format of that name. Raises ConfigError for one that dlio_fast cannot read."""
    if name not in _MODULES:
        raise ConfigError(f"format {name!r} is not supported; supported: {', '.join(_MODULES)}")
    if name not in _FORMATS:
        _FORMATS[name] = importlib.import_module(f".{_MODULES[name]}", __package__).FORMAT
    return _FORMATS[name]


def format_for(path: str) -> Format:
    """The format that a file's suffix names. Raises ConfigError where it names none."""
    suffix = os.path.splitext(path)[1].lower().lstrip(".")
    if suffix not in _MODULES:
        known = ", ".join("." + name for name in _MODULES)
        raise ConfigError(
            f"{path}: the suffix names no supported format ({known}); say which with format=, "
            f"or, if it is a list of files, call it .txt or .manifest"
        )
    return format_named(suffix)
