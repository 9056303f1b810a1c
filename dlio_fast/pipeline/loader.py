"""The loader: batches of a data set, in the sampler's order, read ahead by the ring."""

from __future__ import annotations

import logging
import operator
import os
import threading
import weakref
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from .. import _core
from .._limits import cpu_count, memory_limit
from .._pinning import Pinning, not_pinned
from .._ranks import find_ranks
from ..errors import ClosedError
from ..formats import DecodedFormat
from .dataset import Dataset
from .defaults import SHUFFLE_WINDOW, config_defaults
from .lazy import lazy
from .passes import COUNTERS, BatchIterator
from .running import Passes
from .sampler import Sampler
from .state import Progress, State, make_state, read_state
from .transform import Transform, TransformSettings

logger = logging.getLogger("dlio_fast")
PREFETCH_BYTES = 256 << 20


class Loader:
    """Iterates over batches of a data set, reading ahead on threads of its own.

    One pass over the loader is an epoch. Each pass advances the epoch by one unless
    :meth:`set_epoch` says otherwise; the first is epoch 0.

    Parameters
    ----------
    dataset : Dataset
    batch_size : int, optional
        Samples a batch; default ``reader.batch_size`` of the data set's config, or ``batch_size_eval``
        for its split "valid", else 1.
    shuffle : bool or str, optional
        "global" (True): every order of all samples is equally likely. "files": files come in a shuffled
        order, and samples are shuffled with those of their neighbours, `shuffle_window` bytes at a time:
        a file of many samples is read once an epoch, from its beginning to its end. "window": the same,
        but the files come in their own order. "off" (False): as the files hold them. Default: as the
        config's ``reader.shuffle``, or ``sample_shuffle`` ("global") and ``file_shuffle`` ("files", with
        the samples of a file in their order), else "off".
    shuffle_window : int, optional
        Bytes of the files whose samples "files" and "window" shuffle with one another, at least one file;
        0 keeps the samples of a file in order. Part of the order: default 64 MiB whatever the memory.
    seed : int, optional
        Default ``reader.seed``, then ``train.seed`` of the config, else 0.
    drop_last : bool, optional
        Deliver full batches only, and as many on every rank; what is over is left out. Default
        ``reader.drop_last``, else False: every sample comes exactly once over all ranks, which may differ.
    pad : bool
        Every rank gets as many samples as the one that has most: those that lack one repeat samples from
        the beginning of the epoch.
    shard_strategy : str
        How ranks share the samples out. "interleaved": they take turns, sample by sample, in one global
        order. "contiguous": each takes one run of that order. "hash": each has files of its own, the same
        in every epoch (good for caches on the node); ranks differ by a file at most.
    rank, world_size : int, optional
        This process's share. Default: as torch.distributed or jax.distributed say, else the launcher's
        environment (torchrun, Open MPI, MPICH, a Slurm step), else 0 of 1.
    shard : bool
        False: read everything in this process whatever was launched, for those who share out themselves.
    threads : int, optional
        Default: from the cores that this process may use, and more for ``direct://``.
    prefetch_bytes : int, optional
        The most bytes in flight; default 256 MiB (less where this process may use less than 2 GiB) or
        two batches, whichever is larger. A larger batch goes through alone.
    verify : bool
        Check stored checksums.
    on_error : str
        "raise": a file that cannot be read raises its exception; going on then delivers the rest of its
        batch. "skip": its samples are left out, counted in :meth:`stats` and logged; but what is neither a
        DataError nor an OSError is no fault of the file's, and raised all the same.
    transform : callable, optional
        Called on a dict of arrays, returns one: on threads, ahead of the consumer, and what it returns is
        delivered in order. An exception of its own is raised at the batch it belongs to.
    transform_per : str
        "batch" or "sample": what `transform` is called on. Transformed samples are put together again.
    transform_threads : int, optional
        Default: as many as there are cores. As many batches and one are held beyond `prefetch_bytes`.

    Yields
    ------
    dict
        Field -> array of shape (B, *sample shape), or a list of B arrays where samples differ in shape.
        Arrays are writable, aligned to 64 bytes and the caller's to keep: memory is used again only when
        the last array over it is gone.

    Notes
    -----
    The order of the samples depends on `seed` and epoch alone, and on `shuffle_window` where there is one.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int | None = None,
        shuffle: bool | str | None = None,
        shuffle_window: int | None = None,
        seed: int | None = None,
        drop_last: bool | None = None,
        pad: bool = False,
        shard_strategy: str = "interleaved",
        rank: int | None = None,
        world_size: int | None = None,
        shard: bool = True,
        threads: int | None = None,
        prefetch_bytes: int | None = None,
        verify: bool = True,
        on_error: str = "raise",
        transform: Transform | None = None,
        transform_per: str = "batch",
        transform_threads: int | None = None,
    ):
        defaults = config_defaults(dataset)
        self.dataset = dataset
        self.batch_size = batch_size if batch_size is not None else defaults["batch_size"]
        self.shuffle = shuffle if shuffle is not None else defaults["shuffle"]
        window = defaults["shuffle_window"] if shuffle is None else SHUFFLE_WINDOW
        self.shuffle_window = shuffle_window if shuffle_window is not None else window
        self.seed = seed if seed is not None else defaults["seed"]
        self.drop_last = drop_last if drop_last is not None else defaults["drop_last"]
        self.pad, self.shard_strategy = pad, shard_strategy
        self.rank, self.world_size, self.ranks_from = find_ranks(rank, world_size, shard=shard)
        self.verify, self.on_error = verify, on_error
        self.reshuffle = defaults["reshuffle"]
        self._threads, self._prefetch_bytes = threads, prefetch_bytes
        at_least_1 = {"threads": threads, "transform_threads": transform_threads}
        for name, value in {"batch_size": self.batch_size, **at_least_1}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} must be at least 1")
        for name, value in {"prefetch_bytes": prefetch_bytes, "shuffle_window": shuffle_window}.items():
            if value is not None and value < 0:
                raise ValueError(f"{name} {value} must not be negative")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
        if transform_per not in ("batch", "sample"):
            raise ValueError(f"transform_per must be 'batch' or 'sample', not {transform_per!r}")
        if transform is not None and not callable(transform):
            raise TypeError(f"transform must be callable, not {type(transform).__name__}")
        self.transform = transform and TransformSettings(
            transform, transform_per == "sample", transform_threads or cpu_count()
        )
        # Before anything is listed, what is impossible for any number of samples.
        Sampler(0, shuffle=self.shuffle, strategy=shard_strategy)
        self._epoch, self._next_epoch, self._next_start = -1, 0, 0
        self._closed = False
        self.pinning: Pinning = not_pinned
        self._pool: _core.Pool | None = None
        self._plan: _core.Plan | None = None
        self._progress: Progress | None = (
            None  # of the latest pass, until the next one is told where to begin
        )
        self.passes = Passes()
        self._begin_anew()

    def _begin_anew(self) -> None:  # in this process
        self._beginning = threading.RLock()
        self.passes.forget()
        _loaders.add(self)

    # -- settings that need the files --

    @lazy
    def threads(self) -> int:
        """Worker threads at most."""
        return self._threads or self.dataset.files.threads

    @property
    def batch_bytes(self) -> int:
        """Bytes of a full batch; an estimate from the first file where sizes differ."""
        return self.batch_size * sum(field.nbytes for field in self.dataset.spec.fields)

    @lazy
    def prefetch_bytes(self) -> int:
        """The byte budget of what is in flight."""
        if self._prefetch_bytes is not None:
            return self._prefetch_bytes
        return max(min(PREFETCH_BYTES, memory_limit() // 8), 2 * (self.batch_bytes + self.scratch_bytes))

    @property
    def scratch_bytes(self) -> int:
        """What the threads that work on one batch take of the budget beside the batch itself."""
        return min(self.batch_size, self.threads) * self.dataset.spec.scratch_bytes

    @property
    def cache_bytes(self) -> int:
        """What of the budget keeps files whose samples are copied out of them, for the batches to come."""
        spec = self.dataset.spec
        copied_out = spec.scratch_bytes or isinstance(self.dataset.format, DecodedFormat)
        return self.prefetch_bytes // 2 if spec.samples > 1 and copied_out and not spec.apart else 0

    def sampler_from(self, start: int) -> Sampler:
        """The order of samples of an epoch that is entered at that position, see :class:`Sampler`."""
        per_file = self.dataset.spec.samples if len(self.dataset.files) else 1
        file_bytes = self.batch_bytes // self.batch_size * per_file if len(self.dataset.files) else 0
        window = max(1, self.shuffle_window // max(1, file_bytes)) if self.shuffle_window else 0
        return Sampler(
            len(self.dataset),
            shuffle=self.shuffle,
            seed=self.seed,
            reshuffle=self.reshuffle,
            rank=self.rank,
            world_size=self.world_size,
            strategy=self.shard_strategy,
            samples_per_file=per_file,
            window_files=window,
            batch_size=self.batch_size,
            drop_last=self.drop_last,
            pad=self.pad,
            start=start,
        )

    @property
    def sampler(self) -> Sampler:
        """The order of samples of a whole epoch."""
        return self.sampler_from(0)

    def __len__(self) -> int:
        """Batches of a whole epoch on this rank."""
        return -(-len(self.sampler) // self.batch_size)

    # -- epochs and state --

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch, from its beginning; ValueError outside 0 ... 2**64 - 1.

        Where a state of that very epoch was loaded, its position is kept.
        """
        epoch = operator.index(epoch)
        if not 0 <= epoch < 2**64:
            raise ValueError(f"epoch {epoch} is not within 0 ... 2**64 - 1")
        restored = self._progress is None and epoch == self._next_epoch
        self.begin_at(epoch, self._next_start if restored else 0)

    def begin_at(self, epoch: int, start: int) -> None:
        """Make the next pass begin there, see :class:`Sampler`."""
        self._next_epoch, self._next_start, self._progress = epoch, start, None

    def state_dict(self, batches: int | None = None, *, samples: int | None = None) -> State:
        """Return from where a later process is to go on, as plain values.

        It is the end of what has been delivered of the latest pass, whatever has been read ahead; once the
        pass has ended (the consumer was told so), the beginning of the next epoch.

        Parameters
        ----------
        batches, samples : int, optional
            As if only so many batches (or samples) of the latest pass had been delivered: for consumers
            that read ahead themselves.

        Notes
        -----
        Under "interleaved" the position is one of the global order: all ranks are taken to have got as much
        as this one, so that the state of any of them serves all, and another world_size, batch_size and
        number of workers or threads may go on from it.
        """
        progress = self._progress
        if progress is None and (batches or samples):
            raise ValueError("no pass has begun: nothing of it was delivered")
        if progress is None or (progress.finished and batches is None and progress.covers(samples)):
            return make_state(self.sampler, self._next_epoch, self._next_start, self.batch_size)
        if min(batches or 0, samples or 0) < 0:
            raise ValueError(f"batches {batches} and samples {samples} must not be negative")
        position = progress.position(batches, samples)
        return make_state(progress.sampler, progress.epoch, position, self.batch_size)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next pass go on from a state; its first batch is the exact next one.

        Raises
        ------
        StateError
            The state is of other data, or of another order (seed, shuffle, window), so that its position
            means nothing here; or, unless the strategy is "interleaved", of another rank, world_size or
            batch_size.
        """
        self.begin_at(*read_state(state, self.sampler, self.batch_size))

    get_state = state_dict
    set_state = load_state_dict

    def __iter__(self) -> BatchIterator:
        return self.batches_from(0, 1)

    def batches_from(self, first: int, step: int, at: tuple[int, int] | None = None) -> BatchIterator:
        """Iterate over every step-th batch of the pass, from the first-th on: a worker's share.

        `at` is where the pass begins, as :meth:`begin_at` has it.
        """
        if self._closed:
            raise ClosedError("the loader is closed")
        self.passes.await_ending()
        with self._beginning:  # each pass has an epoch of its own
            if at is not None:
                self.begin_at(*at)
            iterator = BatchIterator(self, self._next_epoch, self._next_start, first, step)
            self.passes.add(iterator)
            self._progress = iterator.progress
            self._epoch, self._next_epoch, self._next_start = self._next_epoch, self._next_epoch + 1, 0
        if self._closed:  # by another thread, which may have missed this one
            iterator.close()
            raise ClosedError("the loader is closed")
        return iterator

    def stats(self) -> dict[str, Any]:
        """Settings in force, and counters summed over all passes.

        ``bytes_read`` (from storage, headers included), ``direct_bytes``, ``reads`` (system calls), ``files``
        opened, ``retries`` of requests, ``batches``, ``samples`` and ``skipped_samples`` delivered or left
        out, ``core_samples`` and ``library_samples`` read by the core or in Python, ``cache_hits`` and
        ``cache_misses`` (files of many samples, at hand or not), ``disk_cache_hits``, ``_misses`` (objects in
        `cache_dir`, or not), ``_bytes`` and ``_written``, ``stall_seconds`` that the consumer waited,
        ``transform_seconds``, ``peak_bytes_in_flight``, ``fallbacks`` from O_DIRECT and ``fallback_reason``,
        ``latency_histogram`` of the reads (quarter octaves of microseconds), ``pool``: its own.
        """
        counts, last = self.passes.counts()
        histogram = [counts.pop(("latency", i), 0) for i in range(_core.LATENCY_BUCKETS)]
        return {
            "epoch": self._epoch,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "shuffle_window": self.shuffle_window,
            "seed": self.seed,
            "drop_last": self.drop_last,
            "pad": self.pad,
            "shard_strategy": self.shard_strategy,
            "rank": self.rank,
            "world_size": self.world_size,
            "ranks_from": self.ranks_from,
            "verify": self.verify,
            "direct": self.dataset.files.direct,
            "threads": self.threads,
            "prefetch_bytes": self.prefetch_bytes,
            "transform_threads": self.transform.threads if self.transform else 0,
            **{name: counts.get(name, 0) for name in COUNTERS},
            "peak_bytes_in_flight": last.get("peak_bytes_in_flight", 0),
            "fallback_reason": last.get("fallback_reason"),
            "latency_histogram": histogram,
            "pool": self._pool.stats() if self._pool else {},
        }

    def close(self) -> None:
        """Stop all threads and end running passes. Batches already delivered stay valid.

        A `transform` that is running is waited for.
        """
        self._closed = True
        self.passes.close()
        self._pool = self._plan = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        gone = ("_pool", "_plan", "_beginning")
        return {k: v for k, v in self.__dict__.items() if k not in gone}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _pool=None, _plan=None)
        self._begin_anew()

    def resources(self) -> tuple[_core.Plan, _core.Pool]:
        """The plan and the pool, made when first needed, and anew after a fork."""
        plan, pool = self._plan, self._pool  # another thread may close the loader meanwhile
        if plan is None or pool is None or not pool.usable():
            plan = self.dataset.plan(verify=self.verify, cache_bytes=self.cache_bytes)
            held = 2 * (plan.batch_bytes(self.batch_size) or self.batch_bytes)  # by the consumer
            pool = _core.Pool(self.prefetch_bytes + held, self.pinning())
            self._plan, self._pool = plan, pool
            files = self.dataset.files
            logger.debug(
                f"loader: {len(files)} files, {len(self.dataset)} samples, threads {self.threads}, "
                f"prefetch_bytes {self.prefetch_bytes}, direct {files.direct}, verify {self.verify}"
            )
        return plan, pool


def _begin_anew() -> None:
    for loader in list(_loaders):
        loader._begin_anew()


_loaders: weakref.WeakSet[Loader] = weakref.WeakSet()
os.register_at_fork(after_in_child=_begin_anew)  # another thread of the parent's may hold the lock for ever
