"""Microsoft's emulator of Azure's blob service, from npm, which keeps everything in memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.remote import needs
from tests.remote.certificates import Certificates
from tests.remote.processes import Processes, answers

VERSION = "3.35.0"
"""The last one that runs on Debian 12's Node 18: 3.36 wants Node 21."""

MEMORY_MIB = 2048
"""What all blobs together may take."""

NAME = "azurite"
HOW = f"apt-get install nodejs npm; the tests then npm install azurite@{VERSION} themselves"
_INSTALL_SECONDS = 100


def check_it_is_here() -> Path:
    """Where Azurite is; installs it once for all runs that use this Python environment."""
    needs.programs(NAME, HOW, "node", "npm")
    folder = _cache() / f"azurite-{VERSION}"
    program = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "azurite.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _install(folder)
    return program


def start(
    processes: Processes, program: Path, accounts: dict[str, str], port: int, tls: Certificates | None = None
) -> None:
    """Return when it answers; accounts are names and keys (base64)."""
    name = "azurite-tls" if tls else "azurite"
    processes.kill(name)
    processes.start(
        name,
        [
            *("node", program, "--blobHost", "127.0.0.1", "--blobPort", port),
            *("--inMemoryPersistence", "--extentMemoryLimit", MEMORY_MIB),
            *("--silent", "--skipApiVersionCheck", "--disableTelemetry", "--disableProductStyleUrl"),
            *(("--cert", tls.certificate, "--key", tls.key) if tls else ()),
        ],
        {"AZURITE_ACCOUNTS": ";".join(f"{account}:{key}" for account, key in accounts.items())},
    )
    processes.wait(name, lambda: answers(port))


def _cache() -> Path:
    """In the virtual environment, or in this clone's build folder where there is none."""
    if sys.prefix != sys.base_prefix and os.access(sys.prefix, os.W_OK):
        return Path(sys.prefix) / "share" / "dlio-fast-tests"
    return Path(__file__).parents[2] / "build"


def _install(folder: Path) -> None:
    half = folder.with_name(folder.name + ".half")
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir()
    command = ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries=1", "--prefix", half]
    try:
        subprocess.run(
            [*command, f"azurite@{VERSION}"],
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_INSTALL_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        output = (getattr(error, "stderr", None) or b"").decode(errors="replace")
        said = " ".join(output.split())[-200:] or str(error)
        with contextlib.suppress(OSError):
            shutil.rmtree(half)
        raise needs.Missing(NAME, f"npm install azurite@{VERSION} failed here: {said}") from error
    half.rename(folder)
