"""Object stores that the benchmarks read from: those of tests/remote, and nginx over the files as they are.

nginx serves GET, HEAD and ranges with an ETag, which is all that reading takes of S3; it looks at no
signature and cannot list. It takes so little time that it is never the limit.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from tests.remote import needs
from tests.remote.certificates import Certificates
from tests.remote.processes import answers, on_free_ports
from tests.remote.servers import Servers
from tests.remote.stores import S3Store, Store

_NGINX = """\
daemon off;
worker_processes 2;
pid {folder}/pid;
error_log stderr;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    open_file_cache max=10000;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
    server {{
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {tls.certificate};
        ssl_certificate_key {tls.key};
        root {root};
    }}
}}
"""


def serve_files(servers: Servers, root: Path, bucket: str, *, tls: bool = False) -> Store:
    """A bucket that is a folder below `root`."""
    needs.programs("nginx", "apt-get install nginx-light", "nginx")
    certificates = servers.certificates
    ports = on_free_ports(lambda *ports: _start(servers, certificates, root, ports), ports=2)
    endpoint = f"https://127.0.0.1:{ports[1]}" if tls else f"http://127.0.0.1:{ports[0]}"
    return S3Store("nginx", endpoint, bucket, servers.keys, certificates.authority if tls else None)


def _start(servers: Servers, certificates: Certificates, root: Path, ports: tuple[int, ...]):
    folder = servers.processes.folder / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    configuration = folder / "nginx.conf"
    user = "" if os.geteuid() else "user root;"
    configuration.write_text(
        _NGINX.format(folder=folder, root=root, port=ports[0], tls_port=ports[1], tls=certificates, user=user)
    )
    servers.processes.kill("nginx")
    servers.processes.start("nginx", ["nginx", "-p", folder, "-c", configuration])
    servers.processes.wait("nginx", lambda: all(map(answers, ports)))
    return ports


def upload(store: Store, paths: Iterable[str]) -> list[str]:
    """Put files into a bucket, by their names; returns the keys."""
    keys = []
    for path in paths:
        keys.append(os.path.basename(path))
        store.put(keys[-1], Path(path).read_bytes())
    return keys


def slow_way(servers: Servers, store: Store, *, latency: float, bytes_per_second: float) -> Store:
    """The same bucket behind a proxy, in a process of its own, that caps each connection."""

    def start(port: int) -> int:
        command = [sys.executable, "-m", "tests.remote.proxy", urlsplit(store.endpoint).netloc]
        limits = ["--latency", latency, "--bytes-per-second", bytes_per_second]
        servers.processes.kill("proxy")
        environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
        servers.processes.start("proxy", [*command, "--port", port, *limits], environment)
        servers.processes.wait("proxy", lambda: answers(port))
        return port

    return store.behind(f"http://127.0.0.1:{on_free_ports(start, ports=1)}")
