"""``dlio-fast convert``"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .common import Commands, Output, add_command, add_output_arguments, amount, positive
from .stores import add_storage_argument

if TYPE_CHECKING:
    from ..workload.convert import ConvertResult

DETAILS = """\
The same samples, in the same order, in files of another format (--format), of another size (--files,
--samples-per-file), or with payloads on 4096-byte boundaries. SRC is a folder, a glob in quotes, a manifest
or a file; train/ and valid/ in a folder become folders of the same names. Every file is read back and
compared. A conversion that was interrupted goes on when it is called again: complete files are
compared, and kept."""


def add(commands: Commands) -> argparse.ArgumentParser:
    parser = add_command(commands, "convert", "rewrite a data set in another format", DETAILS)
    parser.add_argument("source", metavar="SRC", help="a path, file://, direct://, s3://, az:// and the like")
    parser.add_argument(
        "target", metavar="DST", help="a folder, of a store too; direct:// writes past the page cache"
    )
    add_storage_argument(parser)
    parser.add_argument("--format", metavar="NAME", help="of DST; default: that of SRC")
    parser.add_argument("--source-format", metavar="NAME", help="of SRC; default: by the files' names")
    parser.add_argument(
        "--config",
        metavar="CONFIG",
        help="a configuration or workload that SRC was made by, where its files do not say type and shape",
    )
    parser.add_argument(
        "--fields", metavar="NAMES", help="which arrays of a sample, divided by commas; default: all"
    )
    parser.add_argument(
        "--sample-axis",
        type=int,
        metavar="N",
        help="of NPZ and NPY files of several samples; default: the last in DLIO's folders, else none",
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--files", type=positive, metavar="N", help="divide the samples, of a split, into so many files"
    )
    group.add_argument("--samples-per-file", type=positive, metavar="N", help="put so many into a file")
    parser.add_argument("--compression", default="none", metavar="NAME", help="as dataset.compression")
    parser.add_argument("--level", type=int, metavar="N", help="of the compression")
    parser.add_argument(
        "--align",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="begin payloads on 4096-byte boundaries where the format permits it; default: do",
    )
    parser.add_argument("--flatten", action="store_true", help="make arrays one-dimensional")
    parser.add_argument("--lossy", action="store_true", help="let a format change values (jpeg)")
    parser.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="read every file back and compare every value; default: do",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="files converted at once")
    add_output_arguments(parser, quiet=True)
    return parser


def execute(args: argparse.Namespace) -> int:
    from ..config import load_config
    from ..workload.convert import convert

    output = Output(args)
    result = convert(
        args.source,
        args.target,
        format=args.format,
        storage_options=args.storage_options,
        source_format=args.source_format,
        config=load_config(args.config) if args.config else None,
        fields=args.fields.split(",") if args.fields else None,
        sample_axis=args.sample_axis,
        files=args.files,
        samples_per_file=args.samples_per_file,
        compression=args.compression,
        level=args.level,
        align=args.align,
        flatten=args.flatten,
        lossy=args.lossy,
        verify=args.verify,
        threads=args.threads,
        progress=output.progress,
    )
    output.say(converted_line(result))
    output.result(result.to_dict())
    return 0


def converted_line(result: ConvertResult) -> str:
    """Say in one line what was converted."""
    kept = f", {result.kept} complete ones kept" if result.kept else ""
    from ..config import is_remote

    how = "upload" if is_remote(result.folder) else "O_DIRECT" if result.direct else "page cache"
    if result.fallback_reason:
        how += f": {result.fallback_reason}"
    return (
        f"convert: {result.samples} samples, {result.files} {result.format} files, {amount(result.bytes)}, "
        f"to {result.folder} in {result.seconds:.2f} s: {result.gb_per_second:.2f} GB/s "
        f"({how}, {result.threads} threads, {'verified' if result.verified else 'not verified'}){kept}"
    )
