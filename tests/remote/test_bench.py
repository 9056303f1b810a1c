"""What bench says of stores."""

import math

import pytest

from dlio_fast.commands.bench import _lines
from dlio_fast.errors import DlioFastFileNotFoundError, UnsupportedError
from dlio_fast.workload.bench import bench

SIZES = {"a/1": 100_000, "a/b/2": 5, "a/b/c/3": 70_000, "a/.hidden": 9, "other": 1}


@pytest.fixture
def filled(store):
    for key, nbytes in SIZES.items():
        store.put(key, bytes(nbytes))
    return store


def test_everything_below_a_folder_is_read_and_counted_by_endpoint(filled):
    result = bench([f"{filled.root}/a"], storage_options=filled.storage_options, repeat=2, checksum=True)
    assert (result.files, result.direct, result.store) == (3, False, f"{filled.root}/")
    for part in result.rounds:
        assert part.bytes == 170_005
        ((name, asked),) = part.endpoints.items()
        assert name == filled.endpoint.partition("://")[2]
        assert (asked.requests, asked.retries, asked.errors, asked.bytes) == (3, 0, 0, 170_005)
        assert 0 < asked.latency.p50 <= asked.latency.p99 <= asked.latency.max < math.inf
        assert part.cpu_seconds_per_gb > 0 and asked.gb_per_second > 0
        assert part.resident_before is None
    said = "\n".join(_lines(result))
    assert all(word in said for word in ("GB/s", "CPU-s/GB", "requests", "retries", "p99", name))
    found = result.to_dict()
    assert (
        found["rounds"][0]["endpoints"][name]["latency"]["p50"]
        == result.rounds[0].endpoints[name].latency.p50
    )


def test_the_listing_s_sizes_spare_the_requests_for_metadata(moto):
    for i in range(20):
        moto.put(f"{i}", bytes(100))
    (part,) = bench([moto.root], storage_options=moto.storage_options).rounds
    assert [asked.requests for asked in part.endpoints.values()] == [20]


def test_objects_patterns_and_folders_of_one_bucket_go_together(moto):
    for key, nbytes in SIZES.items():
        moto.put(key, bytes(nbytes))
    paths = [moto.address("other"), moto.address("a/b"), moto.address("a/[12]")]
    result = bench(paths, storage_options=moto.storage_options)
    assert (result.files, result.rounds[0].bytes) == (4, 1 + 70_005 + 100_000)


def test_a_store_and_local_files_do_not_go_together(moto, tmp_path):
    moto.put("x", b"x")
    with pytest.raises(UnsupportedError, match="local files and objects"):
        bench([moto.address("x"), tmp_path], storage_options=moto.storage_options)
    with pytest.raises(UnsupportedError, match="O_DIRECT"):
        bench([moto.address("x")], direct=True, storage_options=moto.storage_options)
    with pytest.raises(DlioFastFileNotFoundError, match="absent"):
        bench([moto.address("absent")], storage_options=moto.storage_options)


def test_any_file_system_of_fsspec_s_is_measured():
    import fsspec

    fsspec.filesystem("memory").pipe("/measured/x", b"123")
    (part,) = bench(["memory://measured"]).rounds
    assert (part.bytes, part.endpoints["memory"].requests) == (3, 1)
