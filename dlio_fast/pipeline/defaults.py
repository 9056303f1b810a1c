"""What a DLIO configuration says about loading, in the loader's own terms."""

from __future__ import annotations

from typing import Any

from .dataset import Dataset

SHUFFLE_WINDOW = 64 << 20
"""Bytes; a constant, as the order depends on it."""


def config_defaults(dataset: Dataset) -> dict[str, Any]:
    """Return batch_size, shuffle, shuffle_window, seed, drop_last and reshuffle of a data set's config."""
    found = {"batch_size": 1, "seed": 0, "drop_last": False, "reshuffle": True}
    if dataset.config is None:
        return {**found, "shuffle": False, "shuffle_window": SHUFFLE_WINDOW}
    reader, train = dataset.config.reader, dataset.config.train
    # DLIO shuffles files, or all samples with one another. Its "random" is an order of its own in each
    # epoch; it follows from the seed here, too, or ranks would not agree.
    shuffles = [kind for kind in (reader.sample_shuffle, reader.file_shuffle) if kind != "off"]
    shuffle: bool | str = reader.shuffle or False
    window = SHUFFLE_WINDOW
    if reader.shuffle is None and shuffles:
        shuffle = "global" if reader.sample_shuffle != "off" else "files"
        window = 0
    return {
        "batch_size": reader.batch_size_eval if dataset.split == "valid" else reader.batch_size,
        "shuffle": shuffle,
        "shuffle_window": window,
        "seed": train.seed if reader.seed is None else reader.seed,
        "drop_last": bool(reader.drop_last),
        "reshuffle": train.seed_change_epoch or "random" in shuffles,
    }
