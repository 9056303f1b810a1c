"""The order of samples: a pure function of (n, seed, epoch, rank, world_size, position)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import _core


@dataclass(frozen=True)
class Sampler:
    """Which samples a rank gets in an epoch, and in which order.

    Holds no table and no state: the shuffle is a bijection of [0, n) computed sample by sample (see
    ``csrc/dlf_permute.h``), so any position of an epoch over any number of samples is reached at once.
    Rank r takes positions r, r + world_size, r + 2 world_size, ... of the global order; over all ranks
    every sample comes exactly once. Ranks differ by at most one sample.

    Parameters
    ----------
    n : int
        Samples in all.
    shuffle : bool
    seed : int
        Same on every rank.
    reshuffle : bool
        Give each epoch an order of its own.
    rank, world_size : int
    """

    n: int
    shuffle: bool = False
    seed: int = 0
    reshuffle: bool = True
    rank: int = 0
    world_size: int = 1

    def __post_init__(self):
        if self.n < 0 or self.world_size < 1 or not 0 <= self.rank < self.world_size:
            raise ValueError(
                "need n >= 0 and 0 <= rank < world_size, "
                f"not n {self.n}, rank {self.rank} of {self.world_size}"
            )

    def __len__(self) -> int:
        """Samples of this rank."""
        return max(0, -(-(self.n - self.rank) // self.world_size))

    def ids(self, epoch: int, start: int, count: int) -> np.ndarray:
        """Sample ids at this rank's positions start, start + 1, ... start + count - 1.

        Returns
        -------
        numpy.ndarray
            int64, shape (count,).
        """
        first = self.rank + start * self.world_size
        if not self.shuffle:
            return np.arange(first, first + count * self.world_size, self.world_size, dtype=np.int64)
        ids = np.empty(count, np.int64)
        seed = self.seed & 0xFFFF_FFFF_FFFF_FFFF
        _core.permute_into(ids, self.n, seed, epoch if self.reshuffle else 0, first, self.world_size)
        return ids
