"""``dlio-fast index``"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from .common import Commands, Output, add_command, add_output_arguments, exit_status
from .stores import add_storage_argument

MORE = "files"
DETAILS = """\
An index is a text file, a line a record: its offset and its length with the 16 bytes of framing, as NVIDIA
DALI's tfrecord2idx writes it. It spares a reader to go from record to record where these differ in length.
For a file below train/ or valid/ it goes where DLIO has it, index/train/FILE.idx beside these folders; else
beside the file. An index that is there and fits is kept. Compressed files get none."""


def add(commands: Commands) -> argparse.ArgumentParser:
    parser = add_command(commands, "index", "write the indexes of TFRecord files", DETAILS)
    parser.add_argument("files", nargs="+", metavar="PATH", help="a file, or a folder of them, at any depth")
    add_storage_argument(parser)
    parser.add_argument("--force", action="store_true", help="write indexes that are there anew")
    add_output_arguments(parser, quiet=True)
    return parser


def execute(args: argparse.Namespace) -> int:
    from ..errors import DlioFastError
    from ..formats.tfrecord_index import write_index

    output, status = Output(args), 0
    results: list[dict[str, object]] = []
    for given in args.files:
        for path in _files_of(given, args.storage_options):
            try:
                index, count = write_index(path, force=args.force)
            except (DlioFastError, OSError) as error:
                print(f"dlio-fast: error: {error}", file=sys.stderr)
                results.append({"path": path, "error": str(error)})
                status = max(status, exit_status(error))
                continue
            output.say(f"{path}: {count} records, {index}")
            results.append({"path": path, "records": count, "index": index})
    output.result(results)
    return status


def _files_of(path: str, storage_options: dict[str, Any]) -> list[str]:
    """Return the TFRecord files of a folder; what is no folder is a file."""
    from ..config import is_remote
    from ..errors import DlioFastFileNotFoundError
    from ..formats.tfrecord import FORMAT

    if is_remote(path):
        return _objects_of(path, storage_options)
    if not os.path.isdir(path):
        return [path]
    found = sorted(
        os.path.join(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if name.lower().endswith(FORMAT.suffixes) and not name.startswith(".")
    )
    if not found:
        raise DlioFastFileNotFoundError(2, f"no {' or '.join(FORMAT.suffixes)} files in it", path)
    return found


def _objects_of(address: str, storage_options: dict[str, Any]) -> list[str]:
    from ..errors import DlioFastFileNotFoundError
    from ..formats.tfrecord import FORMAT
    from ..workload.finding import find_files

    found = [
        path
        for path in find_files([address], None, storage_options)
        if path.lower().endswith(FORMAT.suffixes)
    ]
    if not found:
        raise DlioFastFileNotFoundError(2, f"no {' or '.join(FORMAT.suffixes)} objects there", address)
    return found
