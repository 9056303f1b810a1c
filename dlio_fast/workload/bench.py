"""Read files through the ring as fast as they come, and say how fast that was."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .._limits import default_threads
from ..config import split_address
from ..errors import DlioFastFileNotFoundError, UnsupportedError
from ..storage.files import FileList, list_files
from ..storage.local import Address, ReadMany, local_path
from ..storage.memory import SHARED_KEEP
from .bar import Bar
from .metrics import Quantiles
from .pagecache import cache_state, drop_caches, memory_filesystem, resident_fraction


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
        Files, folders (with all below them), globs and manifests, each plain, ``file://`` or ``direct://``.
    direct : bool, optional
        Bypass the page cache (O_DIRECT), or do not; default: as the addresses say.
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
        Some addresses are ``direct://``, some are not, and `direct` does not say which to do.
    DlioFastOSError
        A file cannot be read.
    """
    if repeat < 1 or (threads is not None and threads < 1) or prefetch_bytes < 1:
        raise ValueError("repeat, threads and prefetch_bytes must be at least 1")
    files = find_files(paths, direct)
    direct = files.direct
    threads = threads or default_threads(direct)
    scheme = "direct://" if direct else "file://"
    rounds, how = [], None
    for _ in range(repeat):
        how = drop_caches(files) if drop else None
        resident = resident_fraction(files)
        addresses = (scheme + file for file in files)
        with ReadMany(addresses, threads=threads, prefetch_bytes=prefetch_bytes, checksum=checksum) as reader:
            rounds.append(_read_all(reader, len(files), resident, progress))
    memory = memory_filesystem(files)
    return BenchResult(len(files), direct, threads, prefetch_bytes, checksum, how, memory, tuple(rounds))


def _read_all(reader: ReadMany, count: int, resident: float | None, progress: bool | None) -> BenchRound:
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
    )


def find_files(paths: Sequence[Address], direct: bool | None = None) -> FileList:
    """Return the files that the paths stand for, in order; hidden ones in folders are left out.

    Whether to bypass the page cache is what `direct` says, else the addresses, which then must agree.
    """
    found: list[str] = []
    directs: set[bool] = set()
    for address in paths:
        path, is_direct = local_path(address)
        if os.path.isdir(path):
            found += _below(path)
        else:
            listed = list_files(address, ())
            found += listed
            is_direct = listed.direct
        directs.add(is_direct)
    if not found:
        named = ", ".join(os.fsdecode(split_address(os.fsdecode(path))[1]) for path in paths)
        raise DlioFastFileNotFoundError(2, "no files are there to read", named)
    if direct is None and len(directs) > 1:
        raise UnsupportedError(
            "the paths must be all direct:// or none of them; --direct or --buffered reads all the same way",
            next((text for text in map(os.fsdecode, paths) if split_address(text)[0]), ""),
        )
    chosen = True in directs if direct is None else direct
    return FileList(b"", [os.fsencode(path) for path in found], direct=chosen)


def _below(folder: str) -> list[str]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (os.path.join(parent, name) for name in sorted(names) if not name.startswith("."))
        found += [path for path in paths if os.path.isfile(path)]
    return found


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
