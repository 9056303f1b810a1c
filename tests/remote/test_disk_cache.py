"""Objects kept on local disk: read without the store, within a cap, and never wrong."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import fsspec
import numpy as np
import pytest

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.errors import ConfigError
from dlio_fast.storage.disk_cache import space_of
from dlio_fast.storage.local import ReadMany
from dlio_fast.torch import DlioPyTorchDataset
from tests.remote.data_sets import FORMATS, assert_same, batches, uploaded
from tests.remote.processes_reading import FILES, MODES, contents
from tests.remote.proxy import Proxy

SIZE = 300_000


@pytest.fixture
def proxy(moto):
    with Proxy(moto) as proxy:
        yield proxy


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def kept(cache: Path) -> list[Path]:
    return sorted(cache.glob("[0-9a-f][0-9a-f]/*"))


def sizes(cache: Path) -> list[int]:
    """Those of the objects whose copies are there."""
    return sorted(path.stat().st_size - _core.DISK_CACHE_TAIL for path in kept(cache))


def filling(cache: Path) -> list[Path]:
    return list((cache / "filling").iterdir())


def used(cache: Path) -> int:
    return sum(space_of(path.stat().st_size) for path in [*kept(cache), *filling(cache)])


def ledger(cache: Path) -> int:
    return int.from_bytes((cache / "ledger").read_bytes()[:8], "little")


def noise(i: int, size: int = SIZE) -> bytes:
    return np.random.default_rng(i).bytes(size)


def put_all(store, count: int, size: int = SIZE) -> list[str]:
    """Objects of different sizes, and with that of different contents; returns their addresses."""
    for i in range(count):
        store.put(f"{i:02}.bin", noise(i, size + i))
    return [store.address(f"{i:02}.bin") for i in range(count)]


def reader(store, **options):
    """A function that reads an object and says whether it is right."""

    def right(address: str) -> bool:
        data = df.read(address, storage_options=store.storage_options, **options)
        return bytes(data) == store.get(address.removeprefix(store.root + "/"))

    return right


def npz_set(store, **options) -> df.Dataset:
    for i in range(6):
        file = io.BytesIO()
        np.savez(file, x=np.random.default_rng(i).integers(0, 99, (50, 1000)))
        store.put(f"d/{i}.npz", file.getvalue())
    return df.Dataset.from_files(store.address("d"), storage_options=store.storage_options, **options)


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


@pytest.mark.parametrize("damage", ["a byte", "the tail", "cut", "longer", "empty"])
def test_a_damaged_copy_is_noticed_and_fetched_anew(damage, moto, cache, caplog):
    addresses = put_all(moto, 2)
    right = reader(moto, cache_dir=cache)
    assert all(map(right, addresses))
    for path in kept(cache):
        with path.open("r+b") as file:
            size = path.stat().st_size
            if damage in ("a byte", "the tail"):
                file.seek(1000 if damage == "a byte" else size - 10)
                (old,) = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([old ^ 1]))
            else:
                file.truncate({"cut": size - 5000, "longer": size + 1, "empty": 0}[damage])
    assert all(map(right, addresses))
    assert caplog.text.count("copy is damaged") == 2
    assert used(cache) == ledger(cache)
    assert all(map(right, addresses))
    assert caplog.text.count("copy is damaged") == 2


def test_after_a_start_of_the_machine_copies_are_checked_and_stay(proxy, cache):
    addresses = put_all(proxy.store, 3)
    right = reader(proxy.store, cache_dir=cache)
    assert all(map(right, addresses))
    before = {path: path.stat() for path in kept(cache)}
    for path in before:  # as if it had been put there under another boot_id
        os.utime(path, (0, 1000))
    assert all(map(right, addresses))
    assert {path: path.stat().st_ino for path in kept(cache)} == {p: s.st_ino for p, s in before.items()}
    assert all(path.stat().st_mtime == before[path].st_mtime for path in kept(cache))


START = """
import json, logging, os, resource, sys
import dlio_fast as df
logging.basicConfig()
def read(i):
    return bytes(df.read(addresses[i], storage_options=options, cache_dir=cache))
"""


def run(code: str, store, cache: Path):
    """A process that finds `options`, `addresses` of all objects and `cache`."""
    known = json.dumps([store.storage_options, [store.address(key) for key in store.list()], str(cache)])
    start = f"options, addresses, cache = json.loads({known!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", START + start + code, store.address("d")], stderr=subprocess.PIPE, text=True
    )


def test_a_process_killed_while_it_fills_leaves_nothing_for_long(proxy, cache):
    expected = npz_set(proxy.store)
    proxy.inject(method="GET", key="3.npz", stall_after=100_000)
    code = (
        "print(df.Dataset.from_files(sys.argv[1], storage_options=options, cache_dir=cache)[{}]['x'].sum())"
    )
    process = run(code.format(3), proxy.store, cache)
    while not proxy.count("GET", "3.npz"):
        assert proxy.wait_for_requests(len(proxy.requests) + 1, 60)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(kept(cache)) == len(filling(cache)) == 1
    assert used(cache) == ledger(cache) > 2 * 400_000
    assert run(code.format(0), proxy.store, cache).wait(60) == 0
    assert len(kept(cache)), len(filling(cache)) == (1, 0)
    assert used(cache) == ledger(cache) < 2 * 400_000
    again = npz_set(proxy.store, cache_dir=cache)
    assert all((again[i]["x"] == expected[i]["x"]).all() for i in range(6))


def test_who_died_while_counting_is_counted_after(moto, cache):
    addresses = put_all(moto, 2)
    right = reader(moto, cache_dir=cache)
    assert right(addresses[0])
    (cache / "ledger").write_bytes((10**12).to_bytes(8, "little") + (1).to_bytes(8, "little"))
    assert right(addresses[1])
    assert used(cache) == ledger(cache) == 2 * space_of(SIZE + 100)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "ranks"])
def test_every_byte_is_right_in_every_kind_of_process_under_a_cap(mode, radosgw, cache):
    for i in range(FILES):
        file = io.BytesIO()
        np.save(file, contents(i))
        radosgw.put(f"data/f{i:02d}.npy", file.getvalue())
    most = FILES // 2 * space_of(len(file.getvalue()) + 100)
    options = {**radosgw.storage_options, "cache_dir": str(cache), "cache_dir_bytes": most}
    command = [sys.executable, "-m", "tests.remote.processes_reading", mode, radosgw.root]
    done = subprocess.run([*command, json.dumps(options), "5"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert filling(cache) == []
    assert 0 < used(cache) == ledger(cache) <= most


FOUR = """
import hashlib, random
chance = random.Random(os.getpid())
right = json.loads(sys.argv[1])
for _ in range(20):
    order = list(range(len(addresses)))
    chance.shuffle(order)
    for (address, data) in df.read_many([addresses[i] for i in order], threads=3, storage_options=options,
                                        cache_dir=cache, cache_dir_bytes=int(sys.argv[2])):
        assert hashlib.sha256(data).hexdigest() == right[address], address
"""


def test_four_processes_share_a_cache_that_is_too_small_for_all(radosgw, cache):
    import hashlib

    addresses = put_all(radosgw, 10)
    right = {address: hashlib.sha256(noise(i, SIZE + i)).hexdigest() for i, address in enumerate(addresses)}
    most = 6 * space_of(SIZE + 100)
    code = f"sys.argv[1:] = [{json.dumps(right)!r}, {most}]" + FOUR
    stop, over = threading.Event(), []

    def watch():
        while not stop.wait(0.01):
            now = sum(os.stat(p).st_size for p in cache.glob("*/*") if p.exists()) if cache.exists() else 0
            over.extend([now] if now > most else [])

    watcher = threading.Thread(target=watch)
    watcher.start()
    processes = [run(code, radosgw, cache) for _ in range(4)]
    errors = [process.communicate(timeout=250)[1] for process in processes]
    stop.set()
    watcher.join()
    assert [process.returncode for process in processes] == [0] * 4, errors
    assert filling(cache) == []
    assert used(cache) == ledger(cache) <= most
    assert len(kept(cache)) == 6


def test_a_full_disk_ends_the_keeping_and_not_the_reading(moto, cache):
    put_all(moto, 3)
    process = run(
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "assert [len(read(i)) for i in range(3)] == [300000, 300001, 300002]",
        moto,
        cache,
    )
    warnings = process.communicate(timeout=60)[1]
    assert process.returncode == 0, warnings
    assert warnings.count("keeps nothing more there: File too large") == 1
    assert warnings.count("cache_dir") == 1
    assert kept(cache) == filling(cache) == []


def test_a_folder_for_reading_only_serves_what_it_has(moto, cache):
    addresses = put_all(moto, 3)
    assert reader(moto, cache_dir=cache)(addresses[0])
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    for path in (*cache.parents[:3],):
        path.chmod(0o755)
    process = run(
        "df.read(addresses[0], storage_options=options)\n"
        "os.geteuid() or os.seteuid(65534)\n"
        "assert [len(read(i)) for i in (0, 1, 2, 0)] == [300000, 300001, 300002, 300000]",
        moto,
        cache,
    )
    warnings = process.communicate(timeout=60)[1]
    for path in (cache, *cache.rglob("*")):
        path.chmod(0o755)
    assert process.returncode == 0, warnings
    assert warnings.count("keeps nothing more there: ") == 1
    assert sizes(cache) == [SIZE]


def test_no_folder_at_all_is_no_reason_not_to_read(moto, tmp_path, caplog):
    addresses = put_all(moto, 2)
    (tmp_path / "file").write_bytes(b"")
    assert all(map(reader(moto, cache_dir=tmp_path / "file" / "cache"), addresses))
    assert caplog.text.count("keeps nothing more there: Not a directory") == 1


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
