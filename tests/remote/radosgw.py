"""Ceph's S3 server on this machine alone: a monitor, one OSD that keeps everything in memory, and radosgw.

No systemd, no manager, no authentication between the three, no root. The settings that matter: without the
short `paxos propose interval` the start takes ten seconds more, and without `osd class update on start =
false` the OSD looks for a cluster whose id it does not find.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from pathlib import Path

from tests.remote import needs
from tests.remote.certificates import Certificates
from tests.remote.processes import START_SECONDS, Processes, answers

MEMORY_BYTES = 2 << 30
"""What all objects together may take."""

_CONFIGURATION = """\
[global]
fsid = {cluster}
mon host = v1:127.0.0.1:{monitor_port}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms bind ipv6 = false
ms bind port min = 32000
ms bind port max = 32700
ms crc data = false
ms crc header = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
run dir = {folder}
admin socket =
pid file =
log file =
log to stderr = true
err to stderr = true
debug ms = 0/0
debug osd = 0/0
debug mon = 0/0
debug paxos = 0/0
debug rgw = 0/0
debug objecter = 0/0
[mon]
mon data = {folder}/mon
mon initial members = a
mon data avail crit = 1
mon cluster log file =
paxos propose interval = 0.02
paxos min wait = 0.01
mon tick interval = 1
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {memory}
osd class load list = *
osd class default list = *
osd class update on start = false
osd crush update on start = false
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port} ssl_endpoint=127.0.0.1:{tls_port} ssl_certificate={both}
rgw thread pool size = 64
rgw enable usage log = false
rgw enable ops log = false
rgw max chunk size = 8388608
rgw obj stripe size = 8388608
rgw gc obj min wait = 2
rgw gc processor period = 2
rgw gc processor max time = 2
"""


def check_it_is_here() -> None:
    needs.programs("radosgw", "apt-get install radosgw ceph-mon ceph-osd", *needs.RADOSGW_PROGRAMS)


def start(
    processes: Processes,
    certificates: Certificates,
    access_key: str,
    secret_key: str,
    ports: tuple[int, int, int],
) -> None:
    """Return when it answers on the first two ports, http and https; the third is the monitor's."""
    port, tls_port, monitor_port = ports
    folder = processes.folder / "radosgw"
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("mon", "osd"):
        (folder / name).mkdir(parents=True)
    cluster, osd = uuid.uuid4(), uuid.uuid4()
    configuration = folder / "ceph.conf"
    configuration.write_text(
        _CONFIGURATION.format(
            cluster=cluster,
            port=port,
            tls_port=tls_port,
            monitor_port=monitor_port,
            folder=folder,
            both=certificates.both,
            memory=MEMORY_BYTES,
        )
    )
    run = _Commands(configuration)
    processes.kill("mon", "osd", "radosgw")
    monitors = folder / "monmap"
    address = f"[v1:127.0.0.1:{monitor_port}]"
    run("monmaptool", "--create", "--fsid", cluster, "--addv", "a", address, monitors)
    run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monitors)
    processes.start("mon", ["ceph-mon", "-c", configuration, "-i", "a", "-f"])
    processes.wait("mon", lambda: answers(monitor_port))
    run("ceph", "osd", "new", osd)
    run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
    run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=local")
    processes.start("osd", ["ceph-osd", "-c", configuration, "-i", "0", "-f"])
    processes.start("radosgw", ["radosgw", "-c", configuration, "-n", "client.rgw", "-f"])
    processes.wait("radosgw", lambda: answers(port) and answers(tls_port))
    run(
        *("radosgw-admin", "-n", "client.rgw", "user", "create", "--uid=tests", "--display-name=tests"),
        *("--max-buckets=0", f"--access-key={access_key}", f"--secret-key={secret_key}"),
    )


class _Commands:
    """Ceph's administrative commands; each is over in a fraction of a second or says why not."""

    def __init__(self, configuration: Path):
        self._environment = {**os.environ, "CEPH_CONF": str(configuration)}

    def __call__(self, *command) -> None:
        subprocess.run(
            list(map(str, command)),
            check=True,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=START_SECONDS,
        )
