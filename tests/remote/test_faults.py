"""Through a proxy that does harm: every byte is right, or an error names its object, in bounded time."""

import gc
import logging
import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlio_fast import _core
from dlio_fast.errors import DlioFastTimeoutError, FileChangedError, StoreError
from dlio_fast.storage import remote
from tests.remote import needs
from tests.remote.epochs import (
    COUNT,
    NOT_READ,
    RETRY,
    ROADS,
    assert_whole,
    data_set,
    epoch,
    fill,
)

PASSING = {
    "refused": {"refuse": True},
    "reset in the head": {"reset_after": 0},
    "reset": {"reset_after": 30_000},
    "cut short": {"truncate_after": 30_000},
    "stall": {"stall_after": 30_000, "every": 4},
    "silence": {"delay": math.inf, "every": 4},
    "drip": {"drip": (100, 0.05), "every": 4},
    "500": {"status": 500},
    "503": {"status": 503},
    "503 with Retry-After": {"status": 503, "retry_after": "1", "every": 5},
    "429": {"status": 429},
    "latency": {"delay": 0.2},
}
"""What another attempt mends; it strikes every third request, if nothing else is said."""

BY_FSSPEC = ("reset", "cut short", "stall", "drip", "503")
"""Of these, what is also tried with s3fs and adlfs, whose own retries take their time."""

LIES = {
    "more announced": {"longer": 7},
    "less announced": {"longer": -7},
    "no length": {"headers": {"Content-Length": "-1"}},
    "another range": {"headers": {"Content-Range": "bytes 5-10/11"}},
    "no range": {"headers": {"Content-Range": None}},
    "200 for 206": {"say_status": 200},
    "all for a part": {"ignore_range": True},
    "another ETag": {"headers": {"ETag": '"0123456789abcdef0123456789abcdef"'}},
    "nonsense": {"raw": b"HTTP/1.1 yes\r\n\r\n"},
}
"""Answers that do not fit."""

BOUND = COUNT * (RETRY + 3 * NOT_READ)
"""Seconds: as if each object was given up after all that is granted to it, one after the other."""


@pytest.fixture(scope="module", params=["radosgw", "azurite"])
def filled(request, servers):
    try:
        store = servers.new_store(request.param)
    except needs.Missing as missing:
        needs.give_up(missing)
    fill(store)
    yield store
    store.remove()


@pytest.fixture
def proxy(filled, new_proxy, caplog):
    """Before the store; in the end no connection is left."""
    caplog.set_level(logging.CRITICAL, "dlio_fast")  # a record keeps its error, and that the store
    forget()
    before = _core.debug_counters()["connections"]  # of what tests elsewhere have left alive
    yield new_proxy(filled)
    forget()
    assert _core.debug_counters()["connections"] <= before


def forget():
    gc.collect()
    remote.forget_stores()
    gc.collect()


def idle_at_most(proxy, number):
    """What is still open is idle and kept to be used again."""
    assert any(proxy.wait_for_connections(n, 0.5) for n in range(number + 1))


BOTH = [(road, name) for road in ROADS for name in PASSING if road == "http" or name in BY_FSSPEC]


@pytest.mark.parametrize(("road", "name"), BOTH)
def test_what_passes_costs_time_and_nothing_else(proxy, road, name):
    dataset = data_set(proxy.store, road)
    fault = proxy.inject(**{"method": "GET", "key": "/data/", "times": None, "every": 3, **PASSING[name]})
    result = epoch(dataset)
    assert_whole(result, proxy.store)
    assert fault.struck > 0
    assert result.seconds < BOUND
    if road == "http":
        assert result.errors == []
        assert (result.stats["retries"] > 0) == (name != "latency")
        idle_at_most(proxy, 8)
    else:  # adlfs and s3fs wait for a slow drip as long as they are let
        assert all(isinstance(error, DlioFastTimeoutError) for error in result.errors) or name == "drip"
        assert name == "drip" or result.errors == []


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", LIES)
def test_what_does_not_fit_is_an_error_that_names_its_object(proxy, road, name):
    dataset = data_set(proxy.store, road)
    assert len(dataset) == COUNT
    fault = proxy.inject(**{"method": "GET", "key": "/data/", "times": None, "every": 3, **LIES[name]})
    result = epoch(dataset)
    assert_whole(result, proxy.store)
    assert fault.struck > 0
    assert result.seconds < BOUND
    assert all(isinstance(error, (FileChangedError, StoreError)) for error in result.errors)
    proxy.clear()
    again = epoch(dataset)
    assert (again.seen, again.errors) == (list(range(COUNT)), [])


@pytest.mark.parametrize("road", ROADS)
def test_a_store_that_fails_for_good_is_given_up_in_time(proxy, road):
    dataset = data_set(proxy.store, road, attempts=3)
    assert len(dataset) == COUNT
    proxy.inject(method="GET", key="/data/", times=None, status=503)
    result = epoch(dataset)
    assert_whole(result, proxy.store)
    assert len(result.errors) == COUNT
    # adlfs may still try again when the time is over
    assert all(isinstance(error, (StoreError, DlioFastTimeoutError)) for error in result.errors)
    assert result.seconds < BOUND


@pytest.mark.parametrize("road", ROADS)
def test_samples_that_cannot_be_had_are_skipped_where_that_is_asked_for(proxy, road):
    dataset = data_set(proxy.store, road, attempts=2)
    assert len(dataset) == COUNT
    proxy.inject(method="GET", key="/data/004", times=None, status=503)
    proxy.inject(method="GET", key="/data/007", times=None, status=404)
    result = epoch(dataset, on_error="skip")
    assert result.errors == []
    assert result.seen == [i for i in range(COUNT) if i not in (4, 7)]
    assert result.stats["skipped_samples"] == 2


SCHEDULES = st.lists(
    st.fixed_dictionaries(
        {"skip": st.integers(0, 12), "times": st.integers(1, 3), "every": st.integers(1, 3)},
        optional={"key": st.sampled_from([f"/data/{i:03}" for i in range(COUNT)])},
    ).flatmap(
        lambda whom: st.one_of(
            st.builds(lambda n: {"reset_after": n}, st.integers(0, 400_000)),
            st.builds(lambda n: {"truncate_after": n}, st.integers(0, 400_000)),
            st.builds(lambda n: {"stall_after": n}, st.integers(0, 400_000)),
            st.builds(lambda status: {"status": status}, st.sampled_from([429, 500, 502, 503, 504])),
            st.just({"refuse": True}),
        ).map(lambda fault: {**whom, **fault})
    ),
    max_size=5,
)


@given(schedule=SCHEDULES)
@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, *HealthCheck]
)
def test_no_schedule_of_faults_loses_anything(proxy, schedule):
    proxy.clear()
    dataset = data_set(proxy.store, "http", attempts=100, retry_timeout=60)
    assert len(dataset) == COUNT
    for fault in schedule:
        proxy.inject(method="GET", **{"key": "/data/", **fault})
    result = epoch(dataset, shuffle=False)
    assert (result.seen, result.errors) == (list(range(COUNT)), [])
    idle_at_most(proxy, 8)


def test_connections_that_the_server_closes_meanwhile_are_no_failure(proxy):
    dataset = data_set(proxy.store, "http")
    assert epoch(dataset).seen == list(range(COUNT))
    proxy.drop_connections()
    result = epoch(dataset)
    assert (result.seen, result.errors) == (list(range(COUNT)), [])


def test_listing_leaves_no_connection(proxy):
    for _ in range(3):
        assert len(data_set(proxy.store, "http").files) == COUNT
    assert proxy.connections > 0
    assert proxy.wait_for_connections(0, 3)


@pytest.mark.parametrize("road", ROADS)
def test_resets_anywhere_in_an_object_are_mended(proxy, road):
    dataset = data_set(proxy.store, road)
    places = random.Random(5)
    for _ in range(10):
        proxy.inject(method="GET", key="/data/", reset_after=places.randrange(40_000), skip=1)
    result = epoch(dataset)
    assert (result.seen, result.errors) == (list(range(COUNT)), [])
