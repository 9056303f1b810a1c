"""A format that Python decodes, for tests: numbered samples, in blocks that can be decoded one by one."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlio_fast import _core
from dlio_fast.errors import FormatError
from dlio_fast.formats import Block, DecodedFormat, FieldSpec, FileSpec
from dlio_fast.storage.memory import shared_pool

HEAD = struct.Struct("<4sIII")
"""Magic, samples, samples a block, int64 numbers a sample; then the samples."""


def write_records(path: Path, first: int, samples: int, per_block: int, width: int = 3) -> None:
    """Write a file of samples that are full of first, first + 1, ..."""
    numbers = np.repeat(np.arange(first, first + samples, dtype="<i8"), width)
    path.write_bytes(HEAD.pack(b"RECS", samples, per_block, width) + numbers.tobytes())


def write_folder(folder: Path, files: int, samples: int, per_block: int, width: int = 3) -> Path:
    """Write files whose samples are full of 0, 1, 2, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(files):
        write_records(folder / f"{i:03d}.rec", i * samples, samples, per_block, width)
    return folder


class Records(DecodedFormat):
    """Fields `x`, (width,) int64, and `y`, their number as a scalar int32."""

    name = "records"
    suffixes = (".rec",)

    def __init__(self) -> None:
        self.decoded: list[tuple[str, Any]] = []
        """What has been decoded, in order."""

    def inspect(
        self,
        path: str,
        *,
        fields: Sequence[str] | None = None,
        sample_axis: int | None = None,
        direct: bool = False,
    ) -> FileSpec:
        with _core.File(path, shared_pool(), direct=direct) as file:
            magic, samples, _, width = HEAD.unpack(file.read(0, HEAD.size))
            if magic != b"RECS" or file.size != HEAD.size + 8 * samples * width:
                raise FormatError(f"{path}: no records", path)
        x, y = FieldSpec("x", np.dtype("<i8"), (width,)), FieldSpec("y", np.dtype("<i4"), ())
        return FileSpec((x, y), samples)

    def blocks(self, file: _core.File, spec: FileSpec) -> Sequence[Block]:
        magic, samples, per_block, width = HEAD.unpack(file.read(0, HEAD.size))
        if magic != b"RECS":
            raise FormatError(f"{file.path}: no records", file.path)
        return [
            Block(n, ((HEAD.size + 8 * width * first, 8 * width * n),), first)
            for first in range(0, samples, per_block)
            for n in [min(per_block, samples - first)]
        ]

    def decode(self, path: str, block: Block, data: Sequence[memoryview], spec: FileSpec) -> Sequence[Any]:
        self.decoded.append((path, block.key))
        x = np.frombuffer(data[0], "<i8").reshape(block.samples, *spec.fields[0].shape)
        return [x, x[:, 0].astype("<i4")]
