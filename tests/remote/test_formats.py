"""Every format is read from a store as it is read from a local folder."""

import numpy as np
import pytest

import dlio_fast as df
from tests.remote.data_sets import FORMATS, assert_same, batches, uploaded


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
