"""TFRecord files and Examples put together by hand, for what TensorFlow itself would not write."""

from __future__ import annotations

import struct

import numpy as np

import dlio_fast as df

_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82F63B78 if _byte & 1 else 0)
    _TABLE.append(_byte)


def masked_crc(data: bytes) -> int:
    """CRC-32C by its definition, as TFRecord stores it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def header(length: int) -> bytes:
    raw = struct.pack("<Q", length)
    return raw + struct.pack("<I", masked_crc(raw))


def record(data: bytes) -> bytes:
    return header(len(data)) + data + struct.pack("<I", masked_crc(data))


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def message(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def feature(kind: str, values, *, packed: bool = True) -> bytes:
    """A Feature; numbers packed or one by one."""
    if kind == "bytes":
        return message(1, b"".join(message(1, value) for value in values))
    if kind == "float":
        raw = [struct.pack("<f", value) for value in values]
        alone = b"\x0d"
    else:
        raw = [varint(value & 2**64 - 1) for value in values]
        alone = b"\x08"
    body = message(1, b"".join(raw)) if packed else b"".join(alone + one for one in raw)
    return message(2 if kind == "float" else 3, body)


def entry(name: bytes, value: bytes) -> bytes:
    return message(1, message(1, name) + message(2, value))


def example(*entries: bytes) -> bytes:
    return message(1, b"".join(entries))


def image(data: bytes) -> bytes:
    """What DLIO writes: the bytes, and how many there are."""
    return example(entry(b"image", feature("bytes", [data])), entry(b"size", feature("int64", [len(data)])))


def write(path, *examples: bytes) -> str:
    path.write_bytes(b"".join(map(record, examples)))
    return str(path)


def read(*files, **options) -> list[dict[str, np.ndarray]]:
    """All samples, in order."""
    with df.Loader(df.Dataset.from_files(files), batch_size=7, **options) as loader:
        return [
            {name: batch[name][i] for name in batch}
            for batch in loader
            for i in range(len(batch[next(iter(batch))]))
        ]
