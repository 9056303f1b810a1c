"""How far a pass over the data has come, and the state that a later process goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import StateError
from .sampler import Sampler

FORMAT, VERSION = "dlio_fast.Loader", 1

State = dict[str, Any]
"""Plain values only: a state goes through JSON unchanged."""


class Progress:
    """How far one pass has come.

    Parameters
    ----------
    sampler : Sampler
        Its `start` is where the pass has entered the epoch.
    epoch : int
    batch_size : int
    whole : bool
        False: the pass is one of several that share a rank's batches out (a worker's).
    """

    def __init__(self, sampler: Sampler, epoch: int, batch_size: int, whole: bool):
        self.sampler = sampler
        self.epoch = epoch
        self.batch_size = batch_size
        self.whole = whole
        self.delivered = 0
        """Batches, those with nothing left in them counted too."""
        self.finished = False
        """The consumer was told that there is no more."""

    def covers(self, samples: int | None) -> bool:
        """Whether so many samples are all that the pass has; None stands for all."""
        return samples is None or samples >= len(self.sampler)

    def position(self, batches: int | None = None, samples: int | None = None) -> int:
        """Where in the epoch the next pass goes on.

        All ranks are taken to have got as many batches (or samples) as this one, which is what makes the
        position good for another world_size.
        """
        sampler = self.sampler
        if samples is None:
            samples = (self.delivered if batches is None else batches) * self.batch_size
        if not self.whole:
            samples = 0
        if sampler.elastic:
            return min(sampler.n, sampler.start + samples * sampler.world_size)
        return sampler.start + min(samples, len(sampler))


def make_state(sampler: Sampler, epoch: int, position: int, batch_size: int) -> State:
    """Return the state of an order's epoch at a position."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "epoch": epoch,
        "position": position,
        **_fingerprint(sampler, batch_size),
    }


def _fingerprint(sampler: Sampler, batch_size: int) -> State:
    """What must be the same for a position to mean the same samples."""
    order: State = {"samples": sampler.n, "shuffle": sampler.order, "shard_strategy": sampler.strategy}
    if sampler.order != "off":
        order |= {"seed": sampler.seed, "reshuffle": sampler.reshuffle}
    if sampler.order in ("files", "window"):
        order |= {"samples_per_file": sampler.samples_per_file, "window_files": sampler.window_files}
    if not sampler.elastic:
        order |= {"rank": sampler.rank, "world_size": sampler.world_size, "batch_size": batch_size}
        order |= {"drop_last": sampler.drop_last, "pad": sampler.pad}
    return order


def read_state(state: Mapping[str, Any], sampler: Sampler, batch_size: int) -> tuple[int, int]:
    """Return epoch and position of a state.

    Raises
    ------
    StateError
        It is none, of a later version, or of another order than the sampler's.
    """
    if not isinstance(state, Mapping) or state.get("format") != FORMAT:
        raise StateError("this is no state of a dlio_fast loader: give what its state_dict() returned")
    if state.get("version") != VERSION:
        raise StateError(
            f"the state has version {state.get('version')!r}, this dlio_fast reads version {VERSION}"
        )
    for name, ours in _fingerprint(sampler, batch_size).items():
        if state.get(name) != ours:
            raise StateError(_mismatch(name, state.get(name), ours, sampler))
    return _count(state, "epoch", 2**64 - 1), _count(state, "position", sampler.n)


def _count(state: Mapping[str, Any], name: str, limit: int) -> int:
    value = state.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= limit:
        raise StateError(f"the state's {name} {value!r} is none: it is a number from 0 to {limit}")
    return value


def _mismatch(name: str, theirs: object, ours: object, sampler: Sampler) -> str:
    if name == "samples":
        return f"the state is of a data set of {theirs} samples; this one has {ours}"
    if name in ("rank", "world_size", "batch_size", "drop_last", "pad"):
        return (
            f"the state was saved with {name} {theirs}, not {ours}: in the middle of an epoch that can "
            f"change only under shard_strategy='interleaved', not {sampler.strategy!r}"
        )
    return f"the state was saved with {name} {theirs!r}, this loader has {ours!r}: the order would be another"
