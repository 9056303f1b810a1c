"""Objects kept on local disk: read without the store, and within a cap."""

import io
import logging
import os

import fsspec
import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import ConfigError
from dlio_fast.storage.disk_cache import space_of
from dlio_fast.storage.local import ReadMany
from dlio_fast.torch import DlioPyTorchDataset
from tests.remote.data_sets import FORMATS, assert_same, batches, uploaded
from tests.remote.disk_cache_use import SIZE, kept, ledger, noise, npz_set, put_all, reader, sizes, used
from tests.remote.proxy import Proxy


@pytest.fixture
def proxy(moto):
    with Proxy(moto) as proxy:
        yield proxy


@pytest.mark.parametrize("name", FORMATS)
def test_the_second_epoch_of_every_format_makes_no_request(name, folders, proxy, cache):
    remote = uploaded(folders(name), proxy.store.put, proxy.store.root)
    expected, _ = batches(df.Dataset(folders(name)))
    dataset = df.Dataset(remote, storage_options=proxy.store.storage_options, cache_dir=cache)
    with df.Loader(dataset, shuffle="global", seed=3) as loader:
        first = [{field: np.copy(values) for field, values in batch.items()} for batch in loader]
        before, requests = loader.stats(), len(proxy.requests)
        proxy.close()
        loader.set_epoch(0)
        assert_same(list(loader), expected)
        after = loader.stats()
    assert_same(first, expected)
    assert len(proxy.requests) == requests
    read = {
        field: after[field] - before[field] for field in ("bytes_read", "direct_bytes", "disk_cache_bytes")
    }
    assert read["disk_cache_bytes"] == read["bytes_read"] > 0
    assert read["direct_bytes"] == read["bytes_read"] or after["fallback_reason"]
    assert after["disk_cache_misses"] == before["disk_cache_misses"]
    assert after["disk_cache_hits"] > before["disk_cache_hits"]


def test_another_process_lists_and_reads_nothing_else_from_any_server(store, cache):
    expected, _ = batches(npz_set(store))
    filled, _ = batches(npz_set(store, cache_dir=cache))
    with Proxy(store) as proxy:
        again = npz_set(store, cache_dir=cache)
        found, stats = batches(again)
        assert len(proxy.requests) == 0
    assert_same(filled, expected)
    assert_same(found, expected)
    assert (stats["disk_cache_hits"], stats["disk_cache_misses"]) == (6, 0) or store.server.startswith(
        "azurite"
    )


READS = {
    "read": lambda address, **options: df.read(address, **options),
    "read_many": lambda address, **options: next(iter(df.read_many([address], **options)))[1],
    "load": lambda address, **options: df.load(address, **options),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_of_a_single_object_that_is_kept_only_the_version_is_asked_for(read, proxy, cache):
    file = io.BytesIO()
    np.save(file, np.arange(500_000))
    proxy.store.put("a.npy", file.getvalue())
    options = {"storage_options": proxy.store.storage_options, "cache_dir": cache}
    first = bytes(read(proxy.store.address("a.npy"), **options))
    requests = len(proxy.requests)
    assert bytes(read(proxy.store.address("a.npy"), **options)) == first
    assert len(proxy.requests) == requests + 1
    assert sizes(cache) == [len(file.getvalue())]
    with ReadMany(
        [proxy.store.address("a.npy")], storage_options={**options.pop("storage_options"), **options}
    ) as many:
        assert [bytes(data) for _, data in many] == [file.getvalue()]
        stats = many.stats()
    assert stats["bytes_read"] - stats["disk_cache_bytes"] < 100_000


def test_what_many_threads_want_at_once_is_fetched_once(proxy, cache):
    (address,) = put_all(proxy.store, 1, 3 << 20)
    options = {**proxy.store.storage_options, "cache_dir": cache}
    with ReadMany([address] * 16, threads=16, storage_options=options) as many:
        assert {bytes(data) for _, data in many} == {noise(0, 3 << 20)}
        stats = many.stats()
    assert (stats["disk_cache_misses"], stats["disk_cache_hits"]) == (1, 15)
    assert stats["disk_cache_written"] == 3 << 20


def test_the_cap_holds_and_what_was_used_last_stays(moto, cache):
    addresses = put_all(moto, 6)
    right = reader(moto, cache_dir=cache, cache_dir_bytes=3 * space_of(SIZE + 100))
    for i in (0, 1, 2, 0, 3, 0, 4):
        assert right(addresses[i])
        assert used(cache) == ledger(cache) <= 3 * space_of(SIZE + 100)
    assert sizes(cache) == [SIZE, SIZE + 3, SIZE + 4]


def test_a_smaller_cap_than_before_is_kept_to(moto, cache):
    addresses = put_all(moto, 6)
    assert all(map(reader(moto, cache_dir=cache), addresses[:5]))
    assert len(kept(cache)) == 5
    assert reader(moto, cache_dir=cache, cache_dir_bytes=2 * space_of(SIZE + 100))(addresses[5])
    assert sizes(cache) == [SIZE + 4, SIZE + 5]


def test_a_changed_object_is_fetched_anew(store, cache):
    expected, _ = batches(npz_set(store, cache_dir=cache))
    changed = io.BytesIO()
    np.savez(changed, x=np.full((50, 1000), 7))
    store.put("d/3.npz", changed.getvalue())
    dataset = df.Dataset.from_files(
        store.address("d"), storage_options=store.storage_options, cache_dir=cache
    )
    assert (dataset[3]["x"] == 7).all()
    assert (
        df.load(store.address("d/3.npz"), storage_options=store.storage_options, cache_dir=cache)["x"] == 7
    ).all()
    dataset.close()
    assert len(kept(cache)) == 7
    assert len(expected) == 6


def test_an_object_larger_than_the_cap_is_read_where_it_is(moto, cache, caplog):
    addresses = put_all(moto, 3)
    right = reader(moto, cache_dir=cache, cache_dir_bytes=1000)
    assert all(map(right, addresses))
    assert [record.levelno for record in caplog.records if "larger than" in record.message] == [
        logging.WARNING
    ]
    assert kept(cache) == []


def test_what_has_no_etag_is_not_kept(cache, caplog):
    fsspec.filesystem("memory").pipe("/plain/a.bin", b"abc")
    for _ in range(2):
        assert bytes(df.read("memory://plain/a.bin", cache_dir=cache)) == b"abc"
    assert caplog.text.count("objects without an ETag cannot be told apart") == 1


def test_files_that_are_not_the_cache_s_are_left_alone(moto, cache):
    mine = [cache / "notes.txt", cache / "ab" / "notes.txt", cache / "photos" / "0"]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine" * 1000)
    addresses = put_all(moto, 3)
    assert all(map(reader(moto, cache_dir=cache, cache_dir_bytes=space_of(SIZE + 100)), addresses))
    assert all(path.read_bytes() == b"mine" * 1000 for path in mine)


def test_the_same_key_of_another_bucket_is_another_object(new_store, cache):
    stores = [new_store("moto") for _ in range(2)]
    for i, store in enumerate(stores):
        store.put("a.bin", noise(i))
        assert reader(store, cache_dir=cache)(store.address("a.bin"))
    assert len(kept(cache)) == 2


def test_an_empty_object_is_read_too(moto, cache):
    moto.put("a.bin", b"")
    assert all(map(reader(moto, cache_dir=cache), 2 * [moto.address("a.bin")]))


def test_wrappers_and_configurations_name_the_folder(moto, cache, folders):
    remote = uploaded(folders("npz"), moto.put, moto.root)
    named = {**moto.storage_options, "cache_dir": str(cache), "cache_dir_bytes": 10**7}
    by_option = DlioPyTorchDataset(
        config_dict={**remote, "storage": {"storage_options": moto.storage_options}}, cache_dir=cache
    )
    by_config = DlioPyTorchDataset(config_dict={**remote, "storage": {"storage_options": named}})
    assert len(list(by_option)) == len(list(by_config)) == 12
    assert by_option.stats()["disk_cache_misses"] + by_option.stats()["disk_cache_hits"] > 0
    assert by_config.stats()["disk_cache_misses"] == 0 < by_config.stats()["disk_cache_hits"]


@pytest.mark.parametrize(
    "options", [{"cache_dir": 5}, {"cache_dir_bytes": 5}, {"cache_dir": "x", "cache_dir_bytes": -1}]
)
def test_settings_that_mean_nothing_are_refused(options, moto):
    with pytest.raises(ConfigError, match="cache_dir"):
        df.read(moto.address("a"), storage_options=moto.storage_options, **options)


def test_nothing_is_kept_by_default(moto, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (address,) = put_all(moto, 1)
    assert reader(moto)(address)
    assert os.listdir(tmp_path) == []
