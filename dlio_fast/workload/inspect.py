"""What is inside an NPZ or NPY file, for people: members, where their arrays lie, whether checksums hold."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from .. import _core
from ..errors import ChecksumError, DataError, NotRegularFileError
from ..formats.npy import dtype_of
from ..storage.local import Address, local_path
from ..storage.memory import shared_pool

ALIGNMENTS = (4096, 512, 64)
COMPRESSIONS = {0: "stored", 8: "deflated"}


@dataclass
class MemberInfo:
    """One array of a file; of an NPY file, the only one."""

    name: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    order: str | None = None
    """C or F."""
    npy_version: int | None = None
    compression: str = "none"
    nbytes: int = 0
    """Of the array, or of the member where it is no array."""
    packed_nbytes: int = 0
    """In the file, .npy header included."""
    header_offset: int = 0
    """Where in the file the member's local header begins, or the .npy header."""
    payload_offset: int | None = None
    """Where in the file the array's first element lies; None where it is compressed."""
    alignment: dict[str, bool] | None = None
    """Whether the payload begins on a multiple of 4096, 512, 64 bytes."""
    crc32: str | None = None
    """As stored, in hexadecimal."""
    crc_state: str = "none"
    """Whether the contents match it: "ok", "mismatch" or "unchecked"; "none" where the format has none."""
    problem: str | None = None
    """Why the member cannot be read."""


@dataclass
class FileInfo:
    """One file."""

    path: str
    format: str
    """By the first bytes, not by the name: "npz" or "npy"."""
    nbytes: int
    members: list[MemberInfo] = field(default_factory=list)

    @property
    def problems(self) -> list[str]:
        """What is wrong with the members."""
        return [member.problem for member in self.members if member.problem]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def inspect_file(path: Address, *, verify: bool = True) -> FileInfo:
    """Describe an NPZ or NPY file.

    Parameters
    ----------
    path : str or path-like
        A plain path, ``file://`` or ``direct://``.
    verify : bool
        Read the members and check their CRC-32; else headers alone are read.

    Raises
    ------
    NotRegularFileError
        It is a folder, or something else that is no file.
    DataError
        The file as a whole cannot be read; what is wrong with a member is its ``problem``.
    DlioFastOSError
        It cannot be opened or read.
    """
    local, direct = local_path(path)
    if os.path.isdir(local):
        raise NotRegularFileError(
            f"{local}: is a folder; name files in it, such as {os.path.join(local, '*.npz')} "
            "(`dlio-fast bench` reads folders)", local,
        )  # fmt: skip
    with closing(_core.Archive(local, shared_pool(), direct=direct)) as archive:
        info = FileInfo(local, "npz" if archive.npz else "npy", archive.size)
        if archive.npz:
            info.members = [_member(archive, entry, verify) for entry in archive.members()]
        else:
            member = MemberInfo("", packed_nbytes=archive.size)
            _describe(member, archive.header(), local)
            info.members = [member]
    return info


def _member(archive: _core.Archive, entry: _core._Member, verify: bool) -> MemberInfo:
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
        _describe(member, archive.header(stored_name), archive.path)
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


def _describe(member: MemberInfo, header: _core._NpyHeader, path: str) -> None:
    """Fill in what the .npy header says."""
    member.dtype = str(dtype_of(header, path, member.name or None))
    member.shape = header["shape"]
    member.order = "F" if header["fortran_order"] else "C"
    member.npy_version = header["version"]
    member.nbytes = header["nbytes"]
    offset = member.payload_offset = header["file_offset"]
    if offset is not None:
        member.alignment = {str(step): offset % step == 0 for step in ALIGNMENTS}
