"""The command line, ``dlio-fast``.

Results go to stdout, as lines for people or, with ``--json``, as one JSON object; everything else goes to
stderr. Exit status: 0, 1 (the work failed), 2 (bad usage or configuration), 130 (Ctrl-C).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from ._version import __version__
from .commands import bench, convert, generate, index, inspect, run, validate, workloads
from .commands.common import exit_status
from .errors import DlioFastError

DESCRIPTION = """\
Get training data from storage into a framework, and measure how fast that is.

CONFIG is a YAML file in DLIO's layout or the name of a bundled workload (`dlio-fast workloads`); what follows
it are overrides in Hydra's grammar: reader.batch_size=4, ++workload.train.epochs=2, ~reader.transfer_size.
Data lie at a path or file:// (read through the page cache), at direct:// (past it, O_DIRECT), or in a store:
s3://bucket/folder, az://container/folder, or any scheme of fsspec's.
"""

EPILOG = """\
examples:
  dlio-fast workloads                             what is bundled
  dlio-fast generate quickstart                   make a workload's data set
  dlio-fast run quickstart train.epochs=3         train on it, with emulated computation
  dlio-fast run workload=unet3d_h100 ++workload.dataset.data_folder=direct:///data/unet3d
  dlio-fast inspect data/quickstart/train/*.npz   members, shapes, offsets, checksums
  dlio-fast convert data/npz data/h5 --format hdf5   the same samples in another format
  dlio-fast bench --direct --repeat 3 data/       what the storage gives
  dlio-fast bench s3://bucket/data --storage-option endpoint_url=http://minio:9000

exit status: 0; 1 the work failed; 2 bad usage or configuration; 130 interrupted.
DLIO_FAST_LOG=debug in the environment shows settings, fallbacks and the traceback of an error.
"""

INTERRUPTED = 130
BROKEN_PIPE = 141


class Parser(argparse.ArgumentParser):
    """A parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help explains)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
        with _warnings_as_lines():
            status: int = args.execute(args)
        if sys.stdout is not None:  # closed: nobody wants the output
            sys.stdout.flush()
        return status
    except BrokenPipeError:  # whoever reads our output has seen enough
        if sys.stdout is not None:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        print("dlio-fast: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (DlioFastError, OSError, MemoryError) as error:
        _report(str(error) or type(error).__name__)
        return exit_status(error)
    except Exception as error:
        hint = "this is a defect of dlio_fast; DLIO_FAST_LOG=debug shows where"
        _report(f"{type(error).__name__}: {error} ({hint})")
        return 1


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. Options may stand before, between and after CONFIG, overrides and paths."""
    parser = _parser()
    args, rest = parser.parse_known_args(argv)
    unknown = [text.partition("=")[0] for text in rest if text.startswith("-")]  # the rest may be a secret
    if unknown or (rest and args.more is None):
        parser.error(f"unrecognized arguments: {' '.join(unknown or rest)}")
    if args.more is not None:
        getattr(args, args.more).extend(rest)
    return args


def _parser() -> Parser:
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser("dlio-fast", description=DESCRIPTION, epilog=EPILOG, formatter_class=layout)
    parser.add_argument("--version", action="version", version=f"dlio-fast {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (generate, run, validate, inspect, convert, index, bench, workloads):
        added = command.add(commands)
        added.set_defaults(execute=command.execute, more=getattr(command, "MORE", None))
    return parser


def _report(message: str) -> None:
    if os.environ.get("DLIO_FAST_LOG", "").lower() == "debug":
        traceback.print_exc()
    print(f"dlio-fast: error: {message}", file=sys.stderr)


@contextlib.contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Print warnings as lines of their own, without Python's file and line of the code."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"dlio-fast: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
