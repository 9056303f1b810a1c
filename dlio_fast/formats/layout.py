"""The bytes around the payload of a generated NPZ or NPY file, exactly as numpy lays them out.

An NPZ file has the members `x` and `y` as :func:`numpy.savez` writes them: stored, with ZIP64 fields in the
local headers. The payload of `x` is what lies between head and tail; `y`, int64 zeros, is part of the tail.

With `align` the payload starts on a 4096-byte boundary of the file, so that it can be read past the page
cache straight to where it is wanted. The bytes that this takes are an extra field of the ZIP member, or
spaces at the end of the .npy header; both are plain files to every reader.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format

from .. import _core
from .._typing import Array

ALIGNMENT = 4096

# APPNOTE 4.3 and 4.5; what is not named is zero.
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_CENTRAL = struct.Struct("<4sBBHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_CRC_IN_LOCAL = 14
_CRC_IN_CENTRAL = 16
_VERSION = 45  # of ZIP64
_UNIX = 3
_DATE = 1 << 5 | 1  # 1 January 1980, as zipfile has it where none is given
_MODE = 0o600 << 16
_ZIP64_FIELD = 0x0001
_ALIGNMENT_FIELD = 0xD935  # Android's zipalign: a 16-bit alignment and zeros
_LEAST_PAD = 6  # the extra field's id, length and alignment
_UTF8 = 1 << 11
_ZIP64_LIMIT = 2**31 - 1  # Python's zipfile is more careful than the format's 2**32 - 1
_IN_ZIP64 = 0xFFFFFFFF


@dataclass(frozen=True)
class FileLayout:
    """A file as head, payload, tail; the checksum of head[crc_from:] and payload is yet to be put in."""

    head: bytes
    payload_nbytes: int
    tail: bytes = b""
    crc_from: int = 0
    crc_in_head: int | None = None
    crc_in_tail: int | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the whole file."""
        return len(self.head) + self.payload_nbytes + len(self.tail)


def npy_header(shape: tuple[int, ...], dtype: np.dtype) -> bytes:
    """Return the .npy header that numpy writes for a C-ordered array."""
    out = io.BytesIO()
    descr = npy_format.dtype_to_descr(dtype)
    npy_format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue()


@lru_cache(maxsize=8)  # a data set has one layout, or one a file
def npy_layout(shape: tuple[int, ...], dtype: np.dtype, align: bool) -> FileLayout:
    """Lay out an NPY file of one array."""
    head = npy_header(shape, dtype)
    if align:
        pad = -len(head) % ALIGNMENT
        fixed = len(npy_format.MAGIC_PREFIX) + 2 + 2  # magic, version, length
        length = struct.pack("<H", len(head) + pad - fixed)
        head = head[: fixed - 2] + length + head[fixed:-1] + b" " * pad + b"\n"
    return FileLayout(head, _nbytes(shape, dtype))


@lru_cache(maxsize=8)  # a data set has one layout, or one a file
def npz_layout(shape: tuple[int, ...], dtype: np.dtype, n_samples: int, align: bool) -> FileLayout:
    """Lay out an NPZ file of `x`, of that shape and dtype, and `y`, int64 zeros of shape (n_samples,)."""
    x_header = npy_header(shape, dtype)
    x_nbytes = len(x_header) + _nbytes(shape, dtype)
    y = _y_npy(n_samples)
    y_crc = zlib.crc32(y)

    local = _local_header(b"x.npy", x_nbytes, 0)
    pad = -(len(local) + len(x_header)) % ALIGNMENT if align else 0
    local = _local_header(b"x.npy", x_nbytes, 0, pad)
    y_start = len(local) + x_nbytes
    y_member = _local_header(b"y.npy", len(y), y_crc) + y
    directory_start = y_start + len(y_member)
    directory = _central_header(b"x.npy", x_nbytes, 0, 0) + _central_header(b"y.npy", len(y), y_crc, y_start)
    return FileLayout(
        head=local + x_header,
        payload_nbytes=x_nbytes - len(x_header),
        tail=y_member + directory + _end_records(2, directory_start, len(directory)),
        crc_from=len(local),
        crc_in_head=_CRC_IN_LOCAL,
        crc_in_tail=len(y_member) + _CRC_IN_CENTRAL,
    )


def write_deflated_npz(
    path_or_file: str | IO[bytes],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    n_samples: int,
    payload: Iterable[Any],
) -> None:
    """Write the same members compressed, as :func:`numpy.savez_compressed` does.

    `payload` yields the bytes of `x` in pieces, of which one is in memory at a time.
    """
    with zipfile.ZipFile(path_or_file, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            member.write(npy_header(shape, dtype))
            for piece in payload:
                member.write(piece)
        with archive.open("y.npy", "w", force_zip64=True) as member:
            member.write(_y_npy(n_samples))


def write_npz(
    file: IO[bytes],
    arrays: Mapping[str, Array],
    *,
    align: bool,
    deflate: bool = False,
    level: int | None = None,
) -> None:
    """Write arrays as :func:`numpy.savez` does.

    With `align` each payload that is worth it, of 4096 bytes or more, begins on a 4096-byte boundary.
    """
    if deflate:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    member.write(npy_header(array.shape, array.dtype))
                    member.write(raw(array))
        return
    position, directory = 0, b""
    for name, array in arrays.items():
        header, payload, member_name = (
            npy_header(array.shape, array.dtype),
            raw(array),
            f"{name}.npy".encode(),
        )
        nbytes, crc = len(header) + len(payload), _core.crc32(payload, zlib.crc32(header))
        start = position + len(_local_header(member_name, nbytes, crc)) + len(header)
        pad = -start % ALIGNMENT if align and len(payload) >= ALIGNMENT else 0
        pad += ALIGNMENT if 0 < pad < _LEAST_PAD else 0
        local = _local_header(member_name, nbytes, crc, pad)
        directory += _central_header(member_name, nbytes, crc, position)
        for part in (local, header, payload):
            file.write(part)
            position += len(part)
    file.write(directory)
    file.write(_end_records(len(arrays), position, len(directory)))


def raw(array: Array) -> memoryview:
    """Return the bytes of an array in C order."""
    if not array.nbytes:
        return memoryview(b"")
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _y_npy(n_samples: int) -> bytes:
    return npy_header((n_samples,), np.dtype(np.int64)) + bytes(8 * n_samples)


def _nbytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return math.prod(shape) * dtype.itemsize


def _local_header(name: bytes, nbytes: int, crc: int, pad: int = 0) -> bytes:
    extra = struct.pack("<HHQQ", _ZIP64_FIELD, 16, nbytes, nbytes)
    if pad:
        # of a file's first member it is never less, with numpy's 64-byte steps
        assert pad >= _LEAST_PAD
        extra += struct.pack("<HHH", _ALIGNMENT_FIELD, pad - 4, ALIGNMENT) + bytes(pad - 6)
    fields = (_VERSION, _name_flag(name), 0, 0, _DATE, crc, _IN_ZIP64, _IN_ZIP64, len(name), len(extra))
    return _LOCAL.pack(b"PK\3\4", *fields) + name + extra


def _central_header(name: bytes, nbytes: int, crc: int, start: int) -> bytes:
    large = [nbytes, nbytes] if nbytes > _ZIP64_LIMIT else []
    size = _IN_ZIP64 if large else nbytes
    if start > _ZIP64_LIMIT:
        large.append(start)
        start = _IN_ZIP64
    extra = struct.pack(f"<HH{len(large)}Q", _ZIP64_FIELD, 8 * len(large), *large) if large else b""
    flag = _name_flag(name)
    fields = (_VERSION, _UNIX, _VERSION, flag, 0, 0, _DATE, crc, size, size, len(name), len(extra), 0, 0, 0)
    return _CENTRAL.pack(b"PK\1\2", *fields, _MODE, start) + name + extra


def _name_flag(name: bytes) -> int:
    return 0 if name.isascii() else _UTF8


def _end_records(count: int, start: int, size: int) -> bytes:
    end64 = b""
    if start > _ZIP64_LIMIT:
        record = (44, _VERSION, _VERSION, 0, 0, count, count, size, start)
        end64 = _END64.pack(b"PK\6\6", *record) + _LOCATOR64.pack(b"PK\6\7", 0, start + size, 1)
        start = min(start, _IN_ZIP64)
    return end64 + _END.pack(b"PK\5\6", 0, 0, count, count, size, start, 0)
