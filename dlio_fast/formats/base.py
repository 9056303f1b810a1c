"""The interface of a file format, and the register of those there are."""

from __future__ import annotations

import importlib
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .. import _core
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..config import Config
    from ..config.data import DatasetSection
    from .describing import FileInfo
    from .generating import Generator
    from .packing import Packer, Packing


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
        The dtype literal as the file writes it; by default as an NPY file would.
    """

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    member: bytes = b""
    descr: bytes = b""

    def __post_init__(self) -> None:
        if not self.descr:
            object.__setattr__(self, "descr", _core.dtype_literal(self.dtype))

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
        member, the whole array where samples are copied out of it, what a decoder holds at once.
    apart : bool
        Each sample is read without any other: there is nothing to be kept of a file for its others.
    """

    fields: tuple[FieldSpec, ...]
    samples: int
    scratch_bytes: int = 0
    apart: bool = False


class Role(str):
    """What stands for a field that each format calls otherwise."""


PAYLOAD, LABEL = Role("payload"), Role("label")


class Format(ABC):
    """A file format. An instance stands for it with its options; it is picklable.

    Attributes
    ----------
    name : str
        As DLIO's ``dataset.format`` calls it.
    suffixes : tuple of str
        Of its files, the one that is written first.
    container : str
        What of the core reads it, see csrc/dlf_containers.h.
    payload, label : str
        The fields that stand for a sample and its label where a user names none.
    checksums : bool
        Whether the files vouch for their samples' bytes, and reading these notices what does not match.
    """

    name: str
    suffixes: tuple[str, ...]
    container: str
    payload: str = "x"
    label: str = "y"
    checksums: bool = False

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
            The axis along which the samples lie, in formats that leave it open; None: the file is one sample.
        direct : bool
            Bypass the page cache.
        """

    def field(self, name: str) -> str:
        """Return what this format calls a field; a Role as it is where that depends on the files."""
        return getattr(self, name) if isinstance(name, Role) else name

    def configured(self, config: Config) -> Format:
        """Return the format with the options that a configuration has for it."""
        return self

    def reader(self, spec: FileSpec, cache_bytes: int) -> Reader | None:
        """Return what reads samples in Python, on the ring's threads; None: the core does.

        Parameters
        ----------
        spec : FileSpec
            What :meth:`inspect` said of the first file.
        cache_bytes : int
            How much of files it may keep, for samples of theirs that later batches will want.
        """
        return None

    def describe(self, path: str, *, direct: bool = False, verify: bool = True) -> FileInfo:
        """Say what is inside a file, for ``dlio-fast inspect``; by default what :meth:`inspect` says.

        Parameters
        ----------
        path : str
        direct : bool
            Bypass the page cache.
        verify : bool
            Read everything, and see whether it is whole; else headers alone are read.
        """
        from .describing import describe_samples

        return describe_samples(self, path, direct=direct, verify=verify)

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        """Return what makes the files of a configuration's ``dataset`` section, which messages call `where`.

        Raises ConfigError where it asks for what the format cannot hold. A format that does not define this
        cannot be generated.
        """
        raise ConfigError(f"{where}.format: {self.name!r} cannot be generated")

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        """Return what writes given samples, of these fields, as files.

        Raises ConfigError where the format cannot hold them. A format that does not define this cannot be
        converted to.
        """
        raise ConfigError(f"format {self.name!r} cannot be converted to")


class Reader(Protocol):
    """Reads samples in Python; see the core's ``Plan``, which may ask for a second method, ``learn``.

    One that keeps something for later batches may have a method ``forget()``, which is called when a pass is
    over, in any thread and also by the collector.
    """

    def read(self, task: _core.Task) -> Sequence[Any] | None:
        """Return the samples of a task: for each field an array of all, or a list of arrays.

        Or put them, with ``task.put``, and return None.
        """
        ...


_BUILT_IN: dict[str, tuple[str, ...]] = {
    "npz": (".npz",),
    "npy": (".npy",),
    "indexed_binary": (".indexed_binary",),
    "mmap_indexed_binary": (".mmap_indexed_binary",),
    "synthetic": (".synthetic",),
    "tfrecord": (".tfrecord", ".tfrecords"),
    "csv": (".csv",),
    "jpeg": (".jpeg", ".jpg"),
    "png": (".png",),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".feather"),
    "hdf5": (".hdf5", ".h5"),
}
"""Formats of this package, each in the module of its name, and their suffixes."""

_formats: dict[str, Format] = {}


@cache
def _plugins() -> dict[str, EntryPoint]:
    """What other packages have registered, by the name of the format."""
    return {entry.name: entry for entry in entry_points(group="dlio_fast.formats")}


def register(format: Format) -> None:
    """Make a format known in this process, in place of one of the same name.

    Packages do it by an entry point of the group ``dlio_fast.formats``: its name is the format's, its object
    the :class:`Format`.
    """
    _formats[format.name] = format


def format_names() -> tuple[str, ...]:
    """The formats that can be read."""
    return tuple(dict.fromkeys([*_BUILT_IN, *_formats, *_plugins()]))


def format_named(name: str) -> Format:
    """The format of that name. Raises ConfigError for one that dlio_fast cannot read."""
    if name not in _formats:
        if name in _BUILT_IN:
            register(importlib.import_module(f".{name}", __package__).FORMAT)
        elif name in _plugins():
            _formats[name] = _loaded(_plugins()[name])
        else:
            raise ConfigError(f"format {name!r} is not supported; supported: {', '.join(format_names())}")
    return _formats[name]


def _loaded(entry: EntryPoint) -> Format:
    whose = f"format {entry.name!r}, registered as {entry.value}"
    try:
        loaded = entry.load()
    except Exception as error:  # whatever another package does wrong
        raise ConfigError(f"{whose}, cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(loaded, Format) or loaded.name != entry.name:
        raise ConfigError(f"{whose}: it must be a dlio_fast.formats.Format of that name, not {loaded!r}")
    return loaded


def known_formats(*, built_in: bool = True) -> dict[str, Format]:
    """All formats by name; those of other packages that cannot be loaded are left out, with a warning."""
    found = {}
    for name in format_names():
        if built_in or name not in _BUILT_IN:
            try:
                found[name] = format_named(name)
            except ConfigError as error:
                warnings.warn(str(error), stacklevel=2)
    return found


def suffixes() -> dict[str, str]:
    """The suffixes of all formats, and whose they are; the formats of this package need not be loaded."""
    others = {name: format.suffixes for name, format in known_formats(built_in=False).items()}
    return {suffix: name for name, own in (others | _BUILT_IN).items() for suffix in own}


def format_for(path: str) -> Format:
    """The format that a file's suffix names. Raises ConfigError where it names none."""
    suffix = os.path.splitext(path)[1].lower()
    known = suffixes()
    if suffix not in known:
        raise ConfigError(
            f"{path}: the suffix names no supported format ({', '.join(known)}); say which with format=, "
            f"or, if it is a list of files, call it .txt or .manifest"
        )
    return format_named(known[suffix])
