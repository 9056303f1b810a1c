"""NPZ: a ZIP archive of NPY members, stored or deflated."""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .. import _core
from .._typing import Values
from ..errors import ChecksumError, ClosedError, DataError, MemberError, SampleError
from ..storage.memory import shared_pool
from .base import FieldSpec, FileSpec, Format
from .describing import FileInfo, MemberInfo
from .generating import EncodedGenerator, Generator, LaidOutGenerator
from .layout import FileLayout, npz_layout, write_deflated_npz, write_npz
from .npy import array_over, describe_header, map_array, sample_spec, scratch_bytes, x_shape
from .packing import Packer, Packing

if TYPE_CHECKING:
    from ..config.data import DatasetSection

NPY_MAGIC = b"\x93NUMPY"
STORED = 0
COMPRESSIONS = {STORED: "stored", 8: "deflated"}


class NpzFile(Mapping[str, Any]):
    """The arrays of an NPZ file, each read when asked for; what :func:`numpy.load` returns, by value.

    A mapping of member names (without ``.npy``) to arrays, and a context manager. A member that is no
    array is returned as ``bytes``. Every access reads anew.

    Attributes
    ----------
    files : list of str
        The member names, ``.npy`` removed.
    """

    def __init__(self, archive: _core.Archive, *, mmap: bool = False, verify: bool = True):
        self._archive = archive
        self._lock = threading.Lock()  # the archive serves one thread at a time
        self._mmap = mmap
        self._verify = verify
        self._members = {member["name"]: member for member in archive.members()}
        self.files = [name.removesuffix(".npy") for name in self._members]

    @property
    def path(self) -> str:
        """The file's path."""
        return self._archive.path

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __contains__(self, key: object) -> bool:
        return key in self._members or f"{key}.npy" in self._members

    def __getitem__(self, key: str) -> np.ndarray | bytes:
        member = self._members.get(key) or self._members.get(f"{key}.npy")
        if member is None:
            raise MemberError(
                f"{self.path}: no member {key!r}; it has {', '.join(self.files) or 'none'}", self.path, key
            )
        with self._lock:
            if self._archive.closed:
                raise ClosedError(f"{self.path}: the archive is closed")
            return self._read(key, member)

    def _read(self, key: str, member: _core._Member) -> np.ndarray | bytes:
        stored_name = member["stored_name"]
        if not member["name"].endswith(".npy"):
            raw = bytes(self._archive.read_raw(stored_name, self._verify))
            if not raw.startswith(NPY_MAGIC):
                return raw
        if self._mmap and member["method"] == STORED:
            return map_array(self._archive.header(stored_name), self.path)
        header, buffer = self._archive.read(stored_name, self._verify)
        return array_over(header, buffer, self.path, key)

    def close(self) -> None:
        """Close the file; arrays already read stay valid."""
        with self._lock:
            self._archive.close()

    def __enter__(self) -> NpzFile:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        shown = ", ".join(self.files[:5]) + (", ..." if len(self.files) > 5 else "")
        return f"NpzFile {self.path!r} with keys: {shown}"


def _described(archive: _core.Archive, entry: _core._Member, verify: bool) -> MemberInfo:
    member = MemberInfo(
        name=entry["name"].removesuffix(".npy"),
        compression=COMPRESSIONS.get(entry["method"], f"method {entry['method']}"),
        nbytes=entry["size"],
        packed_nbytes=entry["packed_size"],
        header_offset=entry["header_offset"],
        crc32=f"{entry['crc32']:08x}",
        crc_state="unchecked",
    )
    stored_name = entry["stored_name"]
    try:
        describe_header(member, archive.header(stored_name), archive.path)
    except DataError as error:
        if entry["name"].endswith(".npy"):  # else it may just be no array
            member.problem = str(error)
    if verify and not member.problem:
        try:
            archive.read_raw(stored_name, True)
            member.crc_state = "ok"
        except ChecksumError as error:
            member.crc_state, member.problem = "mismatch", str(error)
        except DataError as error:
            member.problem = str(error)
    return member


class NpzGenerator(LaidOutGenerator):
    """DLIO's NPZ files: `x` with the sample axis last, `y` zeros, both stored."""

    compressions = ("none", "zip")

    def layout(self, index: int) -> FileLayout:
        return npz_layout(x_shape(self, index), self.dtype, self.samples, self.dataset.align_payload)


class DeflatedNpzGenerator(EncodedGenerator):
    """The same members, deflated."""

    compressions = ("none", "zip")

    def nbytes(self) -> npt.NDArray[np.float64]:
        return NpzGenerator(self.dataset).nbytes()

    def encode(self, index: int, file: IO[bytes]) -> None:
        write_deflated_npz(file, x_shape(self, index), self.dtype, self.samples, self.payload(index))

    def matches(self, index: int, file: IO[bytes]) -> bool:
        """Compare the directory: the sizes and checksums in it are those of the contents."""
        try:
            with zipfile.ZipFile(file) as archive:
                members = {member.filename: member for member in archive.infolist()}
        except zipfile.BadZipFile:
            return False
        x, y = members.get("x.npy"), members.get("y.npy")
        if len(members) != 2 or x is None or y is None or x.compress_type != zipfile.ZIP_DEFLATED:
            return False
        layout = npz_layout(x_shape(self, index), self.dtype, self.samples, align=False)
        header = layout.head[layout.crc_from :]
        if x.file_size != len(header) + layout.payload_nbytes:
            return False
        crc = zlib.crc32(header)
        for piece in self.payload(index):
            crc = zlib.crc32(piece, crc)
        return x.CRC == crc


class NpzPacker(Packer):
    """Writes a member a field."""

    compressions = ("none", "zip")

    def pack(self, samples: Mapping[str, Values], file: IO[bytes]) -> None:
        packing = self.packing
        arrays = {name: self.array(name, values) for name, values in samples.items()}
        deflate = packing.compression == "zip"
        write_npz(file, arrays, align=packing.align, deflate=deflate, level=packing.level)


class NpzFormat(Format):
    name = "npz"
    suffixes = (".npz",)
    container = "npz"
    checksums = True

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        archive = _core.Archive(path, shared_pool(), npz=True, direct=direct)
        try:
            members = {m["name"].removesuffix(".npy"): m for m in archive.members()}
            wanted = list(members) if fields is None else list(fields)
            missing = [name for name in wanted if name not in members]
            if missing:
                raise MemberError(
                    f"{path}: no member {missing[0]!r}; it has {', '.join(members) or 'none'}",
                    path, missing[0],
                )  # fmt: skip
            if not wanted:
                reason = "no fields are asked for" if members else "the archive has no members"
                raise MemberError(f"{path}: {reason}", path)
            found, scratch = [], 0
            for name in wanted:
                member = members[name]["stored_name"]
                header = archive.header(member)
                field, samples = sample_spec(name, member, header, path, sample_axis)
                found.append((field, samples))
                scratch = max(scratch, scratch_bytes(header, samples, members[name]["packed_size"]))
        finally:
            archive.close()
        counts = {field.name: samples for field, samples in found}
        if len(set(counts.values())) > 1:
            raise SampleError(f"{path}: the fields disagree about the number of samples: {counts}", path)
        return FileSpec(tuple(field for field, _ in found), found[0][1], scratch)

    def describe(self, path: str, *, direct: bool = False, verify: bool = True) -> FileInfo:
        with closing(_core.Archive(path, shared_pool(), npz=True, direct=direct)) as archive:
            members = [_described(archive, entry, verify) for entry in archive.members()]
            return FileInfo(path, self.name, archive.size, members)

    def generator(self, dataset: DatasetSection, where: str = "dataset") -> Generator:
        return (DeflatedNpzGenerator if dataset.compression == "zip" else NpzGenerator)(dataset, where)

    def packer(self, fields: Sequence[FieldSpec], packing: Packing) -> Packer:
        return NpzPacker(fields, packing, self.name)


FORMAT = NpzFormat()
