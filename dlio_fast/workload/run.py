"""Do the workflow of a configuration: generate, train with emulated computation, evaluate; and measure it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.random import default_rng  # now, as importing it may swallow a Ctrl-C

from ..config import Config, TimeSpec, is_remote
from ..errors import ConfigError, DlioFastFileNotFoundError
from ..storage.local import local_path
from .bar import Bar
from .generate import GenerateResult, generate
from .metrics import PhaseMetrics, Progress, Quantiles, Step, mean_and_stdev
from .pagecache import drop_caches, memory_filesystem, resident_fraction
from .sources import FRAMEWORKS, Source, open_source

_SETTINGS = (
    "batch_size", "shuffle", "seed", "drop_last", "verify", "direct", "threads", "prefetch_bytes",
)  # fmt: skip
_COUNTERS = ("bytes_read", "direct_bytes", "reads", "files", "fallbacks")
_UNUSED = ("read_threads", "prefetch_size", "transfer_size", "shuffle_size")
_NOTE_SECONDS = 0.02  # the core is not asked for its counters more often


@dataclass(frozen=True)
class Phase:
    """The training or the evaluation of one epoch."""

    epoch: int
    """From 1 on."""
    kind: str
    """"train" or "eval"."""
    metrics: PhaseMetrics
    resident_before: float | None
    """Which fraction of the files was in the page cache beforehand, by a sample; None: cannot be told."""
    caches_dropped: str | None
    """How, before the phase; None: they were not."""

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        rest = {name: value for name, value in vars(self).items() if name != "metrics"}
        return {**rest, **self.metrics.to_dict()}


@dataclass
class RunResult:
    """What :func:`run` did and measured."""

    settings: dict[str, Any]
    notes: list[str]
    """What of the configuration this version leaves out."""
    generated: GenerateResult | None = None
    phases: list[Phase] = field(default_factory=list)
    reading: dict[str, Any] = field(default_factory=dict)
    """The core's counters over all phases: bytes, files, reads, fallbacks from O_DIRECT, read latency."""
    series: dict[str, Any] = field(default_factory=lambda: Progress().series())
    """Throughput over the time of all phases, see :meth:`~dlio_fast.workload.metrics.Progress.series`."""

    def phases_of(self, kind: str) -> list[Phase]:
        """Return the phases of a kind, "train" or "eval"."""
        return [phase for phase in self.phases if phase.kind == kind]

    def total(self, kind: str = "train") -> dict[str, Any]:
        """Return sums and means over the epochs: of training or of evaluation."""
        phases = [phase.metrics for phase in self.phases_of(kind)]
        seconds = sum(phase.seconds for phase in phases)
        samples = sum(phase.samples for phase in phases)
        nbytes = sum(phase.bytes_read for phase in phases)
        utilizations = [phase.au_percent for phase in phases if phase.au_percent is not None]
        from_stall = [p.au_from_stall_percent for p in phases if p.au_from_stall_percent is not None]
        mean, stdev = mean_and_stdev(utilizations) or (None, None)
        threshold = 100 * self.settings["au_threshold"]
        return {
            "epochs": len(phases),
            "seconds": seconds,
            "steps": sum(phase.steps for phase in phases),
            "samples": samples,
            "bytes_read": nbytes,
            "samples_per_second": samples / seconds if seconds else 0.0,
            "gb_per_second": nbytes / seconds / 1e9 if seconds else 0.0,
            "stall_seconds": sum(phase.stall_seconds for phase in phases),
            "au_mean_percent": mean,
            "au_stdev_percent": stdev,
            "au_threshold_percent": threshold,
            "au_met": None if mean is None else mean >= threshold,
            "au_from_stall_mean_percent": (mean_and_stdev(from_stall) or (None,))[0],
        }

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        generated = self.generated
        return {
            "settings": self.settings,
            "notes": self.notes,
            "generate": None
            if generated is None
            else {**asdict(generated), "gb_per_second": generated.gb_per_second},
            "phases": [phase.to_dict() for phase in self.phases],
            "train": self.total("train"),
            "eval": self.total("eval") if self.phases_of("eval") else None,
            "reading": self.reading,
            "series": self.series,
        }


def check_runnable(cfg: Config) -> list[str]:
    """Return what of a configuration's workflow :func:`run` leaves out, a sentence each.

    Raises
    ------
    ConfigError
        It cannot be run at all.
    """
    workflow, reader, dataset = cfg.workflow, cfg.reader, cfg.dataset
    if workflow.train and cfg.framework not in FRAMEWORKS:
        raise ConfigError(
            f"{cfg.source}: framework {cfg.framework!r} is not supported by this version; "
            f"{' and '.join(FRAMEWORKS)} are (++workload.framework=pytorch reads the same data)"
        )
    if not (workflow.train or workflow.generate_data):
        what = "checkpoint workloads are not part of this version, and " if workflow.checkpoint else ""
        raise ConfigError(
            f"{cfg.source}: nothing to run: {what}workflow.train and workflow.generate_data are off"
        )
    if workflow.train and cfg.train.total_training_steps == 0:
        raise ConfigError(f"{cfg.source}: train.total_training_steps is 0: no step is left to train")
    if (
        workflow.train
        and workflow.evaluation
        and cfg.is_set("dataset.num_files_eval")
        and not dataset.num_files_eval
    ):
        raise ConfigError(
            f"{cfg.source}: workflow.evaluation is on, but dataset.num_files_eval is 0: nothing to evaluate"
        )
    unused = ", ".join(f"reader.{key}" for key in _UNUSED if cfg.is_set(f"reader.{key}"))
    resized = dataset.record_length_bytes_resize or reader.transformed_record_dims
    left_out = {
        "checkpoint workloads are not part of this version; skipped": workflow.checkpoint,
        "profiling is not part of this version; skipped": workflow.profiling,
        "reader.preprocess_time is not emulated by this version": not reader.preprocess_time.is_zero,
        "samples are delivered as they were read, not resized or transformed": bool(resized),
        "pytorch_config.num_workers: the loader reads ahead on threads of its own, without workers": bool(
            cfg.framework == "pytorch" and cfg.framework_options("pytorch").get("num_workers")
        ),
        "reader.odirect: objects of a store have no page cache to go past": bool(
            reader.odirect and is_remote(cfg.data_address)
        ),
        "reader.read_type memory: every epoch reads from storage again": reader.read_type == "memory",
        f"reader.data_loader {reader.data_loader}: the loader of framework {cfg.framework} is used instead":
            reader.data_loader not in ("pytorch", "tensorflow", "jax", "none"),
        "reader_classname and data_loader_classname are not used": bool(
            reader.reader_classname or reader.data_loader_classname
        ),
        "dataset.keep_files false: the files are kept all the same": not dataset.keep_files,
        "output.folder: this version writes no result files; --json prints the results":
            cfg.output.folder is not None,
        "train.epochs is 0: nothing is trained": workflow.train and not cfg.train.epochs,
        f"{unused}: not used; --threads and --prefetch-bytes say how to read ahead": bool(unused),
    }  # fmt: skip
    return [text for text, applies in left_out.items() if applies]


def run(
    cfg: Config,
    *,
    max_epochs: int | None = None,
    max_steps: int | None = None,
    threads: int | None = None,
    prefetch_bytes: int | None = None,
    verify: bool | None = None,
    drop: bool = False,
    progress: bool | None = None,
    on_done: Callable[[GenerateResult | Phase], None] = lambda part: None,
) -> RunResult:
    """Run a configuration's workflow in this process.

    Generation keeps files that are complete already. Training and evaluation read with the framework's
    loader; a step's computation is a sleep, drawn from ``train.computation_time`` or
    ``evaluation.eval_time``. Evaluation follows the epochs that the ``evaluation`` section says.

    Parameters
    ----------
    cfg : Config
        Framework pytorch or none.
    max_epochs : int, optional
        Not more epochs than this.
    max_steps : int, optional
        Not more steps than this in each epoch, and in each evaluation; ``train.total_training_steps`` is
        such a limit too, as in DLIO.
    threads, prefetch_bytes, verify
        Of the loader, see :class:`dlio_fast.Loader`.
    drop : bool
        Drop the page cache before every epoch and every evaluation.
    progress : bool, optional
        Show progress bars on stderr; default: if that is a terminal.
    on_done : callable
        Told of each part as it is finished.

    Raises
    ------
    ConfigError
        The configuration cannot be run, before anything is read or written; or there are too few samples
        for a batch, before anything is trained.
    DlioFastError
        Reading or writing failed.
    """
    notes = check_runnable(cfg)
    if is_remote(cfg.data_address):
        from ..storage.remote import remote_store  # with fsspec and all

        remote_store(cfg.data_address, None, cfg.storage).check()
    sources: dict[str, Source] = {}
    options = {"threads": threads, "prefetch_bytes": prefetch_bytes, "verify": verify}
    result = RunResult({"au_threshold": cfg.metric.au}, notes)
    if cfg.workflow.train:
        kinds = ("train", "eval") if cfg.workflow.evaluation else ("train",)
        sources = {kind: open_source(cfg, kind, **options) for kind in kinds}
    if cfg.workflow.generate_data:
        result.generated = generate(cfg, skip_existing=True, progress=progress)
        on_done(result.generated)
    if not sources:
        return result
    trainer = _Trainer(cfg, sources, drop, progress)
    try:
        trainer.check()
        result.settings |= trainer.settings()
        for phase in trainer.phases(max_epochs, max_steps):
            result.phases.append(phase)
            on_done(phase)
        result.reading = trainer.reading()
        result.series = trainer.progress_points.series()
    finally:
        for source in sources.values():
            source.close()
    return result


class _Trainer:
    """Goes through the epochs; its clock stands still between the phases."""

    def __init__(self, cfg: Config, sources: dict[str, Source], drop: bool, progress: bool | None):
        self.cfg = cfg
        self.sources = sources
        self.drop = drop
        self.progress_points = Progress()
        self._progress = progress
        self._clock = 0.0
        self._samples = self._bytes = 0

    def check(self) -> None:
        """Raise where there is nothing to train or to evaluate on."""
        address = self.cfg.data_address
        there = is_remote(address) or os.path.isdir(local_path(address)[0])
        for kind, source in self.sources.items():
            what = "training" if kind == "train" else "evaluation"
            if not there or not len(source.dataset.files):
                raise DlioFastFileNotFoundError(
                    2, f"no {what} files; `dlio-fast generate` makes them", address
                )
            if not len(source):
                raise ConfigError(
                    f"{self.cfg.source}: {what}: {len(source.dataset)} samples do not fill a batch of "
                    f"{source.batch_size} (reader.drop_last leaves out a short one)"
                )

    def settings(self) -> dict[str, Any]:
        """Return what the run does with which settings."""
        cfg, source = self.cfg, self.sources["train"]
        stats, store = source.stats(), source.dataset.files.store
        return {
            "config": cfg.source,
            "framework": cfg.framework,
            "data_folder": cfg.data_address,
            "store": store.address.prefix if store else None,
            "road": store.road if store else None,
            "in_memory": None if store else memory_filesystem(source.dataset.files),
            "drop_caches": self.drop,
            "format": source.dataset.format.name,
            "files": len(source.dataset.files),
            **{name: stats[name] for name in _SETTINGS},
        }

    def reading(self) -> dict[str, Any]:
        """Return the core's counters so far, of training and evaluation together."""
        all_stats = [source.stats() for source in self.sources.values()]
        histograms = [stats["latency_histogram"] for stats in all_stats]
        reasons = [stats["fallback_reason"] for stats in all_stats if stats["fallback_reason"]]
        return {
            **{name: sum(stats[name] for stats in all_stats) for name in _COUNTERS},
            "fallback_reason": reasons[0] if reasons else None,
            "peak_bytes_in_flight": max(stats["peak_bytes_in_flight"] for stats in all_stats),
            "read_latency": asdict(
                Quantiles.of_latencies([sum(bucket) for bucket in zip(*histograms, strict=True)])
            ),
        }

    def phases(self, max_epochs: int | None, max_steps: int | None) -> Iterator[Phase]:
        """Run the epochs, and yield each phase when it is over."""
        cfg, evaluation = self.cfg, self.cfg.evaluation
        limits = [n for n in (cfg.train.total_training_steps, max_steps) if n is not None and n >= 0]
        epochs = cfg.train.epochs if max_epochs is None else min(cfg.train.epochs, max_epochs)
        next_evaluation = evaluation.eval_after_epoch
        for epoch in range(1, epochs + 1):
            yield self._phase("train", epoch, cfg.train.computation_time, min(limits, default=None))
            if "eval" in self.sources and epoch >= next_evaluation:
                next_evaluation += evaluation.epochs_between_evals
                yield self._phase("eval", epoch, evaluation.eval_time, max_steps)

    def _phase(self, kind: str, epoch: int, duration: TimeSpec, limit: int | None) -> Phase:
        source, metric = self.sources[kind], self.cfg.output.metric
        files = source.dataset.files
        how = drop_caches(files) if self.drop and not files.store else None
        resident = None if files.store else resident_fraction(files)
        before = source.stats()["bytes_read"]
        steps, seconds = self._steps(source, kind, epoch, duration, limit)
        nbytes = source.stats()["bytes_read"] - before
        self._clock += seconds
        self._samples += sum(step.samples for step in steps)
        self._bytes += nbytes
        self.progress_points.note(self._clock, self._samples, self._bytes)
        training = kind == "train"  # DLIO leaves no step of an evaluation out
        metrics = PhaseMetrics.of(
            steps,
            seconds,
            nbytes,
            batch_size=source.batch_size,
            exclude_start=metric.exclude_start_steps if training else 0,
            exclude_end=metric.exclude_end_steps if training else 0,
        )
        return Phase(epoch, kind, metrics, resident, how)

    def _steps(
        self, source: Source, kind: str, epoch: int, duration: TimeSpec, limit: int | None
    ) -> tuple[list[Step], float]:
        """The loop itself: returns its steps and its wall time."""
        clock, train = time.perf_counter, self.cfg.train
        rng = default_rng([train.seed, epoch if train.seed_change_epoch else 0, kind == "train"])
        known = len(source) if limit is None else min(limit, len(source))
        steps: list[Step] = []
        samples, before = self._samples, source.stats()["bytes_read"]
        self.progress_points.note(self._clock, samples, self._bytes)
        with Bar(show=self._progress, total=known, desc=f"{kind} epoch {epoch}", unit="step") as bar:
            started = note_at = asked = clock()
            batches = source.epoch(epoch - 1)
            while limit is None or len(steps) < limit:
                batch = next(batches, None)
                arrived = clock()
                if batch is None:
                    break
                if seconds := duration.draw(rng):
                    time.sleep(seconds)
                count = source.samples_in(batch)
                del batch  # its memory may be used again
                done = clock()
                steps.append(Step(arrived - asked, done - arrived, count))
                samples += count
                bar.update()
                if done >= note_at:
                    nbytes = self._bytes + source.stats()["bytes_read"] - before
                    self.progress_points.note(self._clock + done - started, samples, nbytes)
                    note_at = done + max(_NOTE_SECONDS, 100 * (clock() - done))  # 1 % of the time
                asked = clock()
            seconds = clock() - started
        del batches  # what was read ahead is dropped
        return steps, seconds
