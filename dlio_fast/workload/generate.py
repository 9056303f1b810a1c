"""Generate the data set of a configuration: NPZ and NPY files as DLIO lays them out, with the same contents
for the same seed on every run, for every number of threads and processes."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from .. import _core
from .._limits import default_threads
from ..config import Config
from ..config.address import backend_of, split_address
from ..errors import ClosedError, ConfigError, DiskFullError
from ..formats.layout import write_deflated_npz
from .bar import Bar
from .plan import FilePlan, typed_errors

logger = logging.getLogger("dlio_fast")

_POLL_SECONDS = 0.02


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
    threads: int | None = None,
    skip_existing: bool = False,
    progress: bool | None = None,
    rank: int = 0,
    world_size: int = 1,
    sync: bool = False,
) -> GenerateResult:
    """Generate a configuration's data set.

    A file is written under a temporary name and renamed: what has its final name is complete, however the run
    ended. What a dead run left unfinished is removed. Files of the data set that are there already are
    replaced, one by one; files that are not part of it stay, with a warning.

    Parameters
    ----------
    cfg : Config
        Its ``dataset`` section says what is generated; ``workflow.generate_data`` is not looked at.
    data_folder : str or path-like, optional
        Where to, instead of the configuration's: a path, ``file://`` or, past the page cache, ``direct://``.
    threads : int, optional
        How many files are written at once; default: ``reader.write_threads`` where it is more than 1, else as
        many as processors and storage are good for.
    skip_existing : bool
        Keep files that are complete. Compared are size, headers and directory byte by byte and the payload's
        first and last 4 KiB; of a compressed file, the directory with its sizes and checksums.
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
    DiskFullError
        The file system lacks the room: before anything is written where it can be foreseen.
    DlioFastOSError
        A folder or file cannot be written; names it. Files written before it stay.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} does not lie in [0, {world_size})")
    if threads is not None and threads < 1:
        raise ValueError(f"threads = {threads} must be at least 1")
    folder, direct = _local_folder(os.fspath(data_folder) if data_folder is not None else cfg.data_address)
    started = time.perf_counter()
    plan = FilePlan(cfg, folder)
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
        threads = configured if configured > 1 else default_threads(direct)
    threads = max(1, min(threads, len(indices)))
    plan.check_room(found, 0 if skip_existing else threads)
    plan.make_folders()

    run = _Run(plan, indices, direct=direct, sync=sync, skip_existing=skip_existing)
    run.execute(threads, progress)
    if sync:
        for name in plan.folders():
            _sync_folder(name)
    return GenerateResult(
        folder=folder,
        files=run.files,
        bytes=run.bytes,
        skipped=run.skipped,
        seconds=time.perf_counter() - started,
        threads=threads,
        direct=direct and run.files > 0 and run.fallback_reason is None,
        fallback_reason=run.fallback_reason,
    )


class _Run:
    """Several threads that write the files of a plan, each taking the next one."""

    def __init__(self, plan: FilePlan, indices: range, *, direct: bool, sync: bool, skip_existing: bool):
        self.plan = plan
        self.direct = direct
        self.sync = sync
        self.skip_existing = skip_existing
        self.files = self.bytes = self.skipped = 0
        self.fallback_reason: str | None = None
        self._progress = 0  # bytes of the layouts of files that are skipped or compressed
        self._total = int(plan.nbytes()[indices.start :: indices.step].sum())
        self._writer = _core.FileWriter()
        self._stopped = False
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._indices = iter(indices)

    def execute(self, threads: int, progress: bool | None) -> None:
        """Write all files; stops within a moment of an error or Ctrl-C, and raises it."""
        bar = Bar(total=self._total, desc="generate", unit="B", unit_scale=True, show=progress)
        workers = [threading.Thread(target=self._run, name=f"dlio-fast-generate-{i}") for i in range(threads)]
        pause = _POLL_SECONDS / 16
        with bar:
            try:
                for worker in workers:
                    worker.start()
                # Asleep, not waiting on a lock: Ctrl-C could leave that one locked for the workers.
                while any(worker.is_alive() for worker in workers):
                    time.sleep(pause)
                    pause = min(2 * pause, _POLL_SECONDS)
                    bar.update(self._writer.bytes_written + self._progress - bar.n)
            finally:
                self._stop()
                for worker in workers:
                    if worker.ident is not None:
                        worker.join()
        if self._failures:
            raise self._failures[0]

    def _stop(self) -> None:
        self._stopped = True
        self._writer.cancel()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._failures.append(error)
            self._stop()

    def _work(self) -> None:
        while True:
            with self._lock:
                index = None if self._stopped else next(self._indices, None)
            if index is None:
                return
            if self.skip_existing and self.plan.is_complete(index):
                with self._lock:
                    self.skipped += 1
                    self._progress += self.plan.layout(index).nbytes
                continue
            nbytes, reason = self._write(index)
            with self._lock:
                self.files += 1
                self.bytes += nbytes
                if reason and self.fallback_reason is None:
                    self.fallback_reason = reason
                    logger.info("%s: O_DIRECT is not used: %s", self.plan.path(index), reason)

    def _write(self, index: int) -> tuple[int, str | None]:
        path = self.plan.path(index)
        folder, name = os.path.split(path)
        temp = f"{folder}/.{name}.{os.getpid()}.tmp"
        try:
            return (self._write_compressed if self.plan.compressed else self._write_stored)(index, temp, path)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(
                    f"{os.strerror(error.errno)}; this file was removed again", path
                ) from error
            raise

    def _write_stored(self, index: int, temp: str, path: str) -> tuple[int, str | None]:
        layout = self.plan.layout(index)
        _, reason = self._writer.write(
            temp,
            path,
            layout.head,
            layout.payload_nbytes,
            layout.tail,
            seed=self.plan.seed,
            stream=index,
            kind=self.plan.kind,
            crc_from=layout.crc_from,
            crc_in_head=layout.crc_in_head,
            crc_in_tail=layout.crc_in_tail,
            direct=self.direct,
            sync=self.sync,
        )
        return layout.nbytes, reason

    def _write_compressed(self, index: int, temp: str, path: str) -> tuple[int, str | None]:
        plan, samples = self.plan, self.plan.dataset.num_samples_per_file
        with typed_errors("writing failed", path), _open_temp(temp) as file:
            try:
                write_deflated_npz(file, plan.shape(index), plan.dtype, samples, self._pieces(index))
                file.flush()
                nbytes = os.fstat(file.fileno()).st_size
                if self.sync:
                    os.fsync(file.fileno())
                os.replace(temp, path)
            except BaseException:
                os.unlink(temp)
                raise
        return nbytes, "compressed files are written through the page cache" if self.direct else None

    def _pieces(self, index: int) -> Iterator[Any]:
        for piece in self.plan.payload(index):
            if self._stopped:
                raise ClosedError(f"{self.plan.path(index)}: writing was cancelled")
            yield piece
            with self._lock:
                self._progress += len(piece)


def _local_folder(address: str) -> tuple[str, bool]:
    """Split an address into a local folder and whether it asks for O_DIRECT."""
    scheme, path = split_address(address)
    backend = backend_of(scheme)
    if backend not in ("file", "direct"):
        raise ConfigError(
            f"dataset.data_folder: {address!r} cannot be generated into: a path, file:// or direct:// can"
        )
    if not path:
        raise ConfigError(f"dataset.data_folder: {address!r} names no folder")
    return os.path.normpath(path), backend == "direct"


def _open_temp(path: str) -> BinaryIO:
    """Create and lock a temporary file, as csrc/dlf_write.c does it."""
    while True:
        file = open(path, "xb")
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # not every file system has locks
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # another run took it for a dead one's


def _sync_folder(folder: str) -> None:
    with typed_errors("the folder cannot be synchronised", folder):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
