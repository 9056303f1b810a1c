"""However a pass ends, no thread, descriptor or byte of it is left; and what was handed out stays valid."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import ClosedError
from tests.faults.bad_files import described, npy

MIB = 1 << 20


@pytest.fixture
def files(tmp_path):
    """Twelve files of 64 KiB, the i-th full of i."""
    paths = [tmp_path / f"{i:02d}.npz" for i in range(12)]
    for i, path in enumerate(paths):
        np.savez(path, x=np.full(65536, i, np.uint8))
    return paths


def threads():
    return len(os.listdir("/proc/self/task"))


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_passes_dropped_midway_leave_nothing(files):
    loader = df.Loader(df.Dataset.from_files(files), batch_size=2, shuffle=True, threads=2)

    def drop(times):
        for i in range(times):
            passing = iter(loader)
            for _ in range(i % 4):
                next(passing)
            del passing

    drop(50)
    gc.collect()
    before = threads(), descriptors()
    memory = resident()
    drop(1000)
    gc.collect()
    assert (threads(), descriptors()) == before
    assert resident() - memory < 8 * MIB
    assert loader.stats()["pool"]["lent"] == 0
    loader.close()


def test_a_thousand_loaders_leave_nothing(files):
    data = df.Dataset.from_files(files)

    def drop(times):
        for i in range(times):
            for batch in df.Loader(data, batch_size=3, threads=2):
                assert batch["x"].shape == (3, 65536)
                if i % 2:
                    break

    drop(20)
    gc.collect()
    before, memory = (threads(), descriptors()), resident()
    drop(300)
    gc.collect()
    assert (threads(), descriptors()) == before
    assert resident() - memory < 8 * MIB


def test_a_pass_in_a_cycle_of_garbage_is_collected(files):
    before = threads()
    data = df.Dataset.from_files(files)
    for _ in range(20):
        passing = iter(df.Loader(data, batch_size=2, threads=2))
        cycle = [passing, next(passing)]
        cycle.append(cycle)
        del cycle, passing
    gc.collect()
    assert threads() == before


def test_an_exception_in_the_loop_ends_the_pass(files):
    before = threads(), descriptors()

    def train():
        for _ in df.Loader(df.Dataset.from_files(files), threads=2):
            raise KeyError("the loop's own")

    for _ in range(20):
        with pytest.raises(KeyError, match="own"):
            train()
    gc.collect()
    assert (threads(), descriptors()) == before


def test_no_thread_before_it_is_needed_and_none_after_close(files):
    before = threads()
    data = df.Dataset.from_files(files)
    loader = df.Loader(data, batch_size=2, threads=2)
    assert len(loader) == 6 and threads() == before
    passing = iter(loader)
    kept = next(passing)
    assert threads() > before
    loader.close()
    loader.close()
    assert threads() == before
    assert (kept["x"][1] == 1).all()
    for use in (lambda: next(passing), lambda: iter(loader)):
        with pytest.raises(ClosedError):
            use()
    data[3]
    data.close()
    data.close()
    assert threads() == before
    assert (data[3]["x"] == 3).all()
    data.close()


def test_a_loader_closed_by_another_thread_ends_the_wait(files):
    loader = df.Loader(df.Dataset.from_files(files), batch_size=1, threads=1)
    ended = []

    def consume():
        try:
            while True:
                for _ in loader:
                    pass
        except ClosedError as error:
            ended.append(error)

    consumers = [threading.Thread(target=consume) for _ in range(3)]
    for consumer in consumers:
        consumer.start()
    loader.close()
    for consumer in consumers:
        consumer.join(10)
    assert len(ended) == 3


def test_batches_that_are_kept_never_change(files):
    loader = df.Loader(
        df.Dataset.from_files(files), batch_size=3, shuffle=True, threads=2, prefetch_bytes=200_000
    )
    kept = []
    for _ in range(6):
        for batch in loader:
            kept.append((batch["x"], batch["x"][:, 0].copy()))
            if len(kept) % 5 == 0:
                del kept[::2]
    loader.close()
    assert all((array == first[:, None]).all() for array, first in kept)


def test_threads_may_share_an_archive(tmp_path):
    arrays = {f"a{i}": np.random.default_rng(i).integers(0, 16, 300_000, np.uint8) for i in range(4)}
    np.savez_compressed(tmp_path / "f.npz", **arrays)
    archive, wrong = df.load(tmp_path / "f.npz"), []

    def read(name):
        for _ in range(20):
            if not np.array_equal(archive[name], arrays[name]):
                wrong.append(name)
        wrong.remove(name + " still reading")

    readers = [threading.Thread(target=read, args=(name,)) for name in arrays]
    wrong.extend(name + " still reading" for name in arrays)
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert not wrong


def test_a_view_keeps_the_memory(files):
    loader = df.Loader(df.Dataset.from_files(files), batch_size=4, threads=2)
    view = memoryview(next(iter(loader))["x"][2, 100:200])
    for _ in range(3):
        for _ in loader:
            pass
    del loader
    gc.collect()
    assert bytes(view) == bytes([2]) * 100


def program(folder, text):
    return subprocess.run(
        [sys.executable, "-c", "import sys, os, dlio_fast as df\nfolder = sys.argv[1]\n" + text, folder],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip


@pytest.mark.parametrize(
    "ending",
    [
        "",
        "raise SystemExit(0)",
        "import atexit; atexit.register(lambda: next(passing))",
        "reader = df.read_many([folder + '/00.npz'] * 50); next(reader)",
        "import threading; threading.Thread(target=lambda: list(df.Loader(data)), daemon=True).start()",
        "sys.modules['keep'] = passing",
    ],
)
def test_the_interpreter_exits_silently_with_a_pass_alive(files, ending):
    text = (
        "data = df.Dataset.from_files(folder)\nloader = df.Loader(data, batch_size=2)\n"
        "passing = iter(loader)\nbatch = next(passing)\nsample = data[1]\n"
    )
    done = program(files[0].parent, text + ending)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_child_forked_midway_is_on_its_own(files):
    done = program(
        files[0].parent,
        """
data = df.Dataset.from_files(folder)
loader = df.Loader(data, batch_size=2, threads=2)
passing = iter(loader)
first, sample, archive = next(passing), data[3], df.load(folder + "/05.npz")
children = []
for _ in range(5):
    child = os.fork()
    if child:
        children.append(child)
        continue
    assert first["x"][1, 7] == 1 and loader.stats()["batches"] <= 1
    try:
        next(passing)
    except df.DlioFastError as error:
        assert "fork" in str(error)
    else:
        raise AssertionError("the parent's pass went on in the child")
    assert sum(len(batch["x"]) for batch in loader) == 12
    assert sum(len(batch["x"]) for batch in df.Loader(data, batch_size=5)) == 12
    assert data[3]["x"][0] == 3 and archive["x"][0] == 5
    loader.close()
    del first, passing, loader, data, sample, archive
    sys.exit(0)
assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 5
assert sum(len(batch["x"]) for batch in passing) == 10
print("done")
""",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_memory_stays_within_the_budget(tmp_path, scheme):
    """128 files of 8 MiB: the budget, what the consumer holds, and 64 MB."""
    header = npy(described(shape=f"({8 * MIB},)"))
    for i in range(128):
        with open(tmp_path / f"{i:03d}.npy", "wb") as file:
            file.write(header)
            file.truncate(len(header) + 8 * MIB)
    done = program(
        tmp_path,
        f"""
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
before = peak()
data = df.Dataset.from_files({scheme!r} + folder)
loader = df.Loader(data, batch_size=4, threads=4, prefetch_bytes=64 << 20)
total = 0
for epoch in range(2):
    for batch in loader:
        total += batch["x"].nbytes
print(total >> 20, (peak() - before) >> 20, loader.stats()["peak_bytes_in_flight"] >> 20)
""",
    )
    assert done.returncode == 0, done.stderr
    total, peak, in_flight = map(int, done.stdout.split())
    assert total == 2048
    assert in_flight <= 64
    assert peak <= 64 + 2 * 32 + 61  # the consumer has the last batch while it takes the next
