"""The processes of the servers of one test run, which are gone when the run is, however it ends."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

START_SECONDS = 40.0
"""A server that does not answer for so long does not come up any more; a busy machine is no reason."""

# Below the ports that Linux gives to outgoing connections, so that none of those takes one that is free now.
_PORTS = range(20000, 32000)

_SWEEP = 'tail --pid="$1" -f /dev/null; rm -rf "$2"'


class ServerError(RuntimeError):
    """A server did not come up; carries the end of what it logged."""


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens: another process may still be quicker to take it."""
    for port in random.SystemRandom().sample(_PORTS, 200):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ServerError("no free port on 127.0.0.1")


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Processes:
    """Servers and the folder in which they keep everything.

    Each is killed by the kernel when the thread that started it is gone, so it has to be a thread that lives
    as long as the run (pytest's fixtures run in the main thread). The folder is removed by :meth:`stop`, or
    else by a shell that waits for this process to end.
    """

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="dlio-fast-servers-"))
        self._running: dict[str, subprocess.Popen] = {}
        self._sweeper = subprocess.Popen(
            [
                "sh",
                "-c",
                _SWEEP,
                "sweeper",
                str(os.getpid()),
                self.folder,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for pytest
        )

    def pids(self) -> list[int]:
        return [process.pid for process in self._running.values()]

    def start(self, name: str, command: list, environment: dict[str, str] | None = None) -> None:
        """Run a server in the foreground; it must not detach itself."""
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                cwd=self.folder,
                start_new_session=True,
            )
        self._running[name] = process
        (self.folder / f"{name}.pid").write_text(str(process.pid))

    def wait(self, name: str, ready: Callable[[], bool]) -> None:
        """Return when the server is ready."""
        process, end = self._running[name], time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > end:
                state = "hangs" if process.poll() is None else f"ended with {process.returncode}"
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                raise ServerError(f"{name} {state} and logged:\n{log[-2000:]}")
            time.sleep(0.02)

    def kill(self, *names: str) -> None:
        """Kill some servers, or all; what they hold is in memory, so there is nothing to shut down."""
        processes = [
            self._running.pop(name) for name in names or list(self._running) if name in self._running
        ]
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()

    def stop(self) -> None:
        """Kill all servers and remove their folder."""
        self.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._sweeper.pid, signal.SIGKILL)
        self._sweeper.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def on_free_ports(start: Callable[..., object], ports: int):
    """start(port, ...), again on other ports where somebody else was quicker."""
    for attempt in range(3):
        try:
            return start(*(free_port() for _ in range(ports)))
        except (ServerError, subprocess.SubprocessError):
            if attempt == 2:
                raise
