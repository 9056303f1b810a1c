"""``dlio-fast validate``"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .common import Commands, Output, add_command, add_config_arguments, amount, load
from .stores import without_secrets

if TYPE_CHECKING:
    from ..config import Config

MORE = "overrides"
DETAILS = """\
Prints the keys that CONFIG and the overrides give, as YAML that can be run, after comments that say what they
amount to. Everything wrong is reported at once, with exit status 2. No data are looked at."""


def add(commands: Commands) -> argparse.ArgumentParser:
    parser = add_command(
        commands, "validate", "check a configuration and print it with overrides applied", DETAILS
    )
    add_config_arguments(parser)
    parser.add_argument(
        "--all", action="store_true", help="print every key, at its default where it is not given"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of YAML")
    return parser


def execute(args: argparse.Namespace) -> int:
    cfg, output = load(args), Output(args)
    given = cfg.model_dump(mode="json") if args.all else cfg.to_dict()
    tree = without_secrets(given)
    if output.as_json:
        output.result(tree)
        return 0
    import yaml

    for line in _facts(cfg):
        output.say(f"# {line}")
    if tree != given:
        output.say("# what opens the store is not shown: *** has to be filled in")
    text = (
        yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
        if args.all or tree != given
        else cfg.to_yaml()
    )
    output.say(text.rstrip())
    return 0


def _facts(cfg: Config) -> list[str]:
    """Say what a configuration amounts to, and what of it this version cannot do."""
    from ..formats import format_names
    from ..workload.run import check_runnable

    dataset, reader = cfg.dataset, cfg.reader
    nbytes = dataset.dims_table(dataset.num_files).prod(axis=1, dtype="float64").sum()
    nbytes *= dataset.dtype.itemsize * dataset.num_samples_per_file
    samples = dataset.num_files_train * dataset.num_samples_per_file
    facts = [
        cfg.source,
        f"data: {dataset.num_files_train} + {dataset.num_files_eval} {dataset.format} files, "
        f"{amount(nbytes)}, at {cfg.data_address}",
        f"training: {samples} samples, {-(-samples // reader.batch_size)} steps of {reader.batch_size} "
        f"an epoch, {cfg.train.epochs} epochs",
    ]
    if dataset.format not in format_names():
        facts.append(f"this version cannot read {dataset.format}; it reads {', '.join(format_names())}")
    try:
        return facts + check_runnable(cfg)
    except ConfigError as error:
        return [*facts, str(error).removeprefix(f"{cfg.source}: ")]
