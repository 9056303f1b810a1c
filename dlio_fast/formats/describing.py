"""What is inside a file, for people: fields or members, where they lie, whether they are what was written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from .. import _core
from ..errors import ChecksumError, DataError
from ..storage.local import store_of
from ..storage.memory import shared_pool
from .base import FieldSpec, FileSpec, Format
from .decoding import DecodedFormat

ALIGNMENTS = (4096, 512, 64)

READ_AT_ONCE = 64 << 20
"""Bytes of samples, and of decoded blocks, when all of a file is read."""


@dataclass
class MemberInfo:
    """One array of a file; of an NPY file, the only one; in formats of samples, a field of these."""

    name: str
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    """Of the array; in formats of samples, of the first file's first."""
    order: str | None = None
    """C or F."""
    npy_version: int | None = None
    compression: str = "none"
    nbytes: int = 0
    """Of the array, or of the member where it is no array; of a field, in all samples."""
    packed_nbytes: int = 0
    """In the file, .npy header included; 0 where that is not known."""
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

    def lie_at(self, offset: int) -> None:
        """Note where in the file the payload begins."""
        self.payload_offset = offset
        self.alignment = {str(step): offset % step == 0 for step in ALIGNMENTS}


@dataclass
class BlockInfo:
    """The least of a file that is decoded at once."""

    samples: int
    extents: list[tuple[int, int]]
    """Offset and length of what is read for it, in bytes."""


@dataclass
class FileInfo:
    """One file."""

    path: str
    format: str
    nbytes: int
    members: list[MemberInfo] = field(default_factory=list)
    samples: int | None = None
    """In formats whose files say how many they hold."""
    blocks: list[BlockInfo] = field(default_factory=list)
    """In formats that are decoded block by block."""
    problem: str | None = None
    """Why the samples cannot be read."""

    @property
    def problems(self) -> list[str]:
        """What is wrong with the file and its members."""
        found = [self.problem, *(member.problem for member in self.members)]
        return [problem for problem in found if problem]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return asdict(self)


def describe_samples(format: Format, path: str, *, direct: bool, verify: bool) -> FileInfo:
    """Describe a file by the samples in it; with `verify`, all are read.

    Raises
    ------
    DataError
        Its headers cannot be read; what is wrong with the samples is the result's ``problem``.
    DlioFastOSError
        It cannot be opened or read.
    """
    spec = format.inspect(path, direct=direct)
    members = [_field_info(field, spec.samples) for field in spec.fields]
    info = FileInfo(path, format.name, _size(path, direct), members, spec.samples)
    if isinstance(format, DecodedFormat):
        with _core.File(path, shared_pool(), direct=direct) as file:
            blocks = format.blocks(file, spec)
        info.blocks = [BlockInfo(block.samples, list(format.extents(block, spec))) for block in blocks]
    state = "ok" if verify else "unchecked"
    try:
        for _ in read_samples(format, path, spec, direct=direct) if verify else ():
            pass
    except DataError as error:
        info.problem, state = str(error), "mismatch" if isinstance(error, ChecksumError) else "unchecked"
    for member in members:
        member.crc_state = state if format.checksums else "none"
    return info


def _size(path: str, direct: bool) -> int:
    with _core.File(path, shared_pool(), direct=direct) as file:
        return file.size


def _field_info(field: FieldSpec, samples: int) -> MemberInfo:
    return MemberInfo(field.name, str(field.dtype), field.shape, nbytes=field.nbytes * samples)


def read_samples(
    format: Format, path: str, spec: FileSpec, *, direct: bool, sample_axis: int | None = None
) -> Iterator[_core.Batch]:
    """Read all samples of a file in their order, some at a time; raises what is wrong with them."""
    plan = _core.Plan(
        container=format.container,
        root=b"",
        names=os.fsencode(path) + b"\0",
        offsets=np.zeros(1, np.uint64),
        fields=[(f.member, f.descr, f.dtype.itemsize, f.shape) for f in spec.fields],
        samples_per_file=spec.samples,
        sample_axis=sample_axis,
        direct=direct,
        reader=format.reader(spec, READ_AT_ONCE),
        store=store_of(path),
    )
    at_once = max(1, READ_AT_ONCE // max(1, sum(field.nbytes for field in spec.fields)))
    ring = _core.Ring(1, 0, shared_pool(), READ_AT_ONCE)
    try:
        for first in range(0, spec.samples, at_once):
            ring.submit_batch(plan, np.arange(first, min(first + at_once, spec.samples), dtype=np.int64))
            batch = ring.next_batch(plan)
            for error, _ in batch.failures():
                raise error
            yield batch
    finally:
        ring.close()
