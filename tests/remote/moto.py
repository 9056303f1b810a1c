"""moto's S3 server: quick to start, from PyPI alone; it checks no signatures and closes every connection."""

from __future__ import annotations

import sys

from tests.remote import needs
from tests.remote.processes import Processes, answers


def check_it_is_here() -> None:
    needs.modules("moto", "pip install moto[server]", "moto", "flask", "flask_cors", "boto3")


def start(processes: Processes, port: int) -> None:
    """Return when it answers."""
    processes.kill("moto")
    processes.start("moto", [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", port])
    processes.wait("moto", lambda: answers(port))
