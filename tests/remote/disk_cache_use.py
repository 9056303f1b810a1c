"""What the tests of the disk cache share."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.storage.disk_cache import space_of

SIZE = 300_000


def kept(cache: Path) -> list[Path]:
    return sorted(cache.glob("[0-9a-f][0-9a-f]/*"))


def sizes(cache: Path) -> list[int]:
    """Those of the objects whose copies are there."""
    return sorted(path.stat().st_size - _core.DISK_CACHE_TAIL for path in kept(cache))


def filling(cache: Path) -> list[Path]:
    return list((cache / "filling").iterdir())


def used(cache: Path) -> int:
    return sum(space_of(path.stat().st_size) for path in [*kept(cache), *filling(cache)])


def ledger(cache: Path) -> int:
    return int.from_bytes((cache / "ledger").read_bytes()[:8], "little")


def noise(i: int, size: int = SIZE) -> bytes:
    return np.random.default_rng(i).bytes(size)


def put_all(store, count: int, size: int = SIZE) -> list[str]:
    """Objects of different sizes, and with that of different contents; returns their addresses."""
    for i in range(count):
        store.put(f"{i:02}.bin", noise(i, size + i))
    return [store.address(f"{i:02}.bin") for i in range(count)]


def reader(store, **options):
    """A function that reads an object and says whether it is right."""

    def right(address: str) -> bool:
        data = df.read(address, storage_options=store.storage_options, **options)
        return bytes(data) == store.get(address.removeprefix(store.root + "/"))

    return right


def npz_set(store, **options) -> df.Dataset:
    for i in range(6):
        file = io.BytesIO()
        np.savez(file, x=np.random.default_rng(i).integers(0, 99, (50, 1000)))
        store.put(f"d/{i}.npz", file.getvalue())
    return df.Dataset.from_files(store.address("d"), storage_options=store.storage_options, **options)


START = """
import json, logging, os, resource, sys
import dlio_fast as df
logging.basicConfig()
def read(i):
    return bytes(df.read(addresses[i], storage_options=options, cache_dir=cache))
"""


def run(code: str, store, cache: Path):
    """A process that finds `options`, `addresses` of all objects and `cache`."""
    known = json.dumps([store.storage_options, [store.address(key) for key in store.list()], str(cache)])
    start = f"options, addresses, cache = json.loads({known!r})\n"
    return subprocess.Popen(
        [sys.executable, "-c", START + start + code, store.address("d")], stderr=subprocess.PIPE, text=True
    )
