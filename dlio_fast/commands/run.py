"""``dlio-fast run``"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .common import (
    Commands,
    Output,
    add_command,
    add_config_arguments,
    add_output_arguments,
    add_reading_arguments,
    amount,
    cache_line,
    duration,
    how_read,
    load,
    positive,
)
from .generate import generated_line
from .stores import ROADS

if TYPE_CHECKING:
    from ..config import Config
    from ..workload.run import Phase, RunResult

MORE = "overrides"
DETAILS = """\
Generates where workflow.generate_data is on (complete files are kept), then trains and evaluates as CONFIG
says: a step's computation is a sleep of train.computation_time, the reading is real and goes through the
framework's loader (framework: pytorch, or none for the bare loader).

GB/s are what the core read from storage. AU, accelerator utilization, is DLIO's: the share of the counted
steps' time spent computing, without the first step (output.metric.exclude_start_steps). Stall is the time
that the training loop waited for batches."""


def add(commands: Commands) -> argparse.ArgumentParser:
    parser = add_command(commands, "run", "do a configuration's workflow and measure it", DETAILS)
    add_config_arguments(parser)
    parser.add_argument("--max-epochs", type=positive, metavar="N", help="at most N epochs")
    parser.add_argument("--max-steps", type=positive, metavar="N", help="at most N steps an epoch")
    add_reading_arguments(parser)
    parser.add_argument("--no-verify", action="store_true", help="do not check the files' checksums")
    parser.add_argument("--seed", type=int, metavar="N", help="of the shuffle and of drawn computation times")
    add_output_arguments(parser, quiet=True)
    return parser


def execute(args: argparse.Namespace) -> int:
    from .._version import __version__
    from ..workload.generate import GenerateResult
    from ..workload.run import check_runnable, run

    output = Output(args)
    seeds = () if args.seed is None else (f"++train.seed={args.seed}", f"++reader.seed={args.seed}")
    cfg = load(args, seeds)
    for note in check_runnable(cfg):
        output.say(f"note: {note}")
    result = run(
        cfg,
        max_epochs=args.max_epochs,
        max_steps=args.max_steps,
        threads=args.threads,
        prefetch_bytes=args.prefetch_bytes,
        verify=False if args.no_verify else None,
        drop=args.drop_caches,
        progress=output.progress,
        on_done=lambda part: output.say(
            generated_line(part) if isinstance(part, GenerateResult) else phase_line(part)
        ),
    )
    if result.phases:
        for line in _total_lines(cfg, result):
            output.say(line)
    output.result({"version": __version__, **result.to_dict()})
    return 0


def phase_line(phase: Phase) -> str:
    """Say in one line how an epoch's training or evaluation went."""
    metrics = phase.metrics
    utilization = "" if metrics.au_percent is None else f", AU {metrics.au_percent:.1f} %"
    return (
        f"epoch {phase.epoch} {phase.kind}: {metrics.samples} samples in {metrics.seconds:.2f} s: "
        f"{metrics.samples_per_second:.1f} samples/s, {metrics.gb_per_second:.2f} GB/s{utilization}, "
        f"stall {duration(metrics.stall_seconds)} (first batch {duration(metrics.first_batch_seconds)})"
    )


def _total_lines(cfg: Config, result: RunResult) -> list[str]:
    total = result.total()
    emulated = "" if not cfg.train.computation_time.is_zero else " (no computation is emulated)"
    lines = [
        f"total: {total['samples']} samples, {amount(total['bytes_read'])} in {total['seconds']:.2f} s: "
        f"{total['samples_per_second']:.1f} samples/s, {total['gb_per_second']:.2f} GB/s, "
        f"stall {duration(total['stall_seconds'])}",
    ]
    if total["au_mean_percent"] is None:
        lines.append("AU: too few steps to count any")
    else:
        met = "met" if total["au_met"] else "not met"
        lines.append(
            f"AU: {total['au_mean_percent']:.1f} % (goal {total['au_threshold_percent']:.0f} %: {met}); "
            f"{total['au_from_stall_mean_percent']:.1f} % by measured stall{emulated}"
        )
    return [*lines, *_reading_lines(result), f"waits for a batch: {_waits(result)}"]


def _reading_lines(result: RunResult) -> list[str]:
    settings, reading = result.settings, result.reading
    if settings["format"] == "npy":
        verified = "no checksums to verify (npy has none)"
    else:
        verified = "checksums verified" if settings["verify"] else "checksums NOT verified"
    direct_bytes, reason = reading["direct_bytes"], reading["fallback_reason"]
    if settings["store"]:
        where = f"objects of {settings['store']}, by {ROADS[settings['road']]}"
        return [f"read: {settings['files']} {where}, {settings['threads']} threads, {verified}"]
    how = how_read(settings["direct"], direct_bytes, reading["bytes_read"], reason)
    resident, in_memory = result.phases[0].resident_before, settings["in_memory"]
    bypassed = direct_bytes > 0 and not reason
    lines = [
        f"read: {settings['files']} files, {how}, {settings['threads']} threads, {verified}; "
        f"{cache_line(resident, bypassed, in_memory)}"
    ]
    if not bypassed and not in_memory and resident is not None and resident > 0.5:
        instead = "--drop-caches" if settings["direct"] else "direct:// or --drop-caches"
        lines.append(f"note: the data came from memory, not from the storage: try {instead}")
    return lines


def _waits(result: RunResult) -> str:
    waits = [phase.metrics.batch_wait for phase in result.phases_of("train")]
    worst = {name: max(getattr(wait, name) for wait in waits) for name in ("p50", "p95", "p99", "max")}
    return ", ".join(f"{name} {duration(value)}" for name, value in worst.items()) + " (the worst epoch's)"
