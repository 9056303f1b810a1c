"""``dlio-fast generate``"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .common import (
    Commands,
    Output,
    add_command,
    add_config_arguments,
    add_output_arguments,
    amount,
    load,
    positive,
)
from .stores import add_storage_argument

if TYPE_CHECKING:
    from ..workload.generate import GenerateResult

MORE = "overrides"
DETAILS = """\
Files, sizes and contents are a pure function of CONFIG: the same bytes on every run. It generates also where
workflow.generate_data is off. Files are written under a temporary name and renamed when complete; objects are
uploaded whole."""


def add(commands: Commands) -> argparse.ArgumentParser:
    parser = add_command(commands, "generate", "make a configuration's data set", DETAILS)
    add_config_arguments(parser)
    parser.add_argument(
        "--data-folder",
        metavar="ADDRESS",
        help="where to, instead of dataset.data_folder: a path, direct://, s3://, az:// and the like",
    )
    add_storage_argument(parser)
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="keep files whose size, headers and first and last 4 KiB are right",
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="files written at once")
    add_output_arguments(parser, quiet=True)
    return parser


def execute(args: argparse.Namespace) -> int:
    from ..workload.generate import generate

    output = Output(args)
    result = generate(
        load(args),
        data_folder=args.data_folder,
        storage_options=args.storage_options,
        threads=args.threads,
        skip_existing=args.skip_existing,
        progress=output.progress,
    )
    output.say(generated_line(result))
    output.result(as_dict(result))
    return 0


def generated_line(result: GenerateResult) -> str:
    """Say in one line what was generated."""
    from ..config import is_remote

    how = "upload" if is_remote(result.folder) else "O_DIRECT" if result.direct else "page cache"
    if result.fallback_reason:
        how += f": {result.fallback_reason}"
    kept = f", {result.skipped} complete ones kept" if result.skipped else ""
    if not result.files:
        return (
            f"generate: {result.folder} is complete: {result.skipped} files checked in {result.seconds:.2f} s"
        )
    return (
        f"generate: {result.files} files, {amount(result.bytes)}, to {result.folder} "
        f"in {result.seconds:.2f} s: {result.gb_per_second:.2f} GB/s ({how}, {result.threads} threads){kept}"
    )


def as_dict(result: GenerateResult) -> dict[str, Any]:
    """Return the result as plain values."""
    return {**asdict(result), "gb_per_second": result.gb_per_second}
