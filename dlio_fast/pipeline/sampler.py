"""The order of samples: a pure function of (n, seed, epoch, rank, world_size, position)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import _core
from .._typing import Int64Array

SHUFFLES = ("off", "global", "files", "window")
"""No shuffle; all samples with one another; the files, and samples within a window; only within a window."""

SHARD_STRATEGIES = ("interleaved", "contiguous", "hash")


@dataclass(frozen=True)
class Sampler:
    """Which samples a rank gets in an epoch, and in which order.

    Holds no table and no state: the shuffle is a bijection of [0, n) computed sample by sample (see
    ``csrc/dlf_order.h``), so any position of an epoch over any number of samples is reached at once.
    Without `pad` and `drop_last` every sample comes exactly once over all ranks.

    Parameters
    ----------
    n : int
        Samples in all.
    shuffle : bool or str
        "off" (False), "global" (True), "files" or "window": see :class:`dlio_fast.Loader`.
    seed : int
        Same on every rank.
    reshuffle : bool
        Give each epoch an order of its own.
    rank, world_size : int
    strategy : str
        "interleaved": rank r takes positions r, r + world_size, ... of the global order.
        "contiguous": an equal run of the global order each, the first ranks one sample more.
        "hash": each file belongs to one rank, the same in every epoch; ranks differ by one file at most.
    samples_per_file : int
    window_files : int
        Files whose samples "files" and "window" shuffle with one another; 0: samples of a file stay in
        order.
    batch_size : int
    drop_last : bool
        Only full batches, and equally many on every rank: leaves out what is over.
    pad : bool
        Equally many samples on every rank: those that have too few repeat samples of the epoch's beginning.
    start : int
        Where the epoch is entered: under "interleaved" a position of the global order, else of the rank's.
    """

    n: int
    shuffle: bool | str = False
    seed: int = 0
    reshuffle: bool = True
    rank: int = 0
    world_size: int = 1
    strategy: str = "interleaved"
    samples_per_file: int = 1
    window_files: int = 0
    batch_size: int = 1
    drop_last: bool = False
    pad: bool = False
    start: int = 0

    def __post_init__(self) -> None:
        if self.n < 0 or self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise ValueError(
                "need n >= 0 and 0 <= rank < world_size, "
                f"not n {self.n}, rank {self.rank} of {self.world_size}"
            )
        if self.strategy not in SHARD_STRATEGIES:
            raise ValueError(f"shard strategy {self.strategy!r} is not one of {', '.join(SHARD_STRATEGIES)}")
        if self.order not in SHUFFLES:
            raise ValueError(f"shuffle {self.shuffle!r} is none of True, False, {', '.join(SHUFFLES)}")

    @property
    def order(self) -> str:
        """The name of the shuffle."""
        if isinstance(self.shuffle, str):
            return self.shuffle
        return "global" if self.shuffle else "off"

    @property
    def elastic(self) -> bool:
        """Whether an epoch can be entered in its middle with another world_size or batch_size."""
        return self.strategy == "interleaved"

    def __len__(self) -> int:
        """Samples of this rank, from `start` on."""
        share = self._share()
        return share - share % self.batch_size if self.drop_last else share

    def _share(self) -> int:
        """Samples of this rank from `start` on, before a short batch is dropped."""
        elastic = self.elastic
        n, each = (self.n - self.start, 1) if elastic else (self.n, self._unit)
        n //= each
        if self.pad:
            share = -(-n // self.world_size) * each
        elif self.drop_last:
            # whole rounds of a batch a rank; of files, so many as every rank has
            whole = self.batch_size if each == 1 else 1
            share = n // (self.world_size * whole) * whole * each
        else:
            share = -(-(n - self.rank) // self.world_size) * each
        return max(0, share if elastic else share - self.start)

    @property
    def _unit(self) -> int:
        """What is dealt out to the ranks: samples, or the samples of a file."""
        return self.samples_per_file if self.strategy == "hash" else 1

    def _first(self) -> int:
        """Where a rank's run of the global order begins under "contiguous"."""
        if self.pad:
            return self.rank * -(-self.n // self.world_size)
        if self.drop_last:
            return self.rank * (self.n // (self.world_size * self.batch_size) * self.batch_size)
        return self.rank * (self.n // self.world_size) + min(self.rank, self.n % self.world_size)

    def ids(self, epoch: int, start: int, count: int) -> Int64Array:
        """Sample ids at this rank's positions start, start + 1, ... start + count - 1.

        Positions count from where the epoch is entered.

        Returns
        -------
        numpy.ndarray
            int64, shape (count,).
        """
        ids = np.arange(start, start + count, dtype=np.int64)
        if self.strategy == "hash":
            return self._own(epoch, ids)
        if self.strategy == "interleaved":
            ids *= self.world_size
            ids += self.start + self.rank
        else:
            ids += self._first() + self.start
        if self.pad:
            ids %= self.n
        self._shuffle(ids, epoch, self.n)
        return ids

    def _own(self, epoch: int, ids: Int64Array) -> Int64Array:
        """The ids at those positions of the rank's own files."""
        files = self.n // self.samples_per_file
        own = max(1, -(-(files - self.rank) // self.world_size)) * self.samples_per_file
        ids += self.start
        if self.pad:
            ids %= own
        self._shuffle(ids, epoch, own)
        _core.own_files_at(
            ids,
            n_files=files,
            samples_per_file=self.samples_per_file,
            rank=self.rank,
            world_size=self.world_size,
        )
        return ids

    def _shuffle(self, ids: Int64Array, epoch: int, n: int) -> None:
        """Make sample numbers of positions, in place."""
        per_file = 1 if self.order == "global" or n % self.samples_per_file else self.samples_per_file
        _core.order_at(
            ids,
            self.order,
            n_files=n // per_file,
            samples_per_file=per_file,
            window_files=self.window_files,
            seed=self.seed & 0xFFFF_FFFF_FFFF_FFFF,
            epoch=epoch if self.reshuffle else 0,
        )
