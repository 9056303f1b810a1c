"""What docs/remote.md shows is run, on servers that take the place of those that it names."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dlio_fast as df

TEXT = (Path(df.__file__).parents[1] / "docs/remote.md").read_text()
BLOCKS = re.findall(r"<!-- run by a test: ([^>]+) -->\n```(\w+)\n(.*?)```", TEXT, re.S)
SERVERS = {"azure": "azurite", "tls": "radosgw-tls"}


def at_home(text, store, folder):
    """The same with the address, the keys and the files of the tests."""
    replaced = {
        "/tmp/": f"{folder}/",
        r"https?://ceph\.example\.com:\d+": store.endpoint,
        r"s3://bucket|az://container": store.root,
        r"(?<=storage_root: )bucket": store.container,
        "OUR_KEY": store.keys.access_key,
        "OUR_SECRET": store.keys.secret_key,
        "OUR_CONNECTION_STRING": getattr(store, "connection_string", ""),
        "/etc/ssl/our-ca.pem": str(store.authority),
    }
    for pattern, value in replaced.items():
        text = re.sub(pattern, lambda _, value=value: value, text)
    return text


def run(command, folder, **variables):
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "HOME": str(folder), **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path):
    """Where there is the command `dlio-fast`, whatever is installed."""
    program = tmp_path / "dlio-fast"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m dlio_fast "$@"\n')
    program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("how", "language", "text"), BLOCKS, ids=[f"{n} {how} {what}" for n, (how, what, _) in enumerate(BLOCKS)]
)
def test_what_the_page_shows_works(new_store, folder, monkeypatch, how, language, text):
    store = new_store(SERVERS.get(how, "radosgw"))
    for i in range(3):
        file = io.BytesIO()
        np.savez(file, x=np.full((3, 4), i, np.float32))
        store.put(f"train/{i}.npz", file.getvalue())
    text = at_home(text, store, folder)
    variables = store.environment if how.endswith("env") else {}
    source = str(Path(df.__file__).parents[1])
    variables = {**variables, "PYTHONPATH": source}
    if language == "python":
        said = run([sys.executable, "-c", text], folder, **variables)
        assert "3" in said
    elif language == "sh":
        assert "3" in run(["sh", "-ec", text], folder, **variables)
    elif language == "ini":
        monkeypatch.delenv("AWS_CONFIG_FILE")
        (folder / ".aws").mkdir()
        (folder / ".aws/config").write_text(text)
        address = store.address("train/0.npz")
        run([folder / "dlio-fast", "inspect", address], folder, AWS_PROFILE="training", **variables)
    else:
        (folder / "config.yaml").write_text(text)
        assert len(df.Dataset(folder / "config.yaml").files) == 3


def test_nothing_of_the_page_is_missed():
    assert len(BLOCKS) == TEXT.count("```") // 2 >= 8
