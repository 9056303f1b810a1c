"""Read files through the ring as fast as they come, and say how fast that was."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._limits import default_threads
from ..storage.local import Address, ReadMany
from ..storage.memory import SHARED_KEEP
from .bar import Bar
from .finding import find_files
from .metrics import Quantiles
from .pagecache import cache_state, drop_caches, memory_filesystem, resident_fraction

if TYPE_CHECKING:
    from ..storage.remote import RemoteStore


@dataclass(frozen=True)
class Endpoint:
    """What one server of a store was asked for in a round."""

    requests: int
    retries: int
    """Requests made again; where fsspec reads, those that its file system makes by itself are not seen."""
    errors: int
    bytes: int
    gb_per_second: float
    latency: Quantiles
    """Of requests, to the next quarter octave above."""


@dataclass(frozen=True)
class BenchRound:
    """All files read once."""

    seconds: float
    cpu_seconds: float
    """Of the whole process, in user mode and in the kernel."""
    files: int
    bytes: int
    """Read from storage, as the core counted."""
    direct_bytes: int
    """Of these, past the page cache."""
    read_latency: Quantiles
    """Of single read system calls, to the next quarter octave above."""
    fallback_reason: str | None
    """Why O_DIRECT was not used although it was asked for."""
    resident_before: float | None
    """Which fraction of the files was in the page cache beforehand, by a sample; None: cannot be told."""
    endpoints: Mapping[str, Endpoint]
    """The servers of a store, by host and port; empty for local files."""

    @property
    def gb_per_second(self) -> float:
        """Throughput in 10**9 bytes a second."""
        return self.bytes / self.seconds / 1e9

    @property
    def files_per_second(self) -> float:
        """Whole files a second."""
        return self.files / self.seconds

    @property
    def cpu_seconds_per_gb(self) -> float:
        """Processor time for 10**9 bytes; 0 where nothing was read."""
        return self.cpu_seconds / self.bytes * 1e9 if self.bytes else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        rates = ("gb_per_second", "files_per_second", "cpu_seconds_per_gb")
        cache = cache_state(self.resident_before)
        return {**{name: getattr(self, name) for name in rates}, "cache": cache, **asdict(self)}


@dataclass(frozen=True)
class BenchResult:
    """What :func:`bench` measured."""

    files: int
    direct: bool
    """Whether O_DIRECT was asked for; the rounds tell how many bytes came by it."""
    threads: int
    prefetch_bytes: int
    checksum: bool
    caches_dropped: str | None
    """How, before each round; None: they were not."""
    in_memory: str | None
    """"tmpfs" or "ramfs" where the files lie in one, so that no storage was measured."""
    store: str | None
    """What the addresses of its objects begin with; None: the files are local."""
    road: str | None
    """How the store is read: "http" by the C client, "fsspec" by s3fs, adlfs or another file system."""
    rounds: tuple[BenchRound, ...]

    @property
    def gb_per_second(self) -> float:
        """Median of the rounds."""
        return statistics.median(round.gb_per_second for round in self.rounds)

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        settings = {name: value for name, value in vars(self).items() if name != "rounds"}
        medians = {
            name: statistics.median(getattr(round, name) for round in self.rounds)
            for name in ("gb_per_second", "files_per_second", "cpu_seconds_per_gb")
        }
        return {**settings, "median": medians, "rounds": [round.to_dict() for round in self.rounds]}


def bench(
    paths: Sequence[Address],
    *,
    direct: bool | None = None,
    storage_options: Mapping[str, Any] | None = None,
    threads: int | None = None,
    prefetch_bytes: int = SHARED_KEEP,
    checksum: bool = False,
    drop: bool = False,
    repeat: int = 1,
    progress: bool | None = None,
) -> BenchResult:
    """Read every byte of the files into memory, whole file by whole file, ahead on several threads.

    Parameters
    ----------
    paths : sequence of str or path-like
        Files, folders (with all below them), globs and manifests, each plain, ``file://`` or ``direct://``;
        or all of one bucket: ``s3://``, ``az://`` or what else fsspec knows.
    direct : bool, optional
        Bypass the page cache (O_DIRECT), or do not; default: as the addresses say.
    storage_options : mapping, optional
        For the store, in s3fs's or adlfs's own names.
    threads, prefetch_bytes
        As for :func:`dlio_fast.read_many`.
    checksum : bool
        Also compute the CRC-32 of every byte, as a reader that verifies does; else no byte is looked at.
    drop : bool
        Drop the page cache before every round, see :func:`~dlio_fast.workload.pagecache.drop_caches`.
    repeat : int
        Rounds.
    progress : bool, optional
        Show a progress bar on stderr; default: if that is a terminal.

    Raises
    ------
    DlioFastFileNotFoundError
        There is no file.
    UnsupportedError
        Some addresses are ``direct://``, some are not, and `direct` does not say which to do; or they are of
        different stores, or `direct` is asked for of a store.
    DlioFastOSError
        A file cannot be read.
    """
    if repeat < 1 or (threads is not None and threads < 1) or prefetch_bytes < 1:
        raise ValueError("repeat, threads and prefetch_bytes must be at least 1")
    files = find_files(paths, direct, storage_options)
    direct, store = files.direct, files.store
    threads = threads or default_threads(direct, store is not None)
    scheme = "direct://" if direct else "file://"
    rounds, how = [], None
    for _ in range(repeat):
        how = drop_caches(files) if drop and not store else None
        resident = resident_fraction(files) if not store else None
        addresses = iter(files) if store else (scheme + file for file in files)
        with ReadMany(addresses, threads=threads, prefetch_bytes=prefetch_bytes, checksum=checksum) as reader:
            rounds.append(_read_all(reader, len(files), resident, store, progress))
    return BenchResult(
        files=len(files),
        direct=direct,
        threads=threads,
        prefetch_bytes=prefetch_bytes,
        checksum=checksum,
        caches_dropped=how,
        in_memory=None if store else memory_filesystem(files),
        store=store.address.prefix if store else None,
        road=store.road if store else None,
        rounds=tuple(rounds),
    )


def _read_all(
    reader: ReadMany, count: int, resident: float | None, store: RemoteStore | None, progress: bool | None
) -> BenchRound:
    asked = store.stats() if store else {}
    before, started = _cpu_seconds(), time.perf_counter()
    with Bar(show=progress, total=count, desc="read", unit="file") as bar:
        for _ in reader:
            bar.update()
        seconds, cpu_seconds = time.perf_counter() - started, _cpu_seconds() - before
    stats = reader.stats()
    return BenchRound(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        files=count,
        bytes=stats["bytes_read"],
        direct_bytes=stats["direct_bytes"],
        read_latency=Quantiles.of_latencies(stats["latency_histogram"]),
        fallback_reason=stats["fallback_reason"],
        resident_before=resident,
        endpoints=_endpoints(asked, store.stats(), stats, seconds) if store else {},
    )


def _endpoints(
    before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]], ring: dict[str, Any], seconds: float
) -> dict[str, Endpoint]:
    """What was asked of each endpoint meanwhile. If only the ring took the times, there is but one."""
    found = {}
    for name, now in after.items():
        then = before.get(name, {})
        more = {key: now[key] - then.get(key, 0) for key in ("requests", "retries", "errors", "bytes")}
        times = ring["latency_histogram"]
        if "latency" in now:
            past = then.get("latency", [0] * len(now["latency"]))
            times = [a - b for a, b in zip(now["latency"], past, strict=True)]
        rate = more["bytes"] / seconds / 1e9
        found[name] = Endpoint(**more, gb_per_second=rate, latency=Quantiles.of_latencies(times))
    return found


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
