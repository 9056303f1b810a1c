"""Convert a data set to another format, to files of other sizes or to the aligned form: the same samples."""

from __future__ import annotations

import io
import logging
import os
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from .._limits import cpu_count
from .._typing import Values
from ..config import Config, folder_of, is_remote
from ..errors import ConfigError, DataError, SampleError
from ..formats import Format, format_named
from ..formats.packing import Packing
from ..formats.writing import Writer
from ..pipeline import Dataset
from ..pipeline.dataset import DLIO_SAMPLE_AXIS, SPLITS
from ..storage.local import Address, local_path
from .bar import Bar
from .crew import work_together
from .feed import Feed
from .place import Place, place_of
from .plan import disk_of, require_room
from .target import Options, Target, compare

if TYPE_CHECKING:
    from ..formats.object_writing import ObjectWriter

logger = logging.getLogger("dlio_fast")


@dataclass(frozen=True)
class ConvertResult:
    """What :func:`convert` did."""

    folder: str
    format: str
    files: int
    """How many were written; complete ones that were there already are counted in `kept`."""
    kept: int
    samples: int
    """Of all files, also those that were kept."""
    bytes: int
    """Bytes of the files that were written."""
    seconds: float
    threads: int
    verified: bool
    direct: bool
    """Whether all that was written went past the page cache."""
    fallback_reason: str | None

    @property
    def gb_per_second(self) -> float:
        """Throughput in 10**9 bytes a second."""
        return self.bytes / self.seconds / 1e9 if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {**asdict(self), "gb_per_second": self.gb_per_second}


def convert(
    source: Address | Sequence[Address],
    target: Address,
    *,
    format: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    target_options: Mapping[str, Any] | None = None,
    source_format: str | None = None,
    config: Config | None = None,
    fields: Sequence[str] | None = None,
    sample_axis: int | None = None,
    files: int | None = None,
    samples_per_file: int | None = None,
    compression: str = "none",
    level: int | None = None,
    align: bool = True,
    flatten: bool = False,
    lossy: bool = False,
    verify: bool = True,
    threads: int | None = None,
    progress: bool | None = None,
    sync: bool = False,
) -> ConvertResult:
    """Convert a data set.

    A file appears whole or not at all, and what has its name already is kept if it is byte for byte what
    would be written: a conversion that was interrupted goes on where it was. The samples of one file are in
    memory at once, on each thread.

    Parameters
    ----------
    source : str, path-like, or sequence of these
        What :meth:`Dataset.from_files` takes. A folder that has ``train`` or ``valid`` in it is taken for one
        of DLIO's: these are converted to folders of the same names.
    target : str or path-like
        A folder, local or of a store; ``direct://`` writes past the page cache.
    format : str, optional
        Default: the source's.
    storage_options : mapping, optional
        For the store of the source, and of the target unless `target_options` are given.
    target_options : mapping, optional
        For the store of the target.
    source_format : str, optional
        Default: by the first file's suffix.
    config : Config, optional
        That the source was made by. It says format, element type and shape where the files do not.
    fields : sequence of str, optional
        Which arrays of a sample are converted; default all.
    sample_axis : int, optional
        The axis along which the samples lie in a file, in formats that leave it open (NPZ, NPY), on both
        sides. Default: the last one in DLIO's folders, else a file is one sample.
    files, samples_per_file : int, optional
        Regroup the samples of each split, in their order. Default: each file becomes one, or one a sample
        where the format holds no more.
    compression : str
        As ``dataset.compression`` calls it.
    level : int, optional
        Of the compression.
    align : bool
        Payloads begin on 4096-byte boundaries of the files, where the format permits it.
    flatten : bool
        Make arrays one-dimensional, for formats that keep no shape.
    lossy : bool
        Accept a format that cannot keep the exact values (JPEG); shapes alone are verified then.
    verify : bool
        Read every file back, and compare every value.
    threads : int, optional
        How many files are converted at once.
    progress : bool, optional
        Show a progress bar on stderr; default: if that is a terminal.
    sync : bool
        Return only when all is on the device.

    Raises
    ------
    ConfigError
        The format cannot hold the samples, or they cannot be divided like that.
    DataError
        A file of the source is bad; or a file that was written gives back other samples, and was removed.
    DiskFullError, DlioFastOSError
        As :func:`generate` raises them.
    """
    if files is not None and samples_per_file is not None:
        raise ValueError("files and samples_per_file exclude each other")
    for name, value in {"files": files, "samples_per_file": samples_per_file, "threads": threads}.items():
        if value is not None and value < 1:
            raise ValueError(f"{name} = {value} must be at least 1")
    own = storage_options if target_options is None else target_options
    place = place_of(target, own, what="the target")
    folder = place.folder
    started = time.perf_counter()
    place.check()
    sources = list(_sources(source, source_format, config, fields, sample_axis, storage_options))
    to = format_named(format) if format else next(iter(sources))[1].format
    packing = Packing(compression=compression, level=level, align=align, lossy=lossy)
    options = Options(to, files, samples_per_file, flatten, packing)
    targets = [Target(dataset, folder, split, options) for split, dataset in sources]
    for one in targets:
        _check_folders(one, place)
    threads = threads or min(cpu_count(), max(1, sum(map(len, targets))))
    if place.store:
        largest = max((one.packer.nbytes() for one in targets if len(one)), default=0)
        threads = min(threads, place.threads(largest))
    writer = place.writer(sync)
    runs = [_Run(one, place, writer, threads, verify) for one in targets]
    if not place.store:
        _check_room(runs, folder, threads)
    for run, (split, _) in zip(runs, sources, strict=True):
        run.execute(progress, f"convert {split}".strip())
        _warn_of_others(run.target, place)
    reason = next((run.fallback_reason for run in runs if run.fallback_reason), None)
    written = sum(run.files for run in runs)
    return ConvertResult(
        folder=folder,
        format=to.name,
        files=written,
        kept=sum(run.kept for run in runs),
        samples=sum(one.samples for one in targets),
        bytes=sum(run.bytes for run in runs),
        seconds=time.perf_counter() - started,
        threads=threads,
        verified=verify,
        direct=place.direct and written > 0 and reason is None,
        fallback_reason=reason,
    )


def _sources(
    source: Address | Sequence[Address],
    format: str | None,
    config: Config | None,
    fields: Sequence[str] | None,
    sample_axis: int | None,
    storage_options: Mapping[str, Any] | None,
) -> Iterator[tuple[str, Dataset]]:
    """Yield the data sets to be converted, each with the folder below the target that it goes to."""
    reader: str | Format | None = format
    if config is not None and (format or config.is_set("dataset.format")):
        reader = format_named(format or config.dataset.format).configured(config)
    splits = []
    if isinstance(source, (str, bytes, os.PathLike)):
        splits = [split for split in SPLITS if _is_folder(source, split, storage_options)]
    dlio = bool(splits) or config is not None
    axis = DLIO_SAMPLE_AXIS if sample_axis is None and dlio else sample_axis
    found = 0
    for split in splits or [""]:
        files = f"{folder_of(os.fsdecode(os.fspath(source)))}/{split}" if split else source  # type: ignore[arg-type]
        dataset = Dataset.from_files(
            files, format=reader, fields=fields, sample_axis=axis, storage_options=storage_options
        )
        if len(dataset.files):
            found += 1
            yield split, dataset
    if not found:
        raise ConfigError(f"{source}: there are no files to convert")


def _is_folder(source: Address, split: str, storage_options: Mapping[str, Any] | None) -> bool:
    """Tell whether a data set has a folder of that name in it."""
    text = os.fsdecode(os.fspath(source))
    if not is_remote(text):
        return os.path.isdir(os.path.join(local_path(text)[0], split))
    from ..storage.remote import has_folder, remote_store  # with fsspec and all

    return has_folder(remote_store(text, storage_options), f"{folder_of(text)}/{split}")


def _check_folders(target: Target, place: Place) -> None:
    """Refuse to write to where the source's files lie."""
    theirs = {os.path.dirname(path) for path in target.dataset.files}
    if place.store or target.dataset.files.store:
        clash = not theirs.isdisjoint(target.folders())
    else:
        ours = {os.path.realpath(folder) for folder in target.folders()}
        clash = any(os.path.realpath(folder) in ours for folder in theirs)
    if clash:
        raise ConfigError(f"{target.folder}: the files to convert lie there: convert to another folder")


def _check_room(runs: Sequence[_Run], folder: str, threads: int) -> None:
    disk = disk_of(folder)
    if disk is None:
        return
    needed = 0
    for run in runs:
        each = -(-run.target.packer.nbytes() // disk.f_frsize) * disk.f_frsize
        missing = sum(not os.path.exists(run.target.path(index)) for index in range(len(run.target)))
        needed += missing * each
        if missing < len(run.target):  # those that are not complete lie there twice for a while
            needed += min(threads, len(run.target) - missing) * each
    require_room(disk, needed, f"the converted data set of {sum(len(r.target) for r in runs)} files", folder)


def _warn_of_others(target: Target, place: Place) -> None:
    if not len(target):
        return
    suffixes = target.format.suffixes
    there = place.listed(target.folder, suffixes)
    if len(there) != len(target):
        warnings.warn(
            f"{target.folder}: a reader finds {len(there)} files there, {len(target)} are of this conversion",
            stacklevel=3,
        )


class _Run:
    """Several threads that convert the files of one split, each taking the next one."""

    def __init__(
        self, target: Target, place: Place, writer: Writer | ObjectWriter, threads: int, verify: bool
    ):
        self.target = target
        self.place = place
        self.writer = writer
        self.threads = threads
        self.verify = verify
        self.files = self.kept = self.bytes = 0
        self.fallback_reason: str | None = None
        self._progress = 0
        self._lock = threading.Lock()
        self._feed: Feed | None = None

    def execute(self, progress: bool | None, what: str) -> None:
        """Convert all files; stops within a moment of an error or Ctrl-C, and raises it."""
        target = self.target
        self.place.make_folders(target.folders())
        for folder in target.folders():
            self.place.remove_dead(folder, target.format.suffixes[0])
        total = target.samples * target.sample_nbytes
        bar = Bar(total=total, desc=what, unit="B", unit_scale=True, show=progress)
        feed = self._feed = Feed(target, self.threads)
        try:
            work_together(
                self._work,
                self.threads,
                name="convert",
                stop=feed.close,
                bar=bar,
                done=lambda: self._progress,
            )
        except BaseException:
            self.writer.cancel()
            raise
        if self.writer.sync:
            self.place.sync_folders(target.folders())

    def _work(self) -> None:
        assert self._feed is not None
        while (taken := self._feed.take()) is not None:
            index, fields = taken
            samples = self.target.converted(fields)
            written = self._write(index, samples)
            if self.verify:
                self._verify(index, samples)
            with self._lock:
                self._progress += self.target.per_file * self.target.sample_nbytes
                if written is None:
                    self.kept += 1
                    continue
                self.files += 1
                self.bytes += written[0]
                if written[1] and self.fallback_reason is None:
                    self.fallback_reason = written[1]
                    logger.info("%s: O_DIRECT is not used: %s", self.target.path(index), written[1])

    def _write(self, index: int, samples: Mapping[str, Values]) -> tuple[int, str | None] | None:
        """Write a file and its index files; None: they are there already."""
        target, path = self.target, self.target.path(index)
        companions = target.companions(index, samples)
        if self.place.exists(path):
            image = io.BytesIO()
            target.packer.pack(samples, image)
            holds = self.place.holds
            if holds(path, image.getbuffer()) and all(holds(*one) for one in companions.items()):
                return None
        for name, data in companions.items():
            self.writer.write_bytes(name, data)
        return self.writer.write_encoded(path, lambda file: target.packer.pack(samples, file))

    def _verify(self, index: int, samples: Mapping[str, Values]) -> None:
        """Read a file back and compare; one that differs is removed."""
        target, path = self.target, self.target.path(index)
        address: Address = f"direct://{path}" if self.writer.direct else path
        store = self.place.store
        options = store.settings.source.explicit if store else None
        dataset = Dataset.from_files(
            [address],
            format=target.format,
            fields=list(samples),
            sample_axis=target.sample_axis,
            storage_options=options,
        )
        try:
            if len(dataset) != target.per_file:
                raise SampleError(
                    f"{path}: {target.per_file} samples were written, {len(dataset)} are read back", path
                )
            compare(path, samples, dataset.batch(range(len(dataset))), exact=target.packer.exact)
        except DataError:
            self.place.remove(path)
            raise
        finally:
            dataset.close()
