"""NPY: one array a file (numpy.lib.format, versions 1.0 to 3.0)."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import IO, TYPE_CHECKING, Literal

import numpy as np

from .. import _core
from .._typing import Values
from ..errors import FormatError, MemberError, SampleError
from ..storage.memory import shared_pool
from .base import FieldSpec, FileSpec, Format
from .describing import FileInfo, MemberInfo
from .generating import Generator, LaidOutGenerator
from .layout import FileLayout, npy_layout, raw
from .packing import Packer, Packing

if TYPE_CHECKING:
    from ..config.data import DatasetSection

FIELD = "x"
"""What the one array of an NPY file is called."""


def dtype_of(header: _core._NpyHeader, path: str, member: str | None = None) -> np.dtype:
    """The numpy dtype of a parsed header; object dtypes never get here, the core refuses them."""
    text = header["descr"].decode("utf-8" if header["version"] >= 3 else "latin-1")
    try:
        if text.startswith(("[", "(")):
            dtype = np.lib.format.descr_to_dtype(ast.literal_eval(text))
        else:
            dtype = np.dtype(text)
    except (TypeError, ValueError, SyntaxError) as error:
        raise FormatError(f"{path}: numpy knows no dtype {text!r} ({error})", path, member) from None
    if dtype.hasobject or dtype.itemsize != header["itemsize"]:
        raise FormatError(f"{path}: the dtype {text!r} is not what its header says", path, member)
    return dtype


def array_over(
    header: _core._NpyHeader, buffer: _core.Buffer, path: str, member: str | None = None
) -> np.ndarray:
    """The array of a parsed header over the buffer that holds its payload; the array keeps it alive."""
    dtype = dtype_of(header, path, member)
    return np.ndarray(header["shape"], dtype, buffer, order=_order(header))  # type: ignore[arg-type]


def _order(header: _core._NpyHeader) -> Literal["C", "F"]:
    return "F" if header["fortran_order"] else "C"


def sample_spec(
    name: str, member: bytes, header: _core._NpyHeader, path: str, sample_axis: int | None
) -> tuple[FieldSpec, int]:
    """The field that a header describes, and how many samples its array holds."""
    shape, samples = list(header["shape"]), 1
    if sample_axis is not None:
        try:
            samples = shape.pop(sample_axis)
        except IndexError:
            raise SampleError(
                f"{path}: {name!r} has shape {header['shape']}, without an axis {sample_axis} for samples",
                path, member.decode("utf-8", "replace") or None,
            ) from None  # fmt: skip
    dtype = dtype_of(header, path, member.decode("utf-8", "replace") or None)
    return FieldSpec(name, dtype, tuple(shape), member, header["descr"]), samples


def scratch_bytes(header: _core._NpyHeader, samples: int, packed_size: int = 0) -> int:
    """Bytes beside the samples' own that reading an array takes; see :class:`FileSpec`."""
    deflated = header["file_offset"] is None
    copied_out = samples > 1 or (header["fortran_order"] and len(header["shape"]) > 1)
    return (packed_size if deflated else 0) + (header["nbytes"] if copied_out else 0)


def load_npy(archive: _core.Archive, *, mmap: bool) -> np.ndarray:
    """Read an open NPY file whole, or map it."""
    if mmap:
        return map_array(archive.header(), archive.path)
    header, buffer = archive.read()
    return array_over(header, buffer, archive.path)


def map_array(header: _core._NpyHeader, path: str) -> np.ndarray:
    """A read-only memory map of a payload that lies uncompressed in the file."""
    dtype, order = dtype_of(header, path), _order(header)
    if not header["nbytes"]:
        return np.ndarray(header["shape"], dtype, order=order)  # np.empty makes S1 of S0
    return np.memmap(path, dtype, "r", header["file_offset"] or 0, header["shape"], order)


def x_shape(generator: Generator, index: int) -> tuple[int, ...]:
    """The shape of `x` in file `index` of a generated data set: the sample axis is the last."""
    return (*generator.file_dims(index), generator.samples)


def describe_header(member: MemberInfo, header: _core._NpyHeader, path: str) -> None:
    """Fill in what an .npy header says."""
    member.dtype = str(dtype_of(header, path, member.name or None))
    member.shape = header["shape"]
    member.order = _order(header)
    member.npy_version = header["version"]
    member.nbytes = header["nbytes"]
    if header["file_offset"] is not None:
        member.lie_at(header["file_offset"])


class NpyGenerator(LaidOutGenerator):
    """DLIO's NPY files: `x` with the sample axis last, uncompressed."""

    def layout(self, index: int) -> FileLayout:
        return npy_layout(x_shape(self, index), self.dtype, self.dataset.align_payload)


class NpyPacker(Packer):
    """Writes an array a file."""

    one_field = True

    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        [(name, values)] = samples.items()
        array = self.array(name, values)
        file.write(npy_layout(array.shape, array.dtype, self.packing.align).head)
        file.write(raw(array))


class NpyFormat(Format):
    name = "npy"
    suffixes = (".npy",)
    container = "npy"

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        if fields is not None and list(fields) != [FIELD]:
            raise MemberError(f"{path}: an NPY file has the one field {FIELD!r}, not {list(fields)}", path)
        archive = _core.Archive(path, shared_pool(), npz=False, direct=direct)
        try:
            header = archive.header()
            field, samples = sample_spec(FIELD, b"", header, path, sample_axis)
        finally:
            archive.close()
        return FileSpec((field,), samples, scratch_bytes(header, samples))

    def describe(self, path: str, *, direct: bool = False, verify: bool = True) -> FileInfo:
        with closing(_core.Archive(path, shared_pool(), npz=False, direct=direct)) as archive:
            member = MemberInfo("", packed_nbytes=archive.size)
            describe_header(member, archive.header(), path)
            return FileInfo(path, self.name, archive.size, [member])

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return NpyGenerator(dataset, where)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return NpyPacker(fields, packing, self.name)


FORMAT = NpyFormat()
