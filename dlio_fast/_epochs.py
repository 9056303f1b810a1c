"""The number of the next epoch, in memory that the workers of PyTorch's DataLoaders share."""

from __future__ import annotations

import torch

LATEST = 2**31 - 1

_WORKERS = 256
_PASSES = 1024


class SharedEpoch:
    """Counts the passes over a data set, whichever processes make them.

    The DataLoader does not tell the process that it runs in when a pass begins; its workers do, each for
    itself, whenever it gets there, and with a copy of the data set. All workers of a pass must come to
    the same epoch, or samples would be missing and others double. So the first of them writes down
    which epoch the pass has, where the others find it. What tells one pass from another is the base seed
    that the DataLoader draws for each set of workers; how often each worker has seen that seed before,
    as programs that seed torch anew for each epoch draw the same one again; and how many passes the
    worker's process has made, as persistent workers make several.

    There is no lock: workers that arrive at the same time write the same. Each reads the next epoch
    before it looks for its pass, and counts the epoch up only after it has written the pass down. Who
    does not find the pass has therefore read the same epoch as whoever is about to write it.
    """

    def __init__(self):
        # [0] the next epoch; then for each worker the last base seed and how often it came before; then
        # the latest passes by hash, tag and epoch in one word.
        self._shared = torch.zeros(1 + 2 * _WORKERS + _PASSES, dtype=torch.int64).share_memory_()
        self._repeats = 0
        self._passes = 0

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._shared.share_memory_()  # a plain pickle has made a copy of it

    def set(self, epoch: int) -> None:
        """Make the next pass that epoch. Raises ValueError outside 0 ... 2**31 - 1."""
        if not 0 <= epoch <= LATEST:
            raise ValueError(f"epoch {epoch} is not within 0 ... {LATEST}")
        self._shared[0] = epoch

    def take(self, worker=None) -> int:
        """Begin a pass and return its epoch.

        Parameters
        ----------
        worker : torch.utils.data.WorkerInfo, optional
            What ``get_worker_info()`` returned.
        """
        epoch = int(self._shared[0])
        if worker is not None:
            key = hash(self._pass_of(worker))
            place = 1 + 2 * _WORKERS + key % _PASSES
            tag = (key // _PASSES) % LATEST + 1
            found, known = divmod(int(self._shared[place]), LATEST + 1)
            if found == tag:
                return known
            self._shared[place] = tag * (LATEST + 1) + epoch
        if int(self._shared[0]) == epoch:
            self._shared[0] = epoch + 1
        return epoch

    def _pass_of(self, worker) -> tuple[int, int, int]:
        base_seed = worker.seed - worker.id
        if not self._passes:  # the first of this process
            mine = self._shared[1 + 2 * (worker.id % _WORKERS) :][:2]
            repeats = int(mine[1]) + 1 if int(mine[0]) == base_seed else 0
            mine[0], mine[1] = base_seed, repeats
            self._repeats = repeats
        self._passes += 1
        return base_seed, self._repeats, self._passes
