"""The loader: batches of a data set, in the sampler's order, read ahead by the ring."""

from __future__ import annotations

import functools
import logging
import operator
import threading
import weakref
from collections import Counter, deque
from collections.abc import Iterator

import numpy as np

from .. import _core
from .._limits import default_threads, memory_limit
from .._log import log_fallbacks
from ..errors import ClosedError
from .batch import batch_arrays
from .dataset import Dataset
from .sampler import Sampler

logger = logging.getLogger("dlio_fast")

PREFETCH_BYTES = 256 << 20
MAX_PENDING = 64
"""Batches in flight: more would not keep the threads any busier, and delay the first one."""


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
    shuffle : bool, optional
        Default: whether the config shuffles, else False.
    seed : int, optional
        Default ``reader.seed``, then ``train.seed`` of the config, else 0.
    drop_last : bool, optional
        Leave out the last batch where it is short; default ``reader.drop_last``, else False.
    rank, world_size : int
        This process's share: every ``world_size``-th sample of the global order, from ``rank`` on. Over
        all ranks every sample comes exactly once an epoch; ranks may differ by one sample.
    threads : int, optional
        Default: from the cores that this process may use, and more for ``direct://``.
    prefetch_bytes : int, optional
        The most bytes in flight; default 256 MiB (less where this process may use less than 2 GiB) or
        two batches, whichever is larger. A larger batch goes through alone.
    verify : bool
        Check stored checksums.
    on_error : str
        "raise": a file that cannot be read raises its exception; going on then delivers the rest of its
        batch. "skip": its samples are left out, counted in :meth:`stats` and logged.

    Yields
    ------
    dict
        Field -> array of shape (B, *sample shape), or a list of B arrays where samples differ in shape.
        Arrays are writable, aligned to 64 bytes and the caller's to keep: memory is used again only when
        the last array over it is gone.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int | None = None,
        shuffle: bool | None = None,
        seed: int | None = None,
        drop_last: bool | None = None,
        rank: int = 0,
        world_size: int = 1,
        threads: int | None = None,
        prefetch_bytes: int | None = None,
        verify: bool = True,
        on_error: str = "raise",
    ):
        defaults = _config_defaults(dataset)
        self.dataset = dataset
        self.batch_size = batch_size if batch_size is not None else defaults["batch_size"]
        self.shuffle = shuffle if shuffle is not None else defaults["shuffle"]
        self.seed = seed if seed is not None else defaults["seed"]
        self.drop_last = drop_last if drop_last is not None else defaults["drop_last"]
        self.rank, self.world_size = rank, world_size
        self.verify, self.on_error = verify, on_error
        self._reshuffle = defaults["reshuffle"]
        self._threads, self._prefetch_bytes = threads, prefetch_bytes
        if self.batch_size < 1 or (threads is not None and threads < 1):
            raise ValueError(f"batch_size {self.batch_size} and threads {threads} must be at least 1")
        if prefetch_bytes is not None and prefetch_bytes < 0:
            raise ValueError(f"prefetch_bytes {prefetch_bytes} must not be negative")
        if on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', not {on_error!r}")
        Sampler(0, rank=rank, world_size=world_size)  # checks them before anything is listed
        self._epoch = -1
        self._next_epoch = 0
        self._closed = False
        self._pool: _core.Pool | None = None
        self._plan: _core.Plan | None = None
        self._running: weakref.WeakSet[BatchIterator] = weakref.WeakSet()
        self._past: Counter = Counter()
        self._last_ring: dict = {}

    # -- settings that need the files --

    @functools.cached_property
    def threads(self) -> int:
        """Worker threads at most."""
        return self._threads or default_threads(self.dataset.files.direct)

    @property
    def batch_bytes(self) -> int:
        """Bytes of a full batch; an estimate from the first file where sizes differ."""
        return self.batch_size * sum(field.nbytes for field in self.dataset.spec.fields)

    @functools.cached_property
    def prefetch_bytes(self) -> int:
        """The byte budget of what is in flight."""
        if self._prefetch_bytes is not None:
            return self._prefetch_bytes
        return max(min(PREFETCH_BYTES, memory_limit() // 8), 2 * (self.batch_bytes + self._scratch_bytes))

    @property
    def _scratch_bytes(self) -> int:
        """What the threads that work on one batch take of the budget beside the batch itself."""
        return min(self.batch_size, self.threads) * self.dataset.spec.scratch_bytes

    @property
    def sampler(self) -> Sampler:
        """The order of samples."""
        return Sampler(
            len(self.dataset), self.shuffle, self.seed, self._reshuffle, self.rank, self.world_size
        )

    def __len__(self) -> int:
        """Batches an epoch on this rank."""
        samples = len(self.sampler)
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    # -- epochs and state --

    def set_epoch(self, epoch: int) -> None:
        """Make the next pass the given epoch, from its beginning; ValueError outside 0 ... 2**64 - 1."""
        epoch = operator.index(epoch)
        if not 0 <= epoch < 2**64:
            raise ValueError(f"epoch {epoch} is not within 0 ... 2**64 - 1")
        self._next_epoch = epoch

    def __iter__(self) -> BatchIterator:
        return self.batches_from(0, 1)

    def batches_from(self, first: int, step: int) -> BatchIterator:
        """Iterate over every step-th batch of the epoch, beginning with the first-th: a worker's share."""
        if self._closed:
            raise ClosedError("the loader is closed")
        iterator = BatchIterator(self, self._next_epoch, first, step)
        self._epoch, self._next_epoch = self._next_epoch, self._next_epoch + 1
        self._running.add(iterator)
        return iterator

    def stats(self) -> dict:
        """Settings in force, and counters summed over all passes.

        ``bytes_read`` (from storage, headers included), ``direct_bytes``, ``reads`` (system calls),
        ``files`` opened, ``batches``, ``samples`` and ``skipped_samples`` delivered and left out,
        ``stall_seconds`` that the consumer waited, ``peak_bytes_in_flight``, ``fallbacks`` from O_DIRECT
        and the last ``fallback_reason``, ``latency_histogram`` of the reads (buckets of a quarter octave
        of microseconds), the pool's ``pool`` figures.
        """
        counts, last = Counter(self._past), dict(self._last_ring)
        for iterator in self._running:
            last = iterator.add_to(counts) or last
        histogram = [counts.pop(("latency", i), 0) for i in range(_core.LATENCY_BUCKETS)]
        return {
            "epoch": self._epoch,
            "batch_size": self.batch_size,
            "shuffle": self.shuffle,
            "seed": self.seed,
            "drop_last": self.drop_last,
            "rank": self.rank,
            "world_size": self.world_size,
            "verify": self.verify,
            "direct": self.dataset.files.direct,
            "threads": self.threads,
            "prefetch_bytes": self.prefetch_bytes,
            **{name: counts.get(name, 0) for name in COUNTERS},
            "peak_bytes_in_flight": last.get("peak_bytes_in_flight", 0),
            "fallback_reason": last.get("fallback_reason"),
            "latency_histogram": histogram,
            "pool": self._pool.stats() if self._pool else {},
        }

    def close(self) -> None:
        """Stop all threads and end running passes. Batches already delivered stay valid."""
        self._closed = True
        for iterator in list(self._running):
            iterator.close()
        self._pool = self._plan = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def __getstate__(self) -> dict:
        gone = ("_pool", "_plan", "_running")
        return {k: v for k, v in self.__dict__.items() if k not in gone}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _pool=None, _plan=None, _running=weakref.WeakSet())

    def _resources(self) -> tuple[_core.Plan, _core.Pool]:
        """The plan and the pool, made when first needed, and anew after a fork."""
        plan, pool = self._plan, self._pool  # another thread may close the loader meanwhile
        if plan is None or pool is None or not pool.usable():
            plan = self.dataset.plan(verify=self.verify)
            # Beyond what is in flight the consumer holds two batches: while it asks for one, it
            # still has the one before.
            held = 2 * (plan.batch_bytes(self.batch_size) or self.batch_bytes)
            pool = _core.Pool(self.prefetch_bytes + held)
            self._plan, self._pool = plan, pool
            logger.debug(
                "loader: %d files, %d samples, threads %d, prefetch_bytes %d, direct %s, verify %s",
                len(self.dataset.files), len(self.dataset), self.threads, self.prefetch_bytes,
                self.dataset.files.direct, self.verify,
            )  # fmt: skip
        return plan, pool

    def _retire(self, iterator: BatchIterator) -> None:
        ring = iterator.add_to(self._past)
        log_fallbacks(ring)
        self._last_ring = ring or self._last_ring
        self._running.discard(iterator)


COUNTERS = (
    "bytes_read", "direct_bytes", "staged_bytes", "reads", "files", "fallbacks", "stall_seconds",
    "batches", "samples", "skipped_samples",
)  # fmt: skip


class BatchIterator(Iterator[dict]):
    """One pass, or a worker's share of one; made by iterating over a :class:`Loader`.

    Threads may share it: each batch goes to one of them.
    """

    def __init__(self, loader: Loader, epoch: int, first: int, step: int):
        self._loader = loader
        self._taking = threading.Lock()  # never held by close(): it ends the wait of who holds it
        self._epoch = epoch
        self._sampler = loader.sampler
        self._position = first * loader.batch_size
        self._stride = step * loader.batch_size
        samples = len(self._sampler)
        self._end = samples - samples % loader.batch_size if loader.drop_last else samples
        self._pending: deque[int] = deque()
        self._failures: deque[Exception] = deque()
        self._rest: _core.Batch | None = None
        self._counts: Counter = Counter()
        self._ring: _core.Ring | None = None
        self._closed = self._cut_short = False
        if self._position < self._end:
            self._plan, pool = loader._resources()
            self._spec = loader.dataset.spec
            self._ring = _core.Ring(loader.threads, loader.prefetch_bytes, pool)
            batch_bytes = self._plan.batch_bytes(loader.batch_size) or loader.batch_bytes
            fitting = loader.prefetch_bytes // max(1, batch_bytes + loader._scratch_bytes)
            self._max_pending = min(max(1, fitting), MAX_PENDING)
            self._submit()

    def _submit(self) -> None:
        """Keep the ring full."""
        assert self._ring is not None
        while self._position < self._end and len(self._pending) < self._max_pending:
            count = min(self._loader.batch_size, self._end - self._position)
            ids = self._sampler.ids(self._epoch, self._position, count)
            if not self._ring.submit_batch(self._plan, ids):
                break
            self._pending.append(count)
            self._position += self._stride

    def __next__(self) -> dict[str, np.ndarray | list[np.ndarray]]:
        with self._taking:
            batch = self._next()
        return batch_arrays(batch, self._spec)

    def _next(self) -> _core.Batch:
        """The next batch that is not empty, or the next failure."""
        while True:
            batch = self._take() if self._rest is None else self._rest
            if self._failures:
                raise self._failures.popleft()
            self._rest = None
            if not len(batch):
                continue
            self._counts["batches"] += 1
            self._counts["samples"] += len(batch)
            return batch

    def _take(self) -> _core.Batch:
        """Wait for the next batch, set it and what failed in it aside, and fill the ring again."""
        if self._cut_short:
            raise ClosedError("the pass was closed before its end")
        if not self._pending:
            self.close()
            raise StopIteration
        assert self._ring is not None
        batch = self._ring.next_batch(self._plan)
        if self._pending:  # unless another thread has closed the pass just now
            self._pending.popleft()
        failures = batch.failures()
        if failures:
            batch.compact()
            if self._loader.on_error == "raise":
                self._failures.extend(error for error, _ in failures)
            for error, samples in failures:
                self._counts["skipped_samples"] += samples
                logger.warning("%d sample(s) skipped: %s", samples, error)
        self._rest = batch
        self._submit()
        return batch

    def add_to(self, counts: Counter) -> dict:
        """Add this pass's counters; returns the ring's own figures."""
        ring = self._ring.stats() if self._ring else {}
        counts.update(self._counts)
        counts.update({name: ring[name] for name in COUNTERS if name in ring})
        counts.update({("latency", i): n for i, n in enumerate(ring.get("latency_histogram", ()))})
        return ring

    def close(self) -> None:
        """End the pass: stop its threads and drop what is in flight."""
        if self._closed:
            return
        self._closed = True
        self._cut_short = bool(self._pending) or self._position < self._end
        self._pending.clear()
        if self._ring is not None:
            self._ring.close()
        self._loader._retire(self)

    def __del__(self):
        if getattr(self, "_closed", True) is False:
            self.close()


def _config_defaults(dataset: Dataset) -> dict:
    """What the data set's config says about loading."""
    if dataset.config is None:
        return {"batch_size": 1, "shuffle": False, "seed": 0, "drop_last": False, "reshuffle": True}
    reader, train = dataset.config.reader, dataset.config.train
    shuffles = reader.file_shuffle != "off" or reader.sample_shuffle != "off"
    return {
        "batch_size": reader.batch_size_eval if dataset.split == "valid" else reader.batch_size,
        "shuffle": shuffles if reader.shuffle is None else reader.shuffle,
        "seed": train.seed if reader.seed is None else reader.seed,
        "drop_last": bool(reader.drop_last),
        "reshuffle": train.seed_change_epoch,
    }
