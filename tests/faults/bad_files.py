"""Bad NPZ and NPY files by name: what to write, and what reading it must raise."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np

from dlio_fast.errors import (
    ChecksumError,
    DataError,
    FormatError,
    TruncatedError,
    UnsupportedError,
)

X = np.random.default_rng(1).integers(0, 256, (50, 40), dtype=np.uint8)
"""What a good file of :func:`good_npz` or :func:`good_npy` holds."""

LOCAL, ENTRY, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"


def good_npy(array: np.ndarray = X) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def good_npz(compressed: bool = False, **arrays) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, **(arrays or {"x": X}))
    return out.getvalue()


def npy(header: str | bytes, payload: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    """An .npy put together by hand; length lies about the header's."""
    text = header.encode("latin-1") if isinstance(header, str) else header
    size = len(text) if length is None else length
    return (
        b"\x93NUMPY"
        + bytes([version, 0])
        + struct.pack("<H" if version == 1 else "<I", size)
        + text
        + payload
    )


def described(descr="'|u1'", order="False", shape="(50, 40)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}"


def npz(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def patched(data: bytes, signature: bytes, at: int, new: bytes, nth: int = 0) -> bytes:
    """data with new in place of what lies at bytes behind the nth signature."""
    begin = -1
    for _ in range(nth + 1):
        begin = data.index(signature, begin + 1)
    begin += at
    return data[:begin] + new + data[begin + len(new) :]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def u16(n: int) -> bytes:
    return struct.pack("<H", n)


def u32(n: int) -> bytes:
    return struct.pack("<I", n)


def overlapping() -> bytes:
    """Two names for the same bytes of the file: the second entry is the first under another name."""
    data = npz(("x.npy", good_npy()), ("y.npy", good_npy()))
    return patched(data, ENTRY, 42, u32(0), nth=1)


def quine_like() -> bytes:
    """The second member's data begin inside the first's."""
    inner = npz(("y.npy", good_npy()))
    return patched(npz(("x.npy", good_npy()), ("y.npy", inner)), ENTRY, 42, u32(100), nth=1)


def bomb(behind: int) -> bytes:
    """A deflated member whose array is followed by so many zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = packer.compress(good_npy())
    crc, size, block = zlib.crc32(good_npy()), len(good_npy()), bytes(1 << 20)
    for _ in range(behind >> 20):
        packed += packer.compress(block)
        crc, size = zlib.crc32(block, crc), size + len(block)
    packed += packer.flush()
    name = b"x.npy"
    fields = struct.pack("<HHHHIIIHH", 0, 8, 0, 0x21, crc, len(packed), size, len(name), 0)
    local = LOCAL + u16(20) + fields + name
    entry = ENTRY + u16(20) + u16(20) + fields + u16(0) * 3 + u32(0) * 2 + name
    end = END + u16(0) * 2 + u16(1) * 2 + u32(len(entry)) + u32(len(local) + len(packed)) + u16(0)
    return local + packed + entry + end


GOOD, PACKED = good_npz(), good_npz(compressed=True)
PAYLOAD = GOOD.index(X.tobytes()[:32])
DIRECTORY, END_AT = GOOD.index(ENTRY), GOOD.index(END)
HUGE = "9223372036854775807"

NPZ: dict[str, tuple[bytes, type]] = {
    "empty": (b"", FormatError),
    "one byte": (b"P", FormatError),
    "only a signature": (LOCAL, TruncatedError),
    "garbage": (np.random.default_rng(2).bytes(5000), FormatError),
    "zeros": (bytes(100_000), FormatError),
    "text": (b"hello, world\n" * 100, FormatError),
    "an npy of that name": (b"PK" + good_npy(), FormatError),
    "cut inside the local header": (GOOD[:20], TruncatedError),
    "cut inside the payload": (GOOD[: PAYLOAD + 100], TruncatedError),
    "cut before the directory": (GOOD[:DIRECTORY], TruncatedError),
    "cut inside the directory": (GOOD[: DIRECTORY + 10], TruncatedError),
    "cut before the end record": (GOOD[:END_AT], TruncatedError),
    "cut inside the end record": (GOOD[:-1], TruncatedError),
    "no members": (npz(), FormatError),
    "a flipped payload": (flipped(GOOD, PAYLOAD + 1000), ChecksumError),
    "a flipped last byte": (flipped(GOOD, PAYLOAD + X.nbytes - 1), ChecksumError),
    "a flipped checksum": (patched(GOOD, ENTRY, 16, b"\0\0\0\0"), ChecksumError),
    "a flipped packed byte": (flipped(PACKED, len(PACKED) // 3), (ChecksumError, FormatError)),
    "a flipped packed checksum": (patched(PACKED, ENTRY, 16, b"\0\0\0\0"), ChecksumError),
    "no local signature": (patched(GOOD, LOCAL, 0, b"XX"), FormatError),
    "another local name": (patched(GOOD, LOCAL, 30, b"z"), FormatError),
    "another local method": (patched(GOOD, LOCAL, 8, u16(8)), FormatError),
    "a local extra field beyond its place": (patched(GOOD, LOCAL, 28, u16(65535)), FormatError),
    "no directory signature": (patched(GOOD, ENTRY, 0, b"XX"), FormatError),
    "a directory beyond the file": (patched(GOOD, END, 16, u32(0x7FFFFFFF)), FormatError),
    "a directory larger than the file": (patched(GOOD, END, 12, u32(0x7FFFFFFF)), FormatError),
    "more members than the directory holds": (patched(GOOD, END, 8, u16(9) * 2), FormatError),
    "65535 members": (patched(GOOD, END, 8, u16(65535) * 2), FormatError),
    "several disks": (patched(GOOD, END, 4, u16(1)), UnsupportedError),
    "a member beyond the file": (patched(GOOD, ENTRY, 42, u32(0x7FFFFFF0)), FormatError),
    "a packed size beyond the file": (patched(GOOD, ENTRY, 20, u32(0x7FFFFFFF) * 2), FormatError),
    "a size that packing cannot reach": (patched(PACKED, ENTRY, 24, u32(0x7FFFFFFF)), FormatError),
    "two sizes that differ": (patched(GOOD, ENTRY, 24, u32(5)), FormatError),
    "a name that lies about its length": (patched(GOOD, ENTRY, 28, u16(60000)), FormatError),
    "ZIP64 sizes that are not there": (patched(GOOD, ENTRY, 24, u32(0xFFFFFFFF)), FormatError),
    "overlapping members": (overlapping(), FormatError),
    "a member inside another": (quine_like(), FormatError),
    "an encrypted member": (patched(patched(GOOD, ENTRY, 8, u16(1)), LOCAL, 6, u16(1)), UnsupportedError),
    "an unknown method": (patched(patched(GOOD, ENTRY, 10, u16(99)), LOCAL, 8, u16(99)), UnsupportedError),
    "bzip2": (npz(("x.npy", good_npy()), method=zipfile.ZIP_BZIP2), UnsupportedError),
    "a packed stream cut short": (patched(PACKED, ENTRY, 20, u32(50)), FormatError),
    "a bomb": (bomb(behind=256 << 20), UnsupportedError),
    "a bomb in a string": (npz(("x.npy", npy(described("'|V2147483647'")))), FormatError),
}

NPY: dict[str, tuple[bytes, type]] = {
    "empty": (b"", FormatError),
    "only the magic": (b"\x93NUMPY", TruncatedError),
    "no header": (b"\x93NUMPY\x01\x00", TruncatedError),
    "cut inside the header": (good_npy()[:60], TruncatedError),
    "cut before the payload": (good_npy()[:128], TruncatedError),
    "cut inside the payload": (good_npy()[:-1], TruncatedError),
    "an unknown version": (npy(described(), version=9), FormatError),
    "a header longer than the file": (npy(described(), X.tobytes(), length=60000), TruncatedError),
    "a header of 4 GiB": (npy(described(), X.tobytes(), version=2, length=0xFFFFFFFF), FormatError),
    "a shape that overflows": (npy(described(shape=f"({HUGE}, {HUGE})"), X.tobytes()), FormatError),
    "a shape that overflows with its items": (npy(described("'<f8'", shape=f"({HUGE},)")), FormatError),
    "a shape far beyond the file": (npy(described(shape="(1000000000000,)"), X.tobytes()), TruncatedError),
    "a shape beyond 64 bits": (npy(described(shape="(99999999999999999999999,)")), FormatError),
    "a negative shape": (npy(described(shape="(-1, 4)"), X.tobytes()), FormatError),
    "a shape of floats": (npy(described(shape="(5.0, 4)"), X.tobytes()), FormatError),
    "65 dimensions": (npy(described(shape="(" + "1," * 65 + ")"), b"1"), (FormatError, UnsupportedError)),
    "objects": (npy(described("'|O'"), X.tobytes()), UnsupportedError),
    "objects in a structure": (npy(described("[('a', '<i4'), ('b', '|O')]"), X.tobytes()), UnsupportedError),
    "an unknown dtype": (npy(described("'<q9'"), X.tobytes()), FormatError),
    "a dtype that overflows": (npy(described("'<U4294967295'"), X.tobytes()), FormatError),
    "a call for a dtype": (npy(described("__import__('os').abort()"), X.tobytes()), FormatError),
    "names given twice": (npy(described("[('a', '|u1'), ('a', '|u1')]", shape="(5,)"), bytes(10)), DataError),
    "no dictionary": (npy("[1, 2, 3]", X.tobytes()), FormatError),
    "no shape": (npy("{'descr': '|u1', 'fortran_order': False}", X.tobytes()), FormatError),
    "an unknown key": (npy(described()[:-1] + "'z': 1}", X.tobytes()), FormatError),
    "deep brackets": (npy(described("[" * 5000 + "]" * 5000)), (FormatError, UnsupportedError)),
    "a header of NULs": (npy(bytes(118), X.tobytes()), FormatError),
    "garbage": (np.random.default_rng(3).bytes(5000), FormatError),
}
"""Each is also a member of an archive: see :func:`archived`."""


def archived(data: bytes, compressed: bool = False) -> bytes:
    """An NPZ file whose one member is that."""
    return npz(("x.npy", data), method=zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED)
