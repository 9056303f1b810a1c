"""Ctrl-C ends a read at once, and what was under way does not turn up later."""

import json
import subprocess
import sys
import zlib

import numpy as np
import pytest

from tests.faults.bad_files import END, ENTRY, LOCAL, described, npy, u16, u32

MIB, GIB = 1 << 20, 1 << 30
PROLOGUE = """
import json, os, signal, sys, threading, time
import numpy as np
import dlio_fast as df

def interrupted(read, after=0.3):
    '''Seconds from Ctrl-C until read() is left with KeyboardInterrupt; None: it was through before.'''
    sent = []
    def press():
        time.sleep(after)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=press)
    thread.start()
    try:
        read()
        time.sleep(after)
    except KeyboardInterrupt:
        return time.perf_counter() - sent[0]
    finally:
        thread.join()

folder = sys.argv[1]
"""


def run(folder, program):
    done = subprocess.run(
        [sys.executable, "-c", PROLOGUE + program, folder], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def around(packed_size: int, size: int) -> tuple[bytes, bytes]:
    """What comes before and behind the data of an archive's one, deflated member; its checksum is wrong."""
    fields = u16(0) + u16(8) + u32(0x210000) + u32(1) + u32(packed_size) + u32(size) + u16(5) + u16(0)
    local = LOCAL + u16(20) + fields + b"x.npy"
    entry = ENTRY + u16(20) * 2 + fields + u16(0) * 3 + u32(0) * 2 + b"x.npy"
    end = END + u16(0) * 2 + u16(1) * 2 + u32(len(entry)) + u32(len(local) + packed_size) + u16(0)
    return local, entry + end


def packed_zeros(count: int) -> bytes:
    """A deflated array of so many MiB of zeros, made in no time."""
    header = npy(described(shape=f"({count * MIB},)"))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    begin = packer.compress(header) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = begin + zeros * count + packer.flush()
    local, end = around(len(packed), len(header) + count * MIB)
    return local + packed + end


def hollow(path, begin: bytes, hole: int, end: bytes) -> None:
    with open(path, "wb") as file:
        file.write(begin)
        file.seek(hole, 1)
        file.write(end)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Files that take long to read: mostly holes, and mostly zeros."""
    folder = tmp_path_factory.mktemp("large")
    hollow(folder / "plain.npy", npy(described(shape=f"({3 * GIB},)")), 3 * GIB - 1, b"x")
    hollow(folder / "medium.npy", npy(described(shape=f"({GIB // 2},)")), GIB // 2 - 1, b"x")
    local, end = around(3 * GIB, 3 * GIB)
    hollow(folder / "hollow.npz", local, 3 * GIB, end)
    (folder / "packed.npz").write_bytes(packed_zeros(3 * 1024))
    (folder / "half.npz").write_bytes(packed_zeros(512))
    np.save(folder / "small.npy", np.arange(5))
    np.savez(folder / "small.npz", x=np.arange(5))
    return folder


@pytest.mark.parametrize(
    "read",
    [
        "df.read(folder + '/plain.npy')",
        "list(df.read_many([folder + '/plain.npy'] * 2))",
        "df.load(folder + '/plain.npy')",
        "df.load('direct://' + folder + '/plain.npy')",
        "df.load(folder + '/packed.npz')['x']",
        "df.load(folder + '/hollow.npz')['x']",
        "df.Dataset.from_files(folder + '/packed.npz')[0]",
        "list(df.Loader(df.Dataset.from_files([folder + '/packed.npz'] * 3), threads=2))",
        "list(df.Loader(df.Dataset.from_files([folder + '/plain.npy'] * 3), threads=2))",
    ],
)
def test_ctrl_c_ends_a_read_within_a_fifth_of_a_second(large, read):
    seconds = run(large, f"print(json.dumps(interrupted(lambda: {read})))")
    assert seconds is not None, "the read was through before Ctrl-C"
    assert seconds < 0.2


def test_an_interrupted_sample_does_not_turn_up_as_the_next(large):
    got = run(
        large,
        """
data = df.Dataset.from_files([folder + "/plain.npy", folder + "/small.npy"])
assert interrupted(lambda: data[0]) is not None
print(json.dumps(data[1]["x"].tolist()))
""",
    )
    assert got == [0, 1, 2, 3, 4]


def test_an_interrupted_file_keeps_its_place(large):
    got = run(
        large,
        """
uris = [folder + "/medium.npy", folder + "/small.npy"]
reader = df.read_many(uris, threads=1)
assert interrupted(lambda: next(reader), 0.05) is not None
print(json.dumps([(uri == expected, buffer.nbytes) for expected, (uri, buffer) in zip(uris, reader)]))
""",
    )
    assert got == [
        [True, (large / "medium.npy").stat().st_size],
        [True, (large / "small.npy").stat().st_size],
    ]


def test_an_interrupted_epoch_can_go_on(large):
    got = run(
        large,
        """
data = df.Dataset.from_files([folder + "/half.npz", folder + "/small.npz"], ragged=True)
passing = iter(df.Loader(data, batch_size=1, threads=2, verify=False))
assert interrupted(lambda: next(passing), 0.05) is not None
print(json.dumps([batch["x"][0].nbytes for batch in passing]))
""",
    )
    assert got == [GIB // 2, 40]
