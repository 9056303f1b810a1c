"""Small data sets of every format, in local folders and in stores, and what comes out of them."""

import os

import numpy as np

import dlio_fast as df
from dlio_fast.formats import format_names
from dlio_fast.workload.generate import generate

FORMATS = [name for name in format_names() if name != "synthetic"]
ONE_A_FILE = ("jpeg", "png")


def generated(name, folder):
    """The configuration of a data set of that format, generated in a local folder."""
    dataset = {
        "format": name, "num_files_train": 3, "num_samples_per_file": 1 if name in ONE_A_FILE else 4,
        "record_length_bytes": 90_000, "data_folder": str(folder),
    }  # fmt: skip
    config = {"dataset": dataset, "reader": {"batch_size": 5}}
    generate(df.load_config(config))
    return config


def uploaded(config, put, root):
    """The same configuration with its files in a store."""
    folder = config["dataset"]["data_folder"]
    for where, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(where, name)
            with open(path, "rb") as file:
                put(os.path.relpath(path, folder), file.read())
    return {**config, "dataset": {**config["dataset"], "data_folder": root}}


def batches(dataset, **options):
    with df.Loader(dataset, shuffle="global", seed=3, **options) as loader:
        return [{name: np.copy(values) for name, values in batch.items()} for batch in loader], loader.stats()


def assert_same(found, expected):
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])
