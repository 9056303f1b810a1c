"""What reading and writing objects is compared with, each used the quickest way that was found."""

from __future__ import annotations

import asyncio
import http.client
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tests.remote.stores import Store

from .peers import THREADS


class OnFsspec:
    """s3fs or adlfs: requests run at once on its own loop, through a pool as wide; ends are named, or s3fs
    makes a HEAD for each object."""

    def __init__(self, store: Store, keys: Sequence[str], size: int, in_flight: int, batch: int = 8):
        import fsspec

        options = dict(store.storage_options)
        if store.root.startswith("s3"):
            options["config_kwargs"] = {**options["config_kwargs"], "max_pool_connections": in_flight}
        self.fs = fsspec.filesystem(store.root.partition(":")[0], **options, skip_instance_cache=True)
        self.paths = [f"{store.container}/{key}" for key in keys]
        self.size, self.in_flight = size, in_flight
        self.batch = np.zeros((batch, size), np.uint8)

    def _each(self, work) -> int:
        import fsspec.asyn

        async def worker(todo) -> None:
            for item in todo:
                await work(*item)

        async def all_of() -> None:
            todo = iter(enumerate(self.paths))
            await asyncio.gather(*(worker(todo) for _ in range(self.in_flight)))

        fsspec.asyn.sync(self.fs.loop, all_of)
        return self.size * len(self.paths)

    def read(self) -> int:
        """Objects into a batch."""

        async def work(number: int, path: str) -> None:
            data = await self.fs._cat_file(path, start=0, end=self.size)
            self.batch[number % len(self.batch)] = np.frombuffer(data, np.uint8)

        return self._each(work)

    def write(self, data: bytes) -> int:
        """The same bytes to each object."""
        return self._each(lambda _, path: self.fs._pipe_file(path, data))

    def decode(self) -> int:
        """`fs.cat` of a batch of objects, numpy.load of each."""
        moved = 0
        for first in range(0, len(self.paths), len(self.batch)):
            found = self.fs.cat(self.paths[first : first + len(self.batch)])
            moved += stack([array_of(raw) for raw in found.values()])
        return moved


def array_of(raw: Any) -> np.ndarray:
    with np.load(io.BytesIO(raw)) as npz:
        return npz["x"]


def stack(arrays: list[np.ndarray]) -> int:
    return np.stack(arrays).nbytes


def s3dlio_decode(store: Store, keys: Sequence[str], in_flight: int, batch: int = 8) -> Callable[[], int]:
    """`get_many` of a batch of objects, numpy.load of each on threads."""
    os.environ.update(store.environment)  # its endpoint is the process's
    import s3dlio

    uris = [store.address(key) for key in keys]
    pool = ThreadPoolExecutor(THREADS)

    def run() -> int:
        moved = 0
        for first in range(0, len(uris), batch):
            found = s3dlio.get_many(uris[first : first + batch], in_flight)
            moved += stack(list(pool.map(array_of, (raw for _, raw in found))))
        return moved

    return run


def obstore_decode(store: Store, keys: Sequence[str], in_flight: int, batch: int = 8) -> Callable[[], int]:
    """obstore on threads, each of which does numpy.load with what it got."""
    from obstore.store import S3Store

    bucket = S3Store(
        store.container, endpoint=store.endpoint, region="us-east-1", virtual_hosted_style_request=False,
        access_key_id=store.keys.access_key, secret_access_key=store.keys.secret_key,
        client_options={"allow_http": True},
    )  # fmt: skip
    pool = ThreadPoolExecutor(in_flight)

    def run() -> int:
        arrays = pool.map(lambda key: array_of(bucket.get(key).bytes()), keys)
        sizes = [min(batch, left) for left in range(len(keys), 0, -batch)]
        return sum(stack([next(arrays) for _ in range(size)]) for size in sizes)

    return run


def one_stream(store: Store, key: str, size: int) -> Callable[[], int]:
    """A plain GET into ready memory. For servers that ask for no signature."""
    into = memoryview(bytearray(size))
    connection = http.client.HTTPConnection(urlsplit(store.endpoint).netloc)

    def run() -> int:
        connection.request("GET", f"/{store.container}/{key}")
        answer, done = connection.getresponse(), 0
        while done < size:
            done += answer.readinto(into[done:])
        answer.read()
        return done

    return run
