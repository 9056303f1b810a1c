"""Run contenders in turn, several rounds, and compare them pair by pair.

The machines are noisy: an absolute figure means little. Every round runs each contender once, in an order
that rotates, so that what disturbs one disturbs its neighbours; the ratio of two contenders is the median
of their ratios within a round.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

Contender = Callable[[], int | None]
"""Does the work once; returns the bytes it moved (None: the case's own size)."""


def cpu_seconds() -> float:
    """User and system time of this process and of its finished children."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


@dataclass
class Goal:
    """A line of the table of targets: one contender against another, or a figure on its own."""

    text: str
    of: str
    against: str | None
    must: float
    reach: float
    measure: str = "speed"
    """"speed": ratio of rates; "rate": GB/s; "cpu": CPU-seconds per GB, "cpu ratio": two contenders';
    "item cpu": µs of CPU an item; "seconds": ratio of times."""
    unit: str = "×"

    @property
    def less_is_better(self) -> bool:
        return self.measure not in ("speed", "rate")


@dataclass
class Case:
    """Contenders over the same data."""

    name: str
    title: str
    bytes: int
    contenders: dict[str, Contender]
    goals: list[Goal]
    cache: str = "warm"
    before_each: Callable[[], None] | None = None
    items: int | None = None
    rounds: int = 7
    after: Callable[[], None] | None = None


@dataclass
class Result:
    """What the rounds of a case measured: per contender a list over the rounds."""

    case: Case
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    moved: dict[str, list[int]] = field(default_factory=dict)

    def gb_per_second(self, name: str) -> list[float]:
        return [b / s / 1e9 for b, s in zip(self.moved[name], self.seconds[name], strict=True)]

    def cpu_per_gb(self, name: str) -> list[float]:
        return [c / (b / 1e9) for c, b in zip(self.cpu[name], self.moved[name], strict=True)]

    def value(self, goal: Goal) -> list[float]:
        """The goal's figure in each round."""
        if goal.measure == "cpu":
            return self.cpu_per_gb(goal.of)
        if goal.measure == "item cpu":
            assert self.case.items
            return [used * 1e6 / self.case.items for used in self.cpu[goal.of]]
        if goal.measure == "cpu ratio":
            ours, theirs = self.cpu_per_gb(goal.of), self.cpu_per_gb(goal.against)
            return [a / b for a, b in zip(ours, theirs, strict=True)]
        ours, theirs = self.gb_per_second(goal.of), self.gb_per_second(goal.against)
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        return [1 / r for r in ratios] if goal.measure == "seconds" else ratios


def run(case: Case, rounds: int | None = None, say: Callable[[str], None] = print) -> Result:
    """Run a case; each contender once unmeasured, then `rounds` measured times in rotating order."""
    result = Result(case)
    names = list(case.contenders)
    for number in range(-1, rounds or case.rounds):
        turn = number % len(names) if number >= 0 else 0
        for name in names[turn:] + names[:turn]:
            if case.before_each:
                case.before_each()
            cpu, begin = cpu_seconds(), time.perf_counter()
            moved = case.contenders[name]()
            seconds, cpu = time.perf_counter() - begin, cpu_seconds() - cpu
            if number >= 0:
                result.seconds.setdefault(name, []).append(seconds)
                result.cpu.setdefault(name, []).append(cpu)
                result.moved.setdefault(name, []).append(moved or case.bytes)
        say(f"  {case.name}: round {number + 1} of {rounds or case.rounds}")
    if case.after:
        case.after()
    return result


def spread(values: list[float]) -> str:
    """Median, and the range of the middle half."""
    if len(values) < 4:
        return f"{statistics.median(values):.3g}"
    low, _, high = statistics.quantiles(values, n=4)
    return f"{statistics.median(values):.3g} ({low:.3g}–{high:.3g})"
