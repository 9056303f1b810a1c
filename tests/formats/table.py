"""The table of formats in README.md: each cell is found out by doing what it says.

``python -m tests.formats.table`` writes it anew; test_table.py compares.
"""

from __future__ import annotations

import copy
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.errors import DataError, DlioFastError, DlioFastOSError
from dlio_fast.formats import Format, format_named
from dlio_fast.formats.base import _BUILT_IN
from dlio_fast.workload.convert import convert
from dlio_fast.workload.generate import generate

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BEGIN, END = "<!-- formats: written by python -m tests.formats.table -->\n", "<!-- formats end -->\n"
COLUMNS = ("read", "write", "direct", "remote", "verified", "zero-copy", "fast path")
FILES, SIDE, FLIPS = 3, 1024, 32


class NoDirectReads(Exception):
    """The file system of the temporary files has no O_DIRECT."""


def table() -> str:
    """The table, as Markdown."""
    rows = [("format", *COLUMNS), ("---",) * (1 + len(COLUMNS))]
    for name in _BUILT_IN:
        with tempfile.TemporaryDirectory() as folder:
            found = cells(format_named(name), Path(folder))
        rows.append((name, *("yes" if found[column] else "no" for column in COLUMNS)))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def cells(format: Format, folder: Path) -> dict[str, bool]:
    """What holds of a format."""
    config = df.load_config({"dataset": {
        "format": format.name, "data_folder": str(folder), "num_files_train": FILES,
        "record_dims": [SIDE, SIDE],
    }})  # fmt: skip
    found = dict.fromkeys(COLUMNS, False)
    found["write"] = succeeds(lambda: generate(config))
    if not found["write"]:  # what converting makes of another format's files, then
        source = {"format": "npz", "num_files_train": FILES, "record_dims": [SIDE, SIDE]}
        generate(df.load_config({"dataset": {**source, "data_folder": f"{folder}/source"}}))
        convert(f"{folder}/source", folder, format=format.name, fields=["x"])
    checks: dict[str, Callable[[], bool]] = {
        "read": lambda: numbers_of_samples(config) == FILES,
        "direct": lambda: reads_past_the_page_cache(config, folder),
        "remote": lambda: reads_from_a_store(config, folder),
        "verified": lambda: notices_flipped_bytes(config),
        "zero-copy": lambda: reads_to_its_place(folder, format.name),
        "fast path": lambda: reads_without_python(config),
    }
    return found | {column: check() for column, check in checks.items()}


def succeeds(action: Callable[[], Any]) -> bool:
    try:
        action()
    except DlioFastError:
        return False
    return True


def numbers_of_samples(config: df.Config) -> int:
    with df.Loader(df.Dataset(config), batch_size=2) as loader:
        return sum(len(next(iter(batch.values()))) for batch in loader)


def reads_past_the_page_cache(config: df.Config, folder: Path) -> bool:
    """Every byte by O_DIRECT, and the same samples."""
    plain, direct = df.Dataset(config), df.Dataset(config, data_folder=f"direct://{folder}")
    for i in range(FILES):
        for name, value in plain[i].items():
            assert np.array_equal(value, direct[i][name])
    with df.Loader(direct, batch_size=2) as loader:
        for _ in loader:
            pass
        stats = loader.stats()
    if stats["fallbacks"]:
        raise NoDirectReads(f"{folder}: {stats['fallback_reason']}: the table cannot be found out here")
    return stats["direct_bytes"] == stats["bytes_read"] > 0


def reads_from_a_store(config: df.Config, folder: Path) -> bool:
    """The same samples as objects of a file system of fsspec's; tests/remote has them on real servers."""
    store = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            store.pipe(f"{folder}/{path.relative_to(folder)}", path.read_bytes())
    plain, remote = df.Dataset(config), df.Dataset(config, data_folder=f"memory:/{folder}")
    for i in range(FILES):
        for name, value in plain[i].items():
            assert np.array_equal(value, remote[i][name])
    return len(remote) == len(plain)


def notices_flipped_bytes(config: df.Config) -> bool:
    """Whichever byte of a file is another, there is an error, or the samples are what they were."""
    data = df.Dataset(config)
    path = Path(data.files[1])
    whole, before, noticed = path.read_bytes(), data[1], 0
    try:
        places = np.linspace(0, len(whole) - 1, FLIPS).astype(int)
        for at, flip in itertools.product(places, (0x55, 0x01)):  # one digit is another's neighbour
            path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            try:
                after = df.Dataset(config)[1]
            except (DataError, DlioFastOSError):
                noticed += 1
                continue
            for name, value in before.items():
                if value.dtype != after[name].dtype or not np.array_equal(value, after[name]):
                    return False
    finally:
        path.write_bytes(whole)
    return noticed > 0


def reads_without_python(config: df.Config) -> bool:
    """All payload is read and decoded in C; where it lies may be asked of a library, once a file."""
    data = df.Dataset(config)
    reader = data.format.reader(data.spec, 0)

    class Refusing:
        def read(self, task: _core.Task) -> Any:
            raise AssertionError("Python is asked to read")

        def learn(self, task: _core.Task) -> bytes:
            return reader.learn(task)

    refusing = copy.copy(data.format)
    object.__setattr__(refusing, "reader", lambda *_: Refusing())
    data.__dict__["format"] = refusing
    try:
        return all(succeeds(lambda i=i: data[i]) for i in range(FILES))
    except AssertionError:
        return False


PROGRAM = f"""
import sys
import numpy as np
import dlio_fast as df
from dlio_fast.formats import PAYLOAD
config = {{"dataset": {{"format": sys.argv[2], "data_folder": sys.argv[1], "record_dims": [{SIDE}, {SIDE}]}}}}
data = df.Dataset(config, fields=PAYLOAD)
with df.Loader(data, batch_size={FILES}) as loader:
    (batch,) = loader
    (samples,) = batch.values()
for sample in samples:
    print(sample.__array_interface__["data"][0], sample.nbytes)
"""


def reads_to_its_place(folder: Path, name: str) -> bool:
    """The memory of a batch's samples is where the system calls put the file's bytes."""
    shim, log = folder / "reads.so", folder / "reads.log"
    source = Path(__file__).with_name("reads.c")
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-D_GNU_SOURCE", "-shared", "-fPIC", source, "-o", shim, "-ldl"], check=True)
    env = {**os.environ, "LD_PRELOAD": str(shim), "READS": str(log), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), name],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    if not log.exists():  # nothing was read at all
        return False
    reads = np.fromfile(log, np.uint64).reshape(-1, 2).astype(int)
    for address, nbytes in (map(int, line.split()) for line in done.stdout.splitlines()):
        first = np.maximum(reads[:, 0], address)
        last = np.minimum(reads.sum(axis=1), address + nbytes)
        if np.maximum(last - first, 0).sum() < nbytes:
            return False
    return True


def in_readme() -> str:
    """The table as the README has it."""
    return re.search(f"{re.escape(BEGIN)}\n(.*?)\n{re.escape(END)}", README.read_text(), re.S)[1]


if __name__ == "__main__":
    text = README.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    README.write_text(f"{text[:begin]}\n{table()}\n{text[end:]}")
