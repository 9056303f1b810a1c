"""What the proxy does to what passes through it, as a client sees that has no opinion of its own."""

import http.client
import math
import os
import socket
import ssl
import time
import urllib.parse

import pytest

from tests.remote.stores import Store

TCP_CLOSE, TCP_CLOSE_WAIT = 7, 8  # of <netinet/tcp.h>: the other side reset the connection, or closed it

DATA = bytes(range(256)) * 1000


class Client:
    """One connection to a store, for GETs that the store's keys have signed."""

    def __init__(self, store: Store, seconds: float = 10.0):
        self.url = urllib.parse.urlsplit(store.presigned("a.bin"))
        if self.url.scheme == "https":
            context = ssl.create_default_context(cafile=store.authority)
            self.http = http.client.HTTPSConnection(self.url.netloc, timeout=seconds, context=context)
        else:
            self.http = http.client.HTTPConnection(self.url.netloc, timeout=seconds)

    def get(self, first=None, last=None):
        """The response's head; its body is still to be read."""
        headers = {} if first is None else {"Range": f"bytes={first}-{last}"}
        self.http.request("GET", f"{self.url.path}?{self.url.query}", headers=headers)
        return self.http.getresponse()

    def read(self, *span) -> bytes:
        return self.get(*span).read()

    def tcp_state(self) -> int:
        return self.http.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]

    def close(self):
        self.http.close()


@pytest.fixture(params=["radosgw", "azurite"])
def behind(request, new_store):
    store = new_store(request.param)
    store.put("a.bin", DATA)
    return store


@pytest.fixture(params=["http", "tls"])
def proxy(request, behind, new_proxy):
    return new_proxy(behind, tls=request.param == "tls")


@pytest.fixture
def client(proxy):
    client = Client(proxy.store)
    yield client
    client.close()


def test_requests_pass_on_one_connection_and_are_counted(proxy, client):
    assert client.read() == DATA
    response = client.get(5, 1004)
    assert response.status == 206
    assert response.read() == DATA[5:1005]
    assert (proxy.count(), proxy.count("GET", "a.bin"), proxy.count("PUT"), proxy.connections) == (2, 2, 0, 1)
    assert [request.head.get("range") for request in proxy.requests] == ["", "bytes=5-1004"]


def test_objects_are_written_listed_and_deleted_through_it(proxy):
    store = proxy.store
    store.put("b.bin", DATA * 40)
    assert store.get("b.bin") == DATA * 40
    assert store.list() == {"a.bin": len(DATA), "b.bin": 40 * len(DATA)}
    store.delete("b.bin")
    assert store.list() == {"a.bin": len(DATA)}
    filesystem = store.filesystem()
    filesystem.pipe_file(store.address("c.bin"), DATA)
    assert filesystem.cat_file(store.address("c.bin"), start=7, end=99) == DATA[7:99]


def test_it_counts_the_connections_that_are_open(proxy):
    clients = [Client(proxy.store) for _ in range(3)]
    for client in clients:
        assert client.read(0, 9) == DATA[:10]
    assert (proxy.open_connections, proxy.most_connections) == (3, 3)
    for client in clients:
        client.close()
    assert proxy.wait_for_connections(0)
    assert (proxy.connections, proxy.most_connections) == (3, 3)


def test_a_fault_strikes_so_many_requests_of_those_it_is_meant_for(proxy, client):
    fault = proxy.inject(status=503, times=2, skip=1, method="GET", key="a.bin")
    proxy.inject(status=500, method="PUT")
    assert [client.get().read()[:1] == DATA[:1] for _ in range(5)] == [True, False, False, True, True]
    assert fault.struck == 2


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (429, "TooMany")])
def test_an_error_is_answered_instead_of_the_server(proxy, client, status, code):
    proxy.inject(status=status, retry_after="7")
    response = client.get()
    assert (response.status, response.getheader("Retry-After")) == (status, "7")
    assert f"<Code>{code}" in response.read().decode()
    assert client.read() == DATA
    assert proxy.connections == 1


def test_a_connection_is_reset(proxy, client):
    proxy.inject(reset_after=100_000)
    response = client.get()
    assert int(response.getheader("Content-Length")) == len(DATA)
    # OpenSSL 3 tells Python of a reset as if it were the end
    with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
        response.read()
    assert client.tcp_state() == TCP_CLOSE


def test_a_connection_is_reset_before_an_answer(proxy, client):
    proxy.inject(refuse=True)
    with pytest.raises(ConnectionResetError):
        client.get()


def test_a_body_is_cut_off(proxy, client):
    proxy.inject(truncate_after=100_000)
    with pytest.raises(http.client.IncompleteRead) as raised:
        client.read()
    assert raised.value.partial == DATA[:100_000]
    if proxy.store.authority is None:  # else OpenSSL has protested, and that was answered by a reset
        assert client.tcp_state() == TCP_CLOSE_WAIT


def test_a_body_stalls_and_the_connection_stays(proxy):
    client = Client(proxy.store, seconds=0.3)
    proxy.inject(stall_after=100_000)
    response = client.get()
    assert response.read(100_000) == DATA[:100_000]
    with pytest.raises(TimeoutError):
        response.read()
    assert proxy.open_connections == 1
    response.close()
    client.close()
    assert proxy.wait_for_connections(0)


def test_a_server_is_silent(proxy):
    client = Client(proxy.store, seconds=0.3)
    proxy.inject(delay=math.inf)
    with pytest.raises(TimeoutError):
        client.get()
    client.close()
    assert proxy.wait_for_connections(0)


def test_an_answer_is_late(proxy, client):
    proxy.inject(delay=0.2)
    start = time.monotonic()
    assert client.read() == DATA
    assert time.monotonic() - start > 0.2


def test_a_body_comes_in_drips(proxy, client):
    proxy.inject(drip=(10, 0.02))
    start = time.monotonic()
    assert client.read(0, 99) == DATA[:100]
    assert time.monotonic() - start > 0.2


def test_a_link_is_slow_for_each_connection(behind, new_proxy):
    proxy = new_proxy(behind, latency=0.1, bytes_per_second=2e6)
    client = Client(proxy.store)
    start = time.monotonic()
    assert client.read() == DATA
    assert time.monotonic() - start > 0.1 + len(DATA) / 2e6
    client.close()


@pytest.mark.parametrize("longer", [1000, -1000])
def test_a_length_is_wrong(proxy, client, longer):
    proxy.inject(longer=longer)
    response = client.get()
    assert int(response.getheader("Content-Length")) == len(DATA) + longer
    if longer < 0:
        assert response.read() == DATA[:longer]
    else:
        with pytest.raises(http.client.IncompleteRead):
            response.read()


def test_header_fields_and_the_status_are_changed(proxy, client):
    proxy.inject(headers={"ETag": '"another"', "Content-Range": "bytes 0-9/10", "Last-Modified": None})
    response = client.get(5, 14)
    assert response.read() == DATA[5:15]
    assert response.status == 206
    assert response.getheader("etag") == '"another"'
    assert response.getheader("content-range") == "bytes 0-9/10"
    assert response.getheader("last-modified") is None
    proxy.inject(say_status=200)
    response = client.get(5, 14)
    assert (response.status, response.read()) == (200, DATA[5:15])


def test_a_range_is_ignored(proxy, client):
    proxy.inject(ignore_range=True)
    response = client.get(5, 14)
    assert (response.status, response.getheader("content-range")) == (200, None)
    assert response.read() == DATA


def test_a_bit_is_wrong(proxy, client):
    proxy.inject(corrupt_at=90_000)
    assert client.read() == DATA[:90_000] + bytes([DATA[90_000] ^ 1]) + DATA[90_001:]


def test_anything_is_said(proxy, client):
    proxy.inject(raw=b"SSH-2.0-OpenSSH_9.2p1\r\n")
    with pytest.raises(http.client.BadStatusLine):
        client.get()


def test_idle_connections_are_dropped(proxy, client):
    assert client.read() == DATA
    proxy.drop_connections()
    assert proxy.wait_for_connections(0)
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected, ssl.SSLError)):
        client.get()


def test_what_it_closes_is_closed_though_a_forked_process_lives(proxy, client):
    client.http.connect()
    assert proxy.wait_for_connections(1)
    parent, child_end = socket.socketpair()
    child = os.fork()
    if child == 0:
        parent.close()
        child_end.recv(1)
        os._exit(0)
    try:
        proxy.inject(truncate_after=10)
        with pytest.raises(http.client.IncompleteRead):
            client.read()
    finally:
        parent.close()
        child_end.close()
        os.waitpid(child, 0)
