"""Only the address and the options cross to other processes; however they are made, every byte is right."""

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.remote.processes_reading import FILES, MODES, contents

TIMES = 20


@pytest.fixture(scope="module")
def filled():
    """A function that fills a store once with what is to be read."""

    def fill(store):
        for i in range(FILES):
            file = io.BytesIO()
            np.save(file, contents(i))
            store.put(f"data/f{i:02d}.npy", file.getvalue())
        return store

    return fill


SLOW_TO_BEGIN = ("spawn", "forkserver")
CASES = [
    *((mode, "radosgw") for mode in MODES),
    *((mode, "azurite") for mode in MODES if mode not in SLOW_TO_BEGIN),
    *((mode, "radosgw-tls") for mode in ("fork during", "fork after", "torch workers", "spawn")),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "server"), CASES)
def test_every_byte_is_right_in_every_kind_of_process(mode, server, filled, new_store):
    store = filled(new_store(server))
    command = [sys.executable, "-m", "tests.remote.processes_reading", mode, store.root]
    command += [json.dumps(store.storage_options), str(TIMES)]
    if mode == "ranks":
        if shutil.which("mpirun") is None:
            pytest.skip("mpirun is not installed")
        command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{TIMES} times, every byte was right" in done.stdout
