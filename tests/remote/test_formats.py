"""Every format is read from a store as it is read from a local folder."""

import os

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.formats import format_names
from dlio_fast.workload.generate import generate

FORMATS = [name for name in format_names() if name != "synthetic"]
ONE_A_FILE = ("jpeg", "png")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A function: the configuration of a small data set of that format, generated in a local folder."""
    made = {}

    def of(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            dataset = {
                "format": name, "num_files_train": 3, "num_samples_per_file": 1 if name in ONE_A_FILE else 4,
                "record_length_bytes": 90_000, "data_folder": str(folder),
            }  # fmt: skip
            made[name] = {"dataset": dataset, "reader": {"batch_size": 5}}
            generate(df.load_config(made[name]))
        return made[name]

    return of


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


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_the_same_from_each_server(name, folders, store):
    remote = uploaded(folders(name), store.put, store.root)
    expected, _ = batches(df.Dataset(folders(name)))
    found, stats = batches(df.Dataset(remote, storage_options=store.storage_options))
    assert_same(found, expected)
    assert stats["bytes_read"] > 0
    assert stats["direct_bytes"] == 0


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_the_same_from_any_file_system_of_fsspecs(name, folders):
    import fsspec

    memory = fsspec.filesystem("memory")
    remote = uploaded(
        folders(name), lambda key, data: memory.pipe(f"/{name}/{key}", data), f"memory://{name}"
    )
    expected, _ = batches(df.Dataset(folders(name)))
    found, _ = batches(df.Dataset(remote))
    assert_same(found, expected)


@pytest.mark.parametrize("name", FORMATS)
def test_single_samples_of_every_format_come_from_a_store(name, folders, moto):
    remote = df.Dataset(uploaded(folders(name), moto.put, moto.root), storage_options=moto.storage_options)
    local = df.Dataset(folders(name))
    for i in (0, len(local) - 1):
        for field, values in local[i].items():
            np.testing.assert_array_equal(remote[i][field], values)
    remote.close()
