"""``dlio-fast inspect``"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from .common import Commands, Output, add_command, add_output_arguments, amount, exit_status, table
from .stores import add_storage_argument

if TYPE_CHECKING:
    from ..workload.inspect import FileInfo, MemberInfo

MORE = "files"
DETAILS = """\
Of NPZ and NPY: members with dtype, shape and order; where the array's payload lies and on which boundary,
which decides whether O_DIRECT can read it straight to its place; compression; and whether the checksums hold.
Of other formats: the samples' fields with dtype and shape, how many samples there are, in what blocks they
lie, and whether all can be read. Exit status 1 where something is wrong with a file."""
HEADINGS = (
    "member",
    "dtype",
    "shape",
    "order",
    "bytes",
    "compression",
    "payload at",
    "aligned to",
    "npy",
    "crc32",
)
FIELD_HEADINGS = ("field", "dtype", "shape of a sample", "bytes", "checksums")


def add(commands: Commands) -> argparse.ArgumentParser:
    parser = add_command(commands, "inspect", "show what is inside files", DETAILS)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="a path, file://, direct://, s3://, az:// and the like"
    )
    add_storage_argument(parser)
    parser.add_argument("--no-verify", action="store_true", help="read headers alone, check no checksums")
    parser.add_argument(
        "--format", metavar="NAME", help="what the files are (default: as their suffixes say)"
    )
    add_output_arguments(parser)
    return parser


def execute(args: argparse.Namespace) -> int:
    from ..errors import DlioFastError
    from ..workload.inspect import inspect_file

    output, results, status = Output(args), [], 0
    for index, path in enumerate(args.files):
        try:
            info = inspect_file(
                path, format=args.format, storage_options=args.storage_options, verify=not args.no_verify
            )
        except (DlioFastError, OSError) as error:
            print(f"dlio-fast: error: {error}", file=sys.stderr)
            results.append({"path": path, "error": str(error)})
            status = max(status, exit_status(error))
            continue
        if index:
            output.say()
        for line in _lines(info):
            output.say(line)
        for problem in info.problems:
            print(f"dlio-fast: error: {problem}", file=sys.stderr)
        status = max(status, 1 if info.problems else 0)
        results.append(info.to_dict())
    output.result(results)
    return status


def _lines(info: FileInfo) -> list[str]:
    head = f"{info.path}: {info.format}, {info.nbytes} bytes ({amount(info.nbytes)})"
    if info.samples is not None:
        head += f", {info.samples} samples"
    if not info.members:
        return [head, "  no members"]
    if info.samples is None:
        lines = table([HEADINGS, *map(_row, info.members)], right=(4, 6))
    else:
        lines = table([FIELD_HEADINGS, *map(_field_row, info.members)], right=(3,))
    return [head, *(f"  {line}" for line in lines), *_blocks(info)]


def _blocks(info: FileInfo) -> list[str]:
    if not info.blocks:
        return []
    samples = [block.samples for block in info.blocks]
    nbytes = [sum(length for _, length in block.extents) for block in info.blocks]
    return [f"  decoded in {len(samples)} blocks of {_span(samples)} samples, {_span(nbytes)} bytes"]


def _span(numbers: list[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least} to {most}"


def _field_row(member: MemberInfo) -> tuple[str, ...]:
    return member.name, member.dtype or "-", str(member.shape), str(member.nbytes), member.crc_state


def _row(member: MemberInfo) -> tuple[str, ...]:
    boundary = next((step for step, holds in (member.alignment or {}).items() if holds), "none")
    return (
        member.name or "-",
        member.dtype or "-",
        str(member.shape) if member.shape is not None else "-",
        member.order or "-",
        str(member.nbytes),
        _compression(member),
        "-" if member.payload_offset is None else str(member.payload_offset),
        "-" if member.alignment is None else boundary,
        "-" if member.npy_version is None else f"{member.npy_version}.0",
        member.crc_state if member.crc32 is None else f"{member.crc32} {member.crc_state}",
    )


def _compression(member: MemberInfo) -> str:
    if member.compression != "deflated" or not member.nbytes:
        return member.compression
    return f"deflated to {100 * member.packed_nbytes / member.nbytes:.0f} %"
