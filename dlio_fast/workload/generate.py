"""Generate the data set of a configuration: files as DLIO lays them out, with the same contents for the same
seed on every run, for every number of threads and processes."""

from __future__ import annotations

import logging
import os
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..config import Config
from .bar import Bar
from .crew import work_together
from .place import place_of
from .plan import FilePlan
from .store_plan import StorePlan

logger = logging.getLogger("dlio_fast")


@dataclass(frozen=True)
class GenerateResult:
    """What :func:`generate` did, of this rank's files."""

    folder: str
    files: int
    """How many were written; files that were complete already are counted in `skipped`."""
    bytes: int
    """Bytes of the files that were written, headers included."""
    skipped: int
    seconds: float
    threads: int
    direct: bool
    """Whether all that was written went past the page cache."""
    fallback_reason: str | None
    """Why it did not although ``direct://`` asked for it."""

    @property
    def gb_per_second(self) -> float:
        """Throughput in 10**9 bytes a second."""
        return self.bytes / self.seconds / 1e9 if self.seconds else 0.0


def generate(
    cfg: Config,
    *,
    data_folder: str | os.PathLike[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    threads: int | None = None,
    skip_existing: bool = False,
    progress: bool | None = None,
    rank: int = 0,
    world_size: int = 1,
    sync: bool = False,
) -> GenerateResult:
    """Generate a configuration's data set.

    A file is written under a temporary name and renamed, an object uploaded whole: what has its final name is
    complete, however the run ended. What a dead run left unfinished is removed. Files of the data set that
    are there already are replaced, one by one; files that are not part of it stay, with a warning.

    Parameters
    ----------
    cfg : Config
        Its ``dataset`` section says what is generated; ``workflow.generate_data`` is not looked at.
    data_folder : str or path-like, optional
        Where to, instead of the configuration's: a path, ``file://``, ``direct://`` (past the page cache), or
        ``s3://``, ``az://`` or what else fsspec knows.
    storage_options : mapping, optional
        For the store, in s3fs's or adlfs's own names; they go before the configuration's ``storage`` section.
    threads : int, optional
        How many files are written at once; default: ``reader.write_threads`` where it is more than 1, else as
        many as processors and storage are good for, and of objects no more than fit into 512 MiB.
    skip_existing : bool
        Keep files that are complete. Compared are size, headers and directory byte by byte and the payload's
        first and last 4 KiB; of an encoded file, what its format says of it: of a deflated NPZ file, the
        directory with its sizes and checksums.
    progress : bool, optional
        Show a progress bar on stderr; default: if that is a terminal.
    rank, world_size : int
        Of `world_size` processes this one writes files `rank`, `rank` + `world_size`, ... of training and
        evaluation files together.
    sync : bool
        Return only when all is on the device, safe from a loss of power.

    Raises
    ------
    ConfigError
        What the configuration asks for cannot be generated.
    DlioFastFileNotFoundError, DlioFastPermissionError, DlioFastTimeoutError, StoreError
        The store cannot be written to; said within 10 s, before anything is generated.
    DiskFullError
        The file system lacks the room: before anything is written where it can be foreseen.
    DlioFastOSError
        A folder or file cannot be written; names it. Files written before it stay.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} does not lie in [0, {world_size})")
    if threads is not None and threads < 1:
        raise ValueError(f"threads = {threads} must be at least 1")
    address = os.fspath(data_folder) if data_folder is not None else cfg.data_address
    place = place_of(address, storage_options, cfg.storage)
    folder = place.folder
    started = time.perf_counter()
    plan = StorePlan(cfg, place) if place.store else FilePlan(cfg, place)
    place.check()
    found = plan.take_inventory(rank, world_size)
    if found.foreign:
        warnings.warn(
            f"{folder}: {len(found.foreign)} files or folders are not part of this data set and stay; "
            f"a reader would take them for part of it: {', '.join(sorted(found.foreign)[:3])}",
            stacklevel=2,
        )
    indices = range(rank, len(plan), world_size)
    if threads is None:
        configured = cfg.reader.write_threads
        threads = configured if configured > 1 else place.threads(0)
    if place.store:
        threads = min(threads, place.threads(plan.nbytes().max(initial=0)))
    threads = max(1, min(threads, len(indices)))
    plan.check_room(found, 0 if skip_existing else threads)
    plan.make_folders()

    run = _Run(plan, indices, sync=sync, skip_existing=skip_existing)
    run.execute(threads, progress)
    if sync:
        place.sync_folders(plan.folders())
    return GenerateResult(
        folder=folder,
        files=run.files,
        bytes=run.bytes,
        skipped=run.skipped,
        seconds=time.perf_counter() - started,
        threads=threads,
        direct=place.direct and run.files > 0 and run.fallback_reason is None,
        fallback_reason=run.fallback_reason,
    )


class _Run:
    """Several threads that write the files of a plan, each taking the next one."""

    def __init__(self, plan: FilePlan, indices: range, *, sync: bool, skip_existing: bool):
        self.plan = plan
        self.skip_existing = skip_existing
        self.files = self.bytes = self.skipped = 0
        self.fallback_reason: str | None = None
        self._estimates = plan.nbytes()
        self._progress = 0.0  # bytes of files that are skipped, and that files are smaller than estimated
        self._total = int(self._estimates[indices.start :: indices.step].sum())
        self._writer = plan.place.writer(sync)
        self._stopped = False
        self._lock = threading.Lock()
        self._indices = iter(indices)

    def execute(self, threads: int, progress: bool | None) -> None:
        """Write all files; stops within a moment of an error or Ctrl-C, and raises it."""
        bar = Bar(total=self._total, desc="generate", unit="B", unit_scale=True, show=progress)
        work_together(self._work, threads, name="generate", stop=self._stop, bar=bar, done=self._done)

    def _done(self) -> int:
        return int(self._writer.bytes_written + self._progress)

    def _stop(self) -> None:
        self._stopped = True
        self._writer.cancel()

    def _work(self) -> None:
        while True:
            with self._lock:
                index = None if self._stopped else next(self._indices, None)
            if index is None:
                return
            if self.skip_existing and self.plan.is_complete(index):
                with self._lock:
                    self.skipped += 1
                    self._progress += self._estimates[index]
                continue
            nbytes, reason = self.plan.write(index, self._writer)
            with self._lock:
                self._progress += self._estimates[index] - nbytes
                self.files += 1
                self.bytes += nbytes
                if reason and self.fallback_reason is None:
                    self.fallback_reason = reason
                    logger.info("%s: O_DIRECT is not used: %s", self.plan.path(index), reason)
