"""What the commands share: their common arguments, and how they print."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ..config import Config

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What a command adds itself to."""

_OVERRIDE = re.compile(r"[+~]|[\w.@/-]+=")
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def add_command(commands: Commands, name: str, summary: str, details: str = "") -> argparse.ArgumentParser:
    """Add a command's parser; its help begins with summary and details."""
    text = f"{summary[0].upper()}{summary[1:]}.\n\n{details}".strip()
    layout = argparse.RawDescriptionHelpFormatter
    return commands.add_parser(name, help=summary, description=text, formatter_class=layout)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Add CONFIG, overrides and --config-dir."""
    parser.add_argument(
        "config",
        metavar="CONFIG",
        help="a YAML or JSON file, a bundled workload's name, or workload=NAME",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        default=[],  # or argparse says that one is required
        metavar="OVERRIDE",
        help="key=value, +key=value, ++key=value or ~key; the key with or without `workload.` in front",
    )
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder of workloads, looked at before the bundled ones"
    )


def add_output_arguments(parser: argparse.ArgumentParser, *, quiet: bool = False) -> None:
    """Add --json and, where lines for people come on the way, --quiet."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object to stdout; lines for people go to stderr"
    )
    if quiet:
        parser.add_argument("--quiet", action="store_true", help="print no lines for people and no progress")


def add_reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --threads, --prefetch-bytes and --drop-caches."""
    parser.add_argument(
        "--threads",
        type=positive,
        metavar="N",
        help="threads that read; default: as many as processors, 8 at least for direct://",
    )
    parser.add_argument(
        "--prefetch-bytes",
        type=size,
        metavar="SIZE",
        help="the most that is read ahead, such as 512M; default 256M, or two batches where that is more",
    )
    parser.add_argument(
        "--drop-caches",
        action="store_true",
        help="empty the page cache before each pass: all of it as root, else by advice for the files read",
    )


def load(args: argparse.Namespace, more: Sequence[str] = ()) -> Config:
    """Load what CONFIG and the overrides say; `more` are overrides that options stand for."""
    from ..config import load_config

    source, overrides = args.config, list(args.overrides)
    if _OVERRIDE.match(source) and not os.path.exists(source):
        source, overrides = None, [source, *overrides]
    return load_config(source, [*overrides, *more], config_dir=args.config_dir)


def positive(text: str) -> int:
    """Parse a whole number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def size(text: str) -> int:
    """Parse a number of bytes, with K, M, G or T (powers of 1024) where wanted."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    number = round(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of bytes such as 1048576, 512M or 1G")
    return number


class Output:
    """Lines for people, and the result for machines, each where it belongs."""

    def __init__(self, args: argparse.Namespace):
        self.as_json = args.json
        self.quiet = getattr(args, "quiet", False)

    @property
    def progress(self) -> bool | None:
        """What to pass on as `progress`: never where quiet, else if stderr is a terminal."""
        return False if self.quiet else None

    def say(self, line: str = "") -> None:
        """Print a line for people."""
        if not self.quiet:
            print(line, file=sys.stderr if self.as_json else sys.stdout, flush=True)

    def result(self, value: Any) -> None:
        """Print the result for machines, where it is asked for."""
        if self.as_json:
            print(json.dumps(value, indent=2, allow_nan=False))


def table(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """Lay out rows in columns, those of the given numbers flush right."""
    rows, right = [list(map(str, row)) for row in rows], set(right)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    adjust = [str.rjust if column in right else str.ljust for column in range(len(widths))]
    padded = ([fit(c, w) for fit, c, w in zip(adjust, row, widths, strict=True)] for row in rows)
    return ["  ".join(cells).rstrip() for cells in padded]


def amount(nbytes: float) -> str:
    """Return a number of bytes for people, in decimal units: 268.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:
            return f"{nbytes:.4g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.4g} TB"


def duration(seconds: float) -> str:
    """Return a time span for people: 38 µs, 4.1 ms, 2.35 s."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def how_read(direct: bool, direct_bytes: int, nbytes: int, reason: str | None) -> str:
    """Return which way the bytes came, for people: what happened, not what was asked for."""
    if not direct or (not direct_bytes and not reason):
        return "through the page cache"
    if not reason:
        return "O_DIRECT"
    refused = f"through the page cache (O_DIRECT was refused: {reason})"
    if not direct_bytes:
        return refused
    return f"O_DIRECT for {100 * direct_bytes / nbytes:.0f} % of the bytes, the rest {refused}"


def cache_line(resident: float | None, direct: bool, in_memory: str | None = None) -> str:
    """Return what the page cache held before reading, for people.

    `direct`: everything was read past it. `in_memory`: the kind of the file system that needs no storage.
    """
    from ..workload.pagecache import cache_state

    if in_memory:
        return f"the data lie in memory ({in_memory}), not on storage"
    share = "" if resident is None else f" ({100 * resident:.0f} % of the files were in it)"
    return f"page cache {'bypassed' if direct else cache_state(resident)}{share}"


def exit_status(error: BaseException) -> int:
    """Return the exit status that an error stands for: 2 for what the user asked for, 1 for failed work."""
    from ..config import split_address
    from ..errors import ConfigError, UnsupportedError

    no_reader = isinstance(error, UnsupportedError) and split_address(error.path)[0]
    return 2 if isinstance(error, ConfigError) or no_reader else 1
