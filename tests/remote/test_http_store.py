"""The core's own client, on real servers and through a proxy that does harm."""

import hashlib
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dlio_fast import _core, errors
from tests.remote.fast import credentials, open_store
from tests.remote.stores import AzureStore
from tests.remote.test_http_signatures import KEYS

DATA = hashlib.shake_256(b"objects").digest(300_000)
ONE_PART = 8 << 20


@pytest.fixture
def pool():
    return _core.Pool(64 << 20)


@pytest.fixture(autouse=True)
def _no_connection_is_left():
    before = _core.debug_counters()["connections"]  # of tests elsewhere, idle
    yield
    assert _core.debug_counters()["connections"] <= before


def test_odd_keys_are_written_and_read(store, pool):
    fast = open_store(store)
    for number, key in enumerate(KEYS):
        if store.server.startswith("azurite") and (".." in key or "\\" in key or key.endswith("/")):
            continue  # Azure's SDK itself changes these
        data = DATA[number:]
        store.put(key, data)
        assert bytes(fast.read(store.address(key), pool=pool)) == data
        fast.put(store.address("copy-" + key), data)
        assert store.get("copy-" + key) == data


def test_ranges_and_sizes_known_or_not(store, pool):
    fast = open_store(store)
    for size in (0, 1, 65535, 65536, 65537, len(DATA)):
        store.put("a", DATA[:size])
        for known in (None, size):
            for offset, length in (
                (0, size),
                (0, size // 2),
                (size // 3, size // 2),
                (size, 0),
                (max(size - 22, 0), None),
            ):
                want = DATA[offset : size if length is None else offset + length]
                assert bytes(fast.read(store.address("a"), offset, length, pool=pool, size=known)) == want
    with pytest.raises(errors.TruncatedError):
        fast.read(store.address("a"), 5, len(DATA), pool=pool)


def test_a_long_range_comes_in_parts_at_once(s3_store, pool, new_proxy):
    data = hashlib.shake_256(b"long").digest(4 * ONE_PART + 12345)
    s3_store.put("long", data)
    proxy = new_proxy(s3_store)
    proxy.inject(method="GET", reset_after=3_000_000)
    fast = open_store(proxy.store)
    assert (
        bytes(fast.read(s3_store.address("long"), 7, len(data) - 9, pool=pool, size=len(data))) == data[7:-2]
    )
    assert proxy.most_connections == 4
    assert proxy.count("GET") == 5


def test_threads_take_turns_on_as_many_connections(radosgw, pool):
    radosgw.put("a", DATA)
    fast = open_store(radosgw)

    def read(_):
        return fast.read(radosgw.address("a"), 0, 1000, pool=pool, size=len(DATA)).nbytes

    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(read, range(1000))) == {1000}
    assert sum(endpoint["connections"] for endpoint in fast.stats().values()) <= 4


def test_what_is_missing_or_forbidden_is_said_at_once(store, pool):
    with pytest.raises(errors.DlioFastFileNotFoundError, match="404"):
        open_store(store).read(store.address("nothing"), pool=pool)
    if store.server == "moto":
        return  # which looks at no signature
    wrong = {
        **credentials(store),
        "account_key" if isinstance(store, AzureStore) else "secret_access_key": "d3Jvbmc=",
    }
    with pytest.raises(errors.DlioFastPermissionError, match="403"):
        open_store(store, credentials=lambda: wrong).read(store.address("nothing"), pool=pool)


@pytest.mark.parametrize(
    "fault",
    [
        {"refuse": True}, {"reset_after": 0}, {"reset_after": 100_000}, {"truncate_after": 100_000},
        {"stall_after": 100_000}, {"delay": math.inf}, {"status": 503}, {"status": 500, "times": 3},
        {"status": 429, "retry_after": "1"}, {"raw": b""}, {"drip": (1, 0.1)},
    ],
    ids=str,
)  # fmt: skip
def test_what_passes_is_retried_and_every_byte_is_right(radosgw, pool, new_proxy, fault):
    radosgw.put("a", DATA)
    proxy = new_proxy(radosgw)
    injected = proxy.inject(method="GET", **fault)
    fast = open_store(proxy.store)
    for size in (len(DATA), None):
        assert bytes(fast.read(radosgw.address("a"), pool=pool, size=size)) == DATA
    assert injected.struck == injected.times
    assert sum(endpoint["retries"] for endpoint in fast.stats().values()) >= injected.times


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"longer": 5}, errors.FileChangedError),
        ({"longer": -5}, errors.FileChangedError),
        ({"headers": {"Content-Length": "-1"}}, errors.StoreError),
        ({"headers": {"ETag": '"other"'}}, errors.FileChangedError),
        ({"headers": {"ETag": None}}, errors.FileChangedError),
        ({"say_status": 206}, errors.StoreError),
        ({"raw": b"nonsense\r\n\r\n"}, errors.StoreError),
        ({"status": 412}, errors.FileChangedError),
    ],
    ids=str,
)
def test_what_does_not_fit_is_an_error(radosgw, pool, new_proxy, fault, error):
    etag = radosgw.put("a", DATA)
    proxy = new_proxy(radosgw)
    proxy.inject(method="GET", **fault)
    version = _core.etag_version(etag.encode())
    with pytest.raises(error):
        open_store(proxy.store).read(radosgw.address("a"), pool=pool, size=len(DATA), version=version)
    assert proxy.count("GET") == 1


def test_a_store_that_ignores_ranges_is_refused(radosgw, pool, new_proxy):
    radosgw.put("a", DATA)
    proxy = new_proxy(radosgw)
    proxy.inject(method="GET", ignore_range=True)
    with pytest.raises(errors.StoreError, match="ignores ranges"):
        open_store(proxy.store).read(radosgw.address("a"), 5, 100_000, pool=pool, size=len(DATA))


def test_an_object_that_is_replaced_while_it_is_read_is_an_error(radosgw, pool, new_proxy):
    radosgw.put("a", DATA)
    proxy = new_proxy(radosgw)
    proxy.inject(method="GET", skip=1, headers={"ETag": '"of another"'})
    with pytest.raises(errors.FileChangedError, match="ETag"):
        open_store(proxy.store).read(radosgw.address("a"), pool=pool)


def test_a_dead_or_silent_endpoint_is_given_up_within_ten_seconds(radosgw, pool, new_proxy):
    proxy = new_proxy(radosgw)
    proxy.inject(delay=math.inf, times=None)
    begin = time.monotonic()
    with pytest.raises(errors.DlioFastTimeoutError, match="attempts"):
        open_store(proxy.store, read_timeout=10).read(radosgw.address("a"), pool=pool)
    proxy.close()
    with pytest.raises(OSError, match="check"):
        open_store(proxy.store).read(radosgw.address("a"), pool=pool)
    with pytest.raises(errors.StoreError, match="resolved"):
        open_store(radosgw, endpoints=["http://no.such.host.invalid"], first_timeout=0.5).read(
            radosgw.address("a"), pool=pool
        )
    assert time.monotonic() - begin < 20


def test_a_dead_endpoint_is_left_out(radosgw, pool, new_proxy):
    radosgw.put("a", DATA)
    well, dead = new_proxy(radosgw), new_proxy(radosgw)
    dead.close()
    fast = open_store(radosgw, endpoints=[dead.endpoint, well.endpoint])
    for _ in range(20):
        assert bytes(fast.read(radosgw.address("a"), pool=pool)) == DATA
    stats = fast.stats()
    assert stats[dead.endpoint.partition("//")[2]]["requests"] < 10
    assert stats[well.endpoint.partition("//")[2]]["errors"] == 0


def test_a_silent_endpoint_is_left_out(radosgw, pool, new_proxy):
    radosgw.put("a", DATA)
    well, silent = new_proxy(radosgw), new_proxy(radosgw)
    silent.inject(method="GET", times=None, delay=math.inf)
    fast = open_store(radosgw, endpoints=[silent.endpoint, well.endpoint], read_timeout=0.3)
    for _ in range(20):
        assert bytes(fast.read(radosgw.address("a"), pool=pool)) == DATA
    assert fast.stats()[silent.endpoint.partition("//")[2]]["requests"] < 10


@pytest.mark.parametrize("server", ["radosgw-tls", "azurite-tls", "radosgw", "azurite"])
@pytest.mark.parametrize("size", [5 << 20, 60 << 20])
def test_the_first_request_may_be_a_large_upload(server, size, new_store):
    """Over TLS 1.3 the server's session tickets arrive while the body is sent."""
    store = new_store(server)
    data = os.urandom(1 << 20) * (size >> 20)
    fast = open_store(store)
    fast.put(store.address("a"), data)
    assert store.list() == {"a": size}
    assert sum(stats["requests"] for stats in fast.stats().values()) == 1
    assert store.get("a") == data


def test_an_endpoint_that_is_back_is_used_again(radosgw, pool, new_proxy):
    radosgw.put("a", DATA)
    well, away = new_proxy(radosgw), new_proxy(radosgw)
    away.close()
    fast = open_store(radosgw, endpoints=[away.endpoint, well.endpoint])
    assert bytes(fast.read(radosgw.address("a"), pool=pool)) == DATA
    back = new_proxy(radosgw, port=away.port)
    until = time.monotonic() + 30
    while not back.count("GET") and time.monotonic() < until:
        assert bytes(fast.read(radosgw.address("a"), pool=pool)) == DATA
    assert back.count("GET")


def test_credentials_are_asked_for_once_while_they_last(radosgw, pool):
    radosgw.put("a", DATA)
    given = []

    def provide():
        given.append(time.time() + 200)  # within the five minutes: new ones are due, but not at once
        return {**credentials(radosgw), "expires": given[-1]}

    fast = open_store(radosgw, credentials=provide)
    for _ in range(3):
        assert bytes(fast.read(radosgw.address("a"), pool=pool)) == DATA
    assert len(given) == 1


def test_credentials_that_have_expired_are_not_used(radosgw, pool):
    radosgw.put("a", DATA)
    expiries = iter([time.time() - 1, time.time() + 3600])
    fast = open_store(radosgw, credentials=lambda: {**credentials(radosgw), "expires": next(expiries)})
    with pytest.raises(errors.DlioFastPermissionError, match="expired"):
        fast.read(radosgw.address("a"), pool=pool)
    for _ in range(3):
        assert bytes(fast.read(radosgw.address("a"), pool=pool)) == DATA


def test_credentials_that_cannot_be_had_are_said(radosgw, pool):
    def fail():
        raise LookupError("no profile of that name")

    with pytest.raises(errors.DlioFastPermissionError, match="no profile of that name"):
        open_store(radosgw, credentials=fail).read(radosgw.address("a"), pool=pool)


def test_tls_is_verified(radosgw_tls, pool):
    radosgw_tls.put("a", DATA)
    for _ in range(3):
        assert bytes(open_store(radosgw_tls).read(radosgw_tls.address("a"), pool=pool)) == DATA
    assert bytes(
        open_store(radosgw_tls, ca_file=None, verify_tls=False).read(radosgw_tls.address("a"), pool=pool)
    )
    with pytest.raises(errors.StoreError, match="certificate verify failed"):
        open_store(radosgw_tls, ca_file=None).read(radosgw_tls.address("a"), pool=pool)
    with pytest.raises(errors.StoreError, match="CA file"):
        open_store(radosgw_tls, ca_file=os.devnull)


def test_a_forked_child_leaves_the_parents_store_alone(radosgw, pool):
    radosgw.put("a", DATA)
    fast = open_store(radosgw)
    assert bytes(fast.read(radosgw.address("a"), pool=pool)) == DATA
    child = os.fork()
    if child == 0:
        code = 1
        try:
            fast.read(radosgw.address("a"), pool=_core.Pool(0))
        except errors.StoreError as error:
            fast.abandon()
            again = open_store(radosgw).read(radosgw.address("a"), pool=_core.Pool(0))
            code = 0 if "fork" in str(error) and bytes(again) == DATA else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert bytes(fast.read(radosgw.address("a"), pool=pool)) == DATA
    assert sum(endpoint["connections"] for endpoint in fast.stats().values()) == 1


def test_secrets_show_nowhere(radosgw):
    fast = open_store(radosgw)
    assert radosgw.keys.secret_key not in repr(fast) + str(fast.stats())
    with pytest.raises(TypeError, match="address and options"):
        fast.__reduce__()
