"""Generating into stores: the same files as locally, whole or not at all, in bounded memory."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import ClosedError, DlioFastFileNotFoundError, DlioFastPermissionError, StoreError
from dlio_fast.formats.generating import generated_formats
from dlio_fast.formats.layout import FileLayout
from dlio_fast.formats.object_writing import ObjectWriter
from dlio_fast.storage.remote import remote_store
from dlio_fast.storage.uploading import PART, WHOLE, put_object, put_parts
from dlio_fast.workload.generate import generate

ONE_A_FILE = ("jpeg", "png")
LARGE = 2 * PART + 1000
"""Bytes of three parts."""


def configuration(**dataset):
    return df.load_config(
        {
            "dataset": {
                "format": "npz", "num_files_train": 5, "num_files_eval": 2, "record_length_bytes": 30_000,
                **dataset,
            }
        }
    )  # fmt: skip


def contents(folder):
    """Every file below a folder by its relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def objects(store, prefix="data/"):
    return {key.removeprefix(prefix): store.get(key) for key in store.list(prefix)}


def into(store, cfg, folder="data", **options):
    address = f"{store.root}/{folder}"
    return generate(cfg, data_folder=address, storage_options=store.storage_options, **options)


@pytest.fixture(params=["radosgw", "azurite"])
def real_store(request, new_store):
    return new_store(request.param)


@pytest.mark.parametrize("name", generated_formats())
def test_every_format_is_generated_as_it_is_locally(name, real_store, tmp_path):
    cfg = configuration(
        format=name, num_samples_per_file=1 if name in ONE_A_FILE else 3, num_subfolders_train=2
    )
    generate(cfg, data_folder=tmp_path)
    result = into(real_store, cfg)
    assert objects(real_store) == contents(tmp_path)
    assert (result.files, result.skipped, result.folder) == (7, 0, f"{real_store.root}/data")

    remote = df.Dataset(cfg, data_folder=result.folder, storage_options=real_store.storage_options)
    local = df.Dataset(cfg, data_folder=tmp_path)
    with df.Loader(remote, batch_size=4) as theirs, df.Loader(local, batch_size=4) as ours:
        for found, expected in zip(theirs, ours, strict=True):
            for field, values in expected.items():
                np.testing.assert_array_equal(found[field], values)

    assert into(real_store, cfg, skip_existing=True).skipped == 7


@pytest.mark.parametrize("compression", ["none", "zip"])
def test_files_larger_than_one_request_takes_go_in_parts(compression, real_store, tmp_path):
    cfg = configuration(
        num_files_train=2, num_files_eval=0, record_length_bytes=WHOLE + 1_000_000, compression=compression
    )
    generate(cfg, data_folder=tmp_path)
    result = into(real_store, cfg)
    assert objects(real_store) == contents(tmp_path)
    assert result.bytes > 2 * WHOLE
    assert real_store.unfinished() == []


def test_a_checksum_in_the_head_and_one_in_the_tail_are_right_in_parts_too(radosgw, tmp_path):
    from dlio_fast.formats.writing import Writer

    layout = FileLayout(
        b"head" * 10, 3 * PART + 12345, b"tail" * 5, crc_from=8, crc_in_head=4, crc_in_tail=12
    )
    store = remote_store(radosgw.root, radosgw.storage_options)
    Writer().write_layout(str(tmp_path / "x"), layout, seed=1, stream=2, kind=0)
    for whole in (WHOLE, PART):
        ObjectWriter(store, whole=whole).write_layout(radosgw.address("x"), layout, seed=1, stream=2, kind=0)
        assert radosgw.get("x") == (tmp_path / "x").read_bytes()


def test_what_is_complete_is_kept_and_the_rest_made_again(store):
    cfg = configuration()
    into(store, cfg)
    expected = objects(store)
    names = sorted(name for name in expected if name.startswith("train/"))
    store.delete(f"data/{names[0]}")
    store.put(f"data/{names[1]}", expected[names[1]][:-1])
    store.put(f"data/{names[2]}", b"\xff" + expected[names[2]][1:])
    result = into(store, cfg, skip_existing=True)
    assert (result.files, result.skipped) == (3, 4)
    assert objects(store) == expected


def test_a_missing_index_is_made_again_with_its_file(moto):
    cfg = configuration(format="tfrecord", num_samples_per_file=2)
    into(moto, cfg)
    expected = objects(moto)
    moto.delete("data/index/train/img_1_of_5.tfrecord.idx")
    moto.put("data/index/train/img_2_of_5.tfrecord.idx", b"0 1\n")
    assert into(moto, cfg, skip_existing=True).files == 2
    assert objects(moto) == expected


def test_ranks_share_the_files(moto, tmp_path):
    cfg = configuration()
    generate(cfg, data_folder=tmp_path)
    assert [into(moto, cfg, rank=rank, world_size=3).files for rank in range(3)] == [3, 2, 2]
    assert objects(moto) == contents(tmp_path)


def test_what_a_reader_would_take_for_data_is_warned_of(moto):
    moto.put("data/train/other.npz", b"x")
    moto.put("data/train/notes.txt", b"x")
    with pytest.warns(UserWarning, match="1 files or folders are not part of this data set.*other.npz"):
        into(moto, configuration())


def test_any_file_system_of_fsspec_s_can_be_generated_into(tmp_path):
    import fsspec

    cfg = configuration(format="tfrecord")
    generate(cfg, data_folder=tmp_path)
    for _ in range(2):
        result = generate(cfg, data_folder="memory://generated/x", skip_existing=True)
    assert (result.files, result.skipped) == (0, 7)
    memory = fsspec.filesystem("memory")
    found = {path.removeprefix("/generated/x/"): memory.cat(path) for path in memory.find("/generated/x")}
    assert found == contents(tmp_path)


# Faults


@pytest.fixture
def opened(real_store):
    return remote_store(real_store.root, real_store.storage_options)


def failing_parts(error):
    yield bytes(PART)
    yield bytes(PART)
    raise error


def test_an_upload_that_fails_leaves_nothing_at_the_store(real_store, opened):
    with pytest.raises(ValueError, match="broken"):
        put_parts(opened, real_store.address("x"), failing_parts(ValueError("broken")))
    assert (real_store.unfinished(), real_store.list()) == ([], {})


def test_an_object_that_was_there_stays_when_its_replacement_fails(real_store, opened):
    real_store.put("x", b"old")
    with pytest.raises(KeyboardInterrupt):
        put_parts(opened, real_store.address("x"), failing_parts(KeyboardInterrupt()))
    assert real_store.get("x") == b"old"


def test_a_cancelled_writer_leaves_nothing_at_the_store(real_store, opened):
    writer = ObjectWriter(opened, whole=PART)

    def encode(file):
        file.write(bytes(LARGE))
        writer.cancel()

    with pytest.raises(ClosedError, match="x: writing was cancelled"):
        writer.write_encoded(real_store.address("x"), encode)
    with pytest.raises(ClosedError):
        writer.write_bytes(real_store.address("y"), b"y")
    assert (real_store.unfinished(), real_store.list()) == ([], {})


def test_an_object_is_cancelled_while_its_parts_are_under_way(real_store, opened):
    parts = 0

    def cancelled():
        return parts > 2

    def endless():
        nonlocal parts
        while True:
            yield bytes(PART)
            parts += 1

    with pytest.raises(ClosedError, match="cancelled"):
        put_parts(opened, real_store.address("x"), endless(), cancelled)
    assert (real_store.unfinished(), real_store.list()) == ([], {})


ENDLESS = """
import sys
import dlio_fast as df
from dlio_fast.workload.generate import generate
cfg = df.load_config({"dataset": {"format": "npz", "num_files_train": 8, "record_length_bytes": 70 << 20}})
print("begins", flush=True)
generate(cfg, data_folder=sys.argv[1], threads=2)
"""


def begun(store):
    """A process that generates large objects, as soon as one of its uploads is under way."""
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS, f"{store.root}/data"],
        env={**os.environ, **store.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and not store.unfinished():
        pass
    return process


def test_ctrl_c_aborts_what_is_under_way(real_store):
    process = begun(real_store)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT and b"KeyboardInterrupt" in said
    assert real_store.unfinished() == []


def test_what_a_killed_run_left_is_dropped_by_the_next(real_store):
    process = begun(real_store)
    process.kill()
    process.communicate()
    assert real_store.unfinished()
    into(real_store, configuration(num_files_train=8, num_files_eval=0, record_length_bytes=100))
    assert real_store.unfinished() == []


def test_a_wrong_key_a_missing_bucket_and_a_dead_server_are_said_before_anything_is_made(radosgw):
    address, options = f"{radosgw.root}/data", radosgw.storage_options
    cases = (
        (address, {**options, "secret": "wrong"}, DlioFastPermissionError),
        (f"{radosgw.root}-absent/data", options, DlioFastFileNotFoundError),
        (address, {**options, "endpoint_url": "http://127.0.0.1:9"}, StoreError),
    )
    for where, given, error in cases:
        with pytest.raises(error) as caught:
            generate(configuration(), data_folder=where, storage_options=given)
        assert all(secret not in str(caught.value) for secret in radosgw.secrets)
    assert radosgw.list() == {}


def test_an_object_is_put_whole(store):
    opened = remote_store(store.root, store.storage_options)
    for data in (b"", b"x", bytearray(b"xyz"), memoryview(np.arange(1000, dtype=np.uint8).tobytes() * 2000)):
        put_object(opened, store.address("a b/ü?#%"), data)
        assert store.get("a b/ü?#%") == bytes(data)


MEASURED = r"""
import re, sys
import dlio_fast as df
from dlio_fast.workload.generate import generate
files, nbytes = map(int, sys.argv[2:])
cfg = df.load_config({"dataset": {"format": "npz", "num_files_train": files, "record_length_bytes": nbytes}})
generate(cfg, data_folder=sys.argv[1])
with open("/proc/self/status") as status:  # getrusage() counts the parent's pages, too
    print(re.search(r"VmHWM:\s+(\d+)", status.read())[1])
"""


@pytest.mark.parametrize(("files", "nbytes"), [(24, 32 << 20), (1, 512 << 20)])
def test_memory_is_bounded(radosgw, files, nbytes):
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, f"{radosgw.root}/data", str(files), str(nbytes)],
        env={**os.environ, **radosgw.environment},
        capture_output=True,
        check=True,
    )
    assert len(radosgw.list()) == files
    assert int(done.stdout) << 10 < 800 << 20
