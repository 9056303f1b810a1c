"""A proxy in front of an object store that does what networks and servers under load do.

::

    with Proxy(radosgw) as proxy:
        proxy.inject(reset_after=1000, times=2, method="GET", key="a.npz")
        ...  # reads through proxy.store
        assert proxy.count("GET") == 3

It sees whole requests and answers, so a fault strikes a certain byte of a certain object. It opens a
connection of its own to the server for each request. With certificates it speaks TLS to the client, whatever
the server speaks.

`python -m tests.remote.proxy HOST:PORT` runs it as a process of its own, for benchmarks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import socket
import ssl
import struct
import threading
import time
import urllib.parse
import weakref

from tests.remote import faults
from tests.remote.certificates import Certificates
from tests.remote.faults import Fault
from tests.remote.stores import Store
from tests.remote.wire import PIECE, Gone, Head, Stream

_ESTABLISHED = 1
"""TCP_ESTABLISHED of <netinet/tcp.h>."""

_proxies: weakref.WeakSet[Proxy] = weakref.WeakSet()


@dataclasses.dataclass(frozen=True)
class Request:
    """A request that came."""

    method: str
    target: str
    """Path and query, unquoted."""
    head: Head
    connection: int
    """The connection that it came on, counted from 0."""


class Proxy:
    """Listens on a port of 127.0.0.1 from its making to :meth:`close`, or to the end of `with`.

    Parameters
    ----------
    store
        What it stands before, or (host, port).
    certificates
        To speak TLS to the client.
    latency
        Seconds before the first byte of every answer.
    bytes_per_second
        What each connection may carry towards the client.
    """

    def __init__(
        self,
        store: Store | tuple[str, int],
        *,
        certificates: Certificates | None = None,
        latency: float = 0.0,
        bytes_per_second: float | None = None,
        port: int = 0,
    ):
        self.latency, self.bytes_per_second = latency, bytes_per_second
        self.requests: list[Request] = []
        self.connections = 0
        """Accepted since the beginning."""
        self.most_connections = 0
        """Open at the same time."""
        self.faults: list[Fault] = []
        self._upstream_tls = self._tls = None
        self._behind = None
        if isinstance(store, tuple):
            self._upstream = store
        else:
            self._behind, url = store, urllib.parse.urlsplit(store.endpoint)
            self._upstream = url.hostname, url.port
            if url.scheme == "https":
                self._upstream_tls = ssl.create_default_context(cafile=store.authority)
        if certificates:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificates.certificate, certificates.key)
        self._changed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.endpoint = f"{'https' if certificates else 'http'}://127.0.0.1:{self.port}"
        self.store = (
            self._behind.behind(self.endpoint, certificates.authority if certificates else None)
            if self._behind
            else None
        )
        """The store as seen through it."""
        _proxies.add(self)
        self._start(self._accept)

    def inject(self, **fields) -> Fault:
        """Let something happen to some requests: the fields of :class:`tests.remote.faults.Fault`.

        A request is struck by the first fault that is meant for it and not used up.
        """
        fault = Fault(**fields)
        with self._changed:
            self.faults.append(fault)
        return fault

    def clear(self) -> None:
        """From now on everything passes."""
        with self._changed:
            self.faults.clear()

    def count(self, method: str = "", key: str = "") -> int:
        """The requests so far of that method whose path or query contains the key."""
        with self._changed:
            return sum(method in ("", seen.method) and key in seen.target for seen in self.requests)

    @property
    def open_connections(self) -> int:
        """Open now. What a client has just closed may still be counted: see :meth:`wait_for_connections`."""
        return len(self._open)

    def wait_for_connections(self, number: int, seconds: float = 10.0) -> bool:
        """Whether exactly so many connections are open, now or within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._open) == number, seconds)

    def wait_for_requests(self, number: int, seconds: float = 10.0) -> bool:
        """Whether at least so many requests have come, now or within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.requests) >= number, seconds)

    def drop_connections(self) -> None:
        """Close all connections of clients, idle ones too, as a server that restarts does."""
        with self._changed:
            for client in self._open:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Listen no more, and close all connections."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_connections()
        for thread in self._threads:
            thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _start(self, target, *arguments) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True, name="proxy")
        with self._changed:
            self._threads = [old for old in self._threads if old.is_alive() or old.ident is None]
            self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._changed:
                self._open.add(client)
                self.connections += 1
                self.most_connections = max(self.most_connections, len(self._open))
                number = self.connections - 1
                self._changed.notify_all()
            self._start(self._serve, client, number)

    def _serve(self, client: socket.socket, number: int) -> None:
        try:
            if self._tls:
                plain = client
                client = self._tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
                with self._changed:
                    self._open.remove(plain)
                    self._open.add(client)
                client.do_handshake()
            _Connection(self, client, number).serve()
        except (OSError, Gone):
            pass  # the client, the server or the proxy itself went
        finally:
            client.close()
            with self._changed:
                self._open.discard(client)
                self._changed.notify_all()

    def _fault_of(self, request: Request) -> Fault:
        with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
            struck = (fault for fault in self.faults if fault.strikes(request.method, request.target))
            return next(struck, faults.NONE)

    def _dial(self) -> socket.socket:
        upstream = socket.create_connection(self._upstream, timeout=60)
        upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._upstream_tls:
            upstream = self._upstream_tls.wrap_socket(upstream, server_hostname=self._upstream[0])
        return upstream

    def _let_go(self) -> None:
        """In a forked child: without copies of the sockets, what the parent closes is closed."""
        for held in [self._listener, *self._open]:
            held.close()


class _Connection:
    """One client's connection."""

    def __init__(self, proxy: Proxy, client: socket.socket, number: int):
        self.proxy, self.client, self.number = proxy, client, number
        self._due = 0.0

    def serve(self) -> None:
        stream = Stream(self.client)
        while (head := stream.head()) is not None:
            method, target, _ = head.line.split(" ", 2)
            request = Request(method, urllib.parse.unquote(target), head, self.number)
            fault = self.proxy._fault_of(request)
            if not self._answer(stream, request, fault):
                return

    def _answer(self, stream: Stream, request: Request, fault: Fault) -> bool:
        """Whether the connection may carry another request."""
        if fault.before:
            fault.before()
        if fault.refuse:
            return self._reset()
        if fault.raw is not None or fault.status:
            self._wait(fault.delay)
            for _ in stream.body(request.head):
                pass
            bodiless = request.method == "HEAD"
            said = faults.answer(fault.status, fault.retry_after, bodiless=bodiless)
            self.client.sendall(said if fault.raw is None else fault.raw)
            return fault.raw is None
        with self.proxy._dial() as upstream:
            answers = Stream(upstream)
            head = self._ask(stream, request, answers)
            bodiless = request.method == "HEAD" or head.status in (204, 304)
            body = answers.body(head, bodiless=bodiless)
            if fault.ignore_range:
                head, body = self._whole(request, head)
            return self._pass_on(head, body, bodiless, fault)

    def _ask(self, stream: Stream, request: Request, answers: Stream) -> Head:
        """Send the request to the server; returns the head of its answer."""
        answers.socket.sendall(bytes(request.head))
        if request.head.get("Expect"):
            head = answers.head()
            if head is None:
                raise Gone
            if head.status != 100:
                return head  # it does not want the body, so the client will not send it
            self.client.sendall(bytes(head))
        for piece in stream.body(request.head):
            answers.socket.sendall(piece)
        while (head := answers.head()) is not None:
            if head.status >= 200:
                return head
        raise Gone

    def _whole(self, request: Request, head: Head):
        """What a server answers that knows no ranges."""
        key = urllib.parse.urlsplit(request.target).path.partition(f"/{self.proxy.store.container}/")[2]
        data = self.proxy._behind.get(key)
        head.line = "HTTP/1.1 200 OK"
        head.change("Content-Range", None)
        head.change("Content-Length", str(len(data)))
        return head, (memoryview(data)[at : at + PIECE] for at in range(0, len(data), PIECE))

    def _pass_on(self, head: Head, body, bodiless: bool, fault: Fault) -> bool:
        if fault.say_status:
            head.line = f"HTTP/1.1 {fault.say_status} Changed"
        for name, value in fault.headers.items():
            head.change(name, value)
        if fault.longer:
            head.change("Content-Length", str(int(head.get("Content-Length")) + fault.longer))
        self._wait(fault.delay + self.proxy.latency)
        self.client.sendall(bytes(head))
        self._due = max(self._due, time.monotonic())
        sent = 0
        for whole in body:
            piece = whole if fault.end is None else whole[: fault.end - sent]
            if fault.corrupt_at is not None and sent <= fault.corrupt_at < sent + len(piece):
                piece = bytearray(piece)
                piece[fault.corrupt_at - sent] ^= 1
            self._send(piece, fault)
            sent += len(piece)
            if sent == fault.end:
                break
        if sent == fault.end:
            return self._finish(fault)
        framed = bodiless or head.get("Content-Length") or head.get("Transfer-Encoding")
        return bool(framed) and fault.longer <= 0 and head.get("Connection").lower() != "close"

    def _finish(self, fault: Fault) -> bool:
        if fault.stall_after == fault.end:
            self._wait(math.inf)
        if fault.reset_after == fault.end:
            self._reset()
        return False

    def _send(self, piece, fault: Fault) -> None:
        if fault.drip:
            size, seconds = fault.drip
            for at in range(0, len(piece), size):
                self._wait(seconds)
                self.client.sendall(piece[at : at + size])
            return
        if self.proxy.bytes_per_second:
            self._due += len(piece) / self.proxy.bytes_per_second
            if (early := self._due - time.monotonic()) > 0:
                time.sleep(early)
        self.client.sendall(piece)

    def _wait(self, seconds: float) -> None:
        """Do nothing for so long, or for ever; raises Gone when the client goes, or the proxy closes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            state = self.client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if self.proxy._closed or state != _ESTABLISHED:
                raise Gone
            time.sleep(min(left, 0.02))

    def _reset(self) -> bool:
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


def _after_fork() -> None:
    for proxy in list(_proxies):
        proxy._let_go()


os.register_at_fork(after_in_child=_after_fork)


def main() -> None:
    import argparse

    parser = argparse.ArgumentParser(description="A slow, lossy way to a server.")
    parser.add_argument("server", help="HOST:PORT of the server, which speaks plain HTTP")
    parser.add_argument("--port", type=int, default=0, help="where to listen")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--bytes-per-second", type=float, help="of each connection, towards the client")
    parser.add_argument("--faults", default="[]", help="a JSON list of what tests.remote.faults.Fault takes")
    options = parser.parse_args()
    host, _, port = options.server.rpartition(":")
    proxy = Proxy(
        (host, int(port)),
        latency=options.latency,
        bytes_per_second=options.bytes_per_second,
        port=options.port,
    )
    proxy.faults = faults.from_json(options.faults)
    print(proxy.endpoint, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
