"""The disk cache among processes, and where the disk, its files or a process fail: never a wrong byte."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from dlio_fast.storage.disk_cache import space_of
from tests.remote.disk_cache_use import (
    SIZE,
    filling,
    kept,
    ledger,
    noise,
    npz_set,
    put_all,
    reader,
    run,
    sizes,
    used,
)
from tests.remote.processes_reading import FILES, MODES, contents
from tests.remote.proxy import Proxy


@pytest.fixture
def proxy(moto):
    with Proxy(moto) as proxy:
        yield proxy


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
    with open(os.path.join(cache, 'ledger'), 'rb') as ledger:
        assert int.from_bytes(ledger.read(8), 'little') <= int(sys.argv[2])
"""


def test_four_processes_share_a_cache_that_is_too_small_for_all(radosgw, cache):
    addresses = put_all(radosgw, 10)
    right = {address: hashlib.sha256(noise(i, SIZE + i)).hexdigest() for i, address in enumerate(addresses)}
    most = 6 * space_of(SIZE + 100)
    code = f"sys.argv[1:] = [{json.dumps(right)!r}, {most}]" + FOUR
    processes = [run(code, radosgw, cache) for _ in range(4)]
    errors = [process.communicate(timeout=250)[1] for process in processes]
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
