"""Objects of S3 and Azure. CPU time is the reading process's alone: servers are processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.storage.remote import remote_store
from dlio_fast.workload.generate import generate
from tests.remote.servers import Servers
from tests.remote.stores import Store

from . import data
from .cases import DLIO_SHAPE, MIB, checked, drain
from .remote_peers import OnFsspec, obstore_decode, one_stream, s3dlio_decode
from .remote_servers import serve_files, slow_way, upload
from .runner import Case, Goal

BATCH = IN_FLIGHT = 8


NPY_HEADER = 128
"""Bytes that numpy writes before such an array."""


def loader(store: Store, keys: list[str], size: int, batch_size: int = BATCH, **options) -> df.Loader:
    """Objects of one size, which a manifest tells, as a listing would."""
    manifest = data.ROOT / f"{store.container}.manifest"
    manifest.write_text("".join(f"{store.address(key)}\t{size}\n" for key in keys))
    dataset = df.Dataset.from_files(manifest, fields=["x"], storage_options=store.storage_options)
    return df.Loader(dataset, batch_size=batch_size, **options)


def core_of(store: Store) -> _core.HttpStore:
    core = remote_store(store.address(""), store.storage_options).core()
    assert isinstance(core, _core.HttpStore), "the core was built without OpenSSL"
    return core


def served(servers: Servers, files: list[str], *, tls: bool = False) -> tuple[Store, list[str], int]:
    """nginx over a folder of files of one size: the store, the keys, and that size."""
    data.warm(files)
    folder = next(parent for parent in Path(files[0]).parents if (parent / ".complete").exists())
    keys = [os.path.relpath(path, folder) for path in files]
    return serve_files(servers, folder.parent, folder.name, tls=tls), keys, os.path.getsize(files[0])


def uploaded(servers: Servers, name: str, files: list[str]) -> tuple[Store, list[str], int]:
    """The files in a new bucket of that server."""
    store = servers.new_store(name)
    return store, upload(store, files), os.path.getsize(files[0])


def beside(
    name: str, title: str, peer: str, servers: Servers, objects: tuple[Store, list[str], int],
    goals: Callable[[str, str], list[Goal]], *, in_flight: int = IN_FLIGHT, batch: int = BATCH, threads=None,
) -> Case:  # fmt: skip
    """Objects into batch memory, dlio_fast beside one of fsspec's file systems."""
    store, keys, size = objects
    ours = loader(store, keys, size, batch, threads=threads)
    theirs = OnFsspec(store, keys, size, in_flight, batch)
    return Case(
        name, title, len(keys) * size,
        {peer: theirs.read, "dlio_fast": checked(partial(drain, ours), len(keys) * (size - NPY_HEADER))},
        goals("dlio_fast", peer),
        cache="the server's memory",
        items=len(keys),
        after=servers.stop,
    )  # fmt: skip


def cpu_goals(must: float, reach: float, must_ratio: float):
    def goals(ours: str, theirs: str) -> list[Goal]:
        return [
            Goal("CPU-s/GB", ours, None, must, reach, "cpu", " s/GB"),
            Goal(f"the same against {theirs}", ours, theirs, must_ratio, must_ratio, "cpu ratio"),
        ]

    return goals


def speed_goals(must: float, reach: float):
    def goals(ours: str, theirs: str) -> list[Goal]:
        return [Goal(f"GB/s against {theirs}", ours, theirs, must, reach)]

    return goals


def _five_mib() -> list[str]:
    return data.numpy_npy(200, 2048, 2560)


def _large() -> list[str]:
    return data.numpy_npy(20, 8192, 8192)


def s3_http() -> Case:
    servers = Servers()
    return beside(
        "s3_http", "S3 over http (nginx), 200 × 5 MiB into batches of 8, 8 in flight", "s3fs", servers,
        served(servers, _five_mib()),
        lambda *pair: cpu_goals(0.60, 0.35, 0.5)(*pair) + speed_goals(2.0, 2.8)(*pair),
        threads=IN_FLIGHT,
    )  # fmt: skip


def s3_tls() -> Case:
    servers = Servers()
    return beside(
        "s3_tls", "S3 over TLS (nginx), 200 × 5 MiB into batches of 8", "s3fs", servers,
        served(servers, _five_mib(), tls=True), cpu_goals(0.90, 0.70, 0.55),
    )  # fmt: skip


def s3_large() -> Case:
    servers = Servers()
    return beside(
        "s3_large", "S3 over http (nginx), 20 × 64 MiB into batches of 2", "s3fs", servers,
        served(servers, _large()), cpu_goals(0.60, 0.35, 0.5), batch=2,
    )  # fmt: skip


def s3_large_tls() -> Case:
    servers = Servers()
    return beside(
        "s3_large_tls", "S3 over TLS (nginx), 20 × 64 MiB into batches of 2", "s3fs", servers,
        served(servers, _large(), tls=True), cpu_goals(0.90, 0.70, 0.55), batch=2,
    )  # fmt: skip


def s3_radosgw() -> Case:
    servers = Servers()
    return beside(
        "s3_radosgw", "S3 over http (radosgw), 200 × 5 MiB into batches of 8, 8 in flight", "s3fs", servers,
        uploaded(servers, "radosgw", _five_mib()), speed_goals(1.3, 1.5), threads=IN_FLIGHT,
    )  # fmt: skip


def azure() -> Case:
    servers = Servers()
    return beside(
        "azure", "Azure over http (Azurite), 200 × 5 MiB into batches of 8", "adlfs", servers,
        uploaded(servers, "azurite", _five_mib()), cpu_goals(0.55, 0.33, 0.5),
    )  # fmt: skip


def s3_small() -> Case:
    servers, in_flight = Servers(), 16
    return beside(
        "s3_small", "S3 over http (nginx), 4,000 × 112 KiB into batches of 64, 16 in flight", "s3fs", servers,
        served(servers, data.numpy_npy(4000, 112 * 1024 - NPY_HEADER)),
        lambda ours, _: [Goal("CPU an object", ours, None, 250, 120, "item cpu", " µs")],
        in_flight=in_flight, batch=64, threads=in_flight,
    )  # fmt: skip


def s3_ranges() -> Case:
    servers = Servers()
    near, keys, size = served(servers, _large())
    far = slow_way(servers, near, latency=0.02, bytes_per_second=100e6)
    address, options = far.address(keys[0]), far.storage_options
    core, pool = core_of(far), _core.Pool(4 * size)
    known, asked = "dlio_fast, size known from a listing", "dlio_fast.read, which asks for the size"
    return Case(
        "s3_ranges", "One 64 MiB object, 20 ms away, 100 MB/s a connection: eight ranges at once", size,
        {
            "one stream": one_stream(far, keys[0], size),
            known: lambda: core.read(address, pool=pool, size=size).nbytes,
            asked: lambda: df.read(address, storage_options=options).nbytes,
        },
        [
            Goal("size known, against one stream", known, "one stream", 4.0, 6.0),
            Goal("size asked for, against one stream", asked, "one stream", 4.0, 6.0),
        ],
        cache="the server's memory",
        after=servers.stop,
    )  # fmt: skip


def s3_npz() -> Case:
    servers = Servers()
    store, keys, size = served(servers, data.numpy_npz(200, DLIO_SHAPE))
    ours, payload = loader(store, keys, size), len(keys) * 5 * MIB
    return Case(
        "s3_npz", "S3 over http (nginx), 200 × 5 MiB NPZ decoded and verified, batches of 8", payload,
        {
            "fs.cat + numpy.load": OnFsspec(store, keys, size, IN_FLIGHT).decode,
            "s3dlio.get_many + numpy.load": s3dlio_decode(store, keys, IN_FLIGHT),
            "obstore + numpy.load": obstore_decode(store, keys, IN_FLIGHT),
            "dlio_fast": checked(partial(drain, ours), payload),
        },
        [
            Goal("against fs.cat + numpy.load", "dlio_fast", "fs.cat + numpy.load", 2.5, 4.0),
            Goal("against s3dlio", "dlio_fast", "s3dlio.get_many + numpy.load", 1.3, 1.8),
            Goal("against obstore", "dlio_fast", "obstore + numpy.load", 1.3, 1.8),
        ],
        cache="the server's memory",
        items=len(keys),
        after=servers.stop,
    )  # fmt: skip


def s3_upload() -> Case:
    count, servers = 60, Servers()
    store = servers.new_store("radosgw")
    content = Path(data.numpy_npz(200, DLIO_SHAPE)[0]).read_bytes()
    keys = [f"put/{i:03d}.npz" for i in range(count)]
    core, pool = core_of(store), ThreadPoolExecutor(IN_FLIGHT)
    peer = OnFsspec(store, [f"pipe/{i:03d}.npz" for i in range(count)], len(content), IN_FLIGHT)
    made = df.load_config(
        {"dataset": {"format": "npz", "num_files_train": count, "record_dims": [2560, 2048]}}
    )

    def put() -> None:
        for _ in pool.map(lambda key: core.put(store.address(key), content), keys):
            pass

    def generated() -> int:
        where = store.address("generated")
        options = {"storage_options": store.storage_options, "threads": IN_FLIGHT, "progress": False}
        return generate(made, data_folder=where, **options).bytes

    return Case(
        "s3_upload", f"{count} × 5 MiB NPZ put into radosgw, 8 in flight", count * len(content),
        {
            "s3fs pipe": partial(peer.write, content),
            "dlio_fast": put,
            "dlio_fast, generated, with its start": generated,
        },
        [Goal("against s3fs pipe", "dlio_fast", "s3fs pipe", 1.2, 2.0)],
        cache="no cache: objects are written",
        items=count,
        after=servers.stop,
    )  # fmt: skip
