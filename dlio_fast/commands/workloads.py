"""``dlio-fast workloads``"""

from __future__ import annotations

import argparse

from .common import Commands, Output, add_command, add_output_arguments, table


def add(commands: Commands) -> argparse.ArgumentParser:
    parser = add_command(
        commands, "workloads", "list the bundled workloads", "`dlio-fast validate NAME` shows one as YAML."
    )
    add_output_arguments(parser)
    return parser


def execute(args: argparse.Namespace) -> int:
    from ..config import list_workloads

    found, output = list_workloads(), Output(args)
    if output.as_json:
        output.result([{"name": name, "summary": summary} for name, summary in found])
    else:
        for line in table(found):
            output.say(line)
    return 0
