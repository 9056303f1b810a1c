"""Several endpoints of one store, of which some die and come back."""

import threading
import time

import pytest

import dlio_fast as df
from tests.remote.epochs import COUNT, data_set, epoch, fill
from tests.remote.proxy import Proxy


@pytest.fixture
def two(radosgw, new_proxy, monkeypatch):
    """Two proxies before a filled store, which both serve it."""
    fill(radosgw)
    proxies = [new_proxy(radosgw), new_proxy(radosgw)]
    monkeypatch.setenv("S3_ENDPOINT_URIS", ",".join(proxy.endpoint for proxy in proxies))
    return radosgw, proxies


def spread(store, **more):
    return data_set(store, "http", endpoint_url=None, **more)


def test_requests_are_spread_over_them(two):
    store, proxies = two
    result = epoch(spread(store))
    assert (result.seen, result.errors) == (list(range(COUNT)), [])
    first, second = (proxy.count("GET", "/data/") for proxy in proxies)
    assert min(first, second) >= COUNT // 3


def test_one_that_dies_in_mid_epoch_costs_nothing_and_is_used_again_when_it_is_back(two):
    store, (first, second) = two
    dataset = spread(store)
    assert len(dataset) == COUNT
    dying = threading.Thread(target=second.close)
    second.inject(method="GET", key="/data/", skip=2, before=dying.start)
    result = epoch(dataset, batch_size=1)
    dying.join()
    assert (result.seen, result.errors) == (list(range(COUNT)), [])
    assert first.count("GET", "/data/") > COUNT // 2

    with Proxy(store, port=second.port) as back:
        for _ in range(50):  # left out for half a second at first, and longer after each try
            result = epoch(dataset)
            assert (result.seen, result.errors) == (list(range(COUNT)), [])
            if back.count("GET", "/data/"):
                break
        assert back.count("GET", "/data/") > 0


def test_one_that_answers_with_errors_alone_costs_nothing(two):
    store, (_, second) = two
    dataset = spread(store)
    assert len(dataset) == COUNT
    second.inject(times=None, status=503)
    result = epoch(dataset)
    assert (result.seen, result.errors) == (list(range(COUNT)), [])


def test_where_all_are_dead_it_is_said(two):
    store, proxies = two
    dataset = spread(store, retry_timeout=2)
    assert len(dataset) == COUNT
    for proxy in proxies:
        proxy.close()
    result = epoch(dataset)
    assert len(result.errors) == COUNT
    assert all(isinstance(error, OSError) for error in result.errors)


def test_a_dead_first_endpoint_is_passed_by_in_listing_too(radosgw):
    radosgw.put("data/a.npy", b"x" * 10)
    endpoints = ["http://127.0.0.1:9", radosgw.storage_options["endpoint_url"]]
    options = {**radosgw.storage_options, "endpoint_url": endpoints}
    began = time.monotonic()
    files = df.Dataset.from_files(f"{radosgw.root}/data", format="npy", storage_options=options).files
    assert list(files) == [radosgw.address("data/a.npy")]
    assert time.monotonic() - began < 10
