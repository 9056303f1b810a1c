"""``dlio-fast bench``"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .common import (
    Commands,
    Output,
    add_command,
    add_output_arguments,
    add_reading_arguments,
    cache_line,
    duration,
    how_read,
    positive,
)
from .stores import ROADS, add_storage_argument

if TYPE_CHECKING:
    from ..workload.bench import BenchResult, BenchRound, Endpoint
    from ..workload.metrics import Quantiles

MORE = "paths"
DETAILS = """\
Reads whole files of any kind ahead on several threads, as the loaders do, into reused memory. GB are 10^9
bytes as the kernel delivered them; CPU time is the whole process's; latencies are of single read calls, or
of single requests to each server of a store.
Without --checksum no byte is looked at once it is in memory."""


def add(commands: Commands) -> argparse.ArgumentParser:
    parser = add_command(commands, "bench", "measure how fast files can be read", DETAILS)
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a file, a folder with all below it, a glob, or a manifest (.txt, one path a line); or all of "
        "one bucket: s3://, az:// and the like",
    )
    add_storage_argument(parser)
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--direct", action="store_true", default=None, help="past the page cache, as direct://")
    how.add_argument("--buffered", action="store_false", dest="direct", help="through the page cache")
    add_reading_arguments(parser)
    parser.add_argument("--checksum", action="store_true", help="compute the CRC-32 of every byte")
    parser.add_argument("--repeat", type=positive, default=1, metavar="N", help="read everything N times")
    add_output_arguments(parser)
    return parser


def execute(args: argparse.Namespace) -> int:
    from ..storage.memory import SHARED_KEEP
    from ..workload.bench import bench

    output = Output(args)
    result = bench(
        args.paths,
        direct=args.direct,
        storage_options=args.storage_options,
        threads=args.threads,
        prefetch_bytes=args.prefetch_bytes or SHARED_KEEP,
        checksum=args.checksum,
        drop=args.drop_caches,
        repeat=args.repeat,
    )
    for line in _lines(result):
        output.say(line)
    output.result(result.to_dict())
    return 0


def _lines(result: BenchResult) -> list[str]:
    bytes_are = "crc32 over every byte" if result.checksum else "no byte looked at"
    dropped = f", caches dropped before each round ({result.caches_dropped})" if result.caches_dropped else ""
    nbytes, direct_bytes = (
        sum(getattr(r, name) for r in result.rounds) for name in ("bytes", "direct_bytes")
    )
    reason = next((r.fallback_reason for r in result.rounds if r.fallback_reason), None)
    if result.store:
        how = f"objects of {result.store}, by {ROADS[result.road or 'fsspec']}"
    else:
        how = how_read(result.direct, direct_bytes, nbytes, reason)
    lines = [f"{result.files} files, {how}, {result.threads} threads, {bytes_are}{dropped}"]
    for number, part in enumerate(result.rounds, 1):
        lines += _round_lines(f"round {number}: " if len(result.rounds) > 1 else "", part, result.in_memory)
    if len(result.rounds) > 1:
        lines.append(f"median: {result.gb_per_second:.2f} GB/s")
    return lines


def _round_lines(title: str, part: BenchRound, in_memory: str | None) -> list[str]:
    latencies, direct = _latencies(part.read_latency), part.direct_bytes > 0 and not part.fallback_reason
    lines = [
        f"{title}{part.gb_per_second:.2f} GB/s, {part.files_per_second:.0f} files/s, "
        f"{part.cpu_seconds_per_gb:.3f} CPU-s/GB ({part.bytes / 1e9:.3f} GB in {part.seconds:.3f} s)",
    ]
    if not part.endpoints:
        lines.append(f"  read latency: {latencies}; {cache_line(part.resident_before, direct, in_memory)}")
    return [*lines, *(_endpoint_line(name, asked) for name, asked in part.endpoints.items())]


def _latencies(wait: Quantiles) -> str:
    return ", ".join(f"{name} {duration(getattr(wait, name))}" for name in ("p50", "p95", "p99", "max"))


def _endpoint_line(name: str, asked: Endpoint) -> str:
    return (
        f"  {name}: {asked.requests} requests, {asked.retries} retries, {asked.errors} errors, "
        f"{asked.gb_per_second:.2f} GB/s; request latency: {_latencies(asked.latency)}"
    )
