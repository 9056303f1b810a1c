"""What a training run's steps amount to: throughput, accelerator utilization, stall. Pure arithmetic.

All times are in seconds and all throughputs in units of 10**9 bytes or one sample a second.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """One step: the consumer waited for the batch, then computed on it."""

    wait: float
    compute: float
    samples: int


@dataclass(frozen=True)
class Quantiles:
    """Nearest-rank percentiles of a set of durations; all zero where there is none."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Quantiles:
        """Return the percentiles of `values`."""
        ordered = sorted(values) or [0.0]
        return cls(
            *(ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.95, 0.99, 1.0))
        )

    @classmethod
    def of_latencies(cls, histogram: Sequence[int]) -> Quantiles:
        """Return the percentiles of the core's latency histogram.

        Bucket b counts durations from 2**(b/4) to 2**((b+1)/4) microseconds. A percentile is given as its
        bucket's upper end: never too small, at most 19 % too large.
        """
        total = sum(histogram)
        found = []
        for share in (0.5, 0.95, 0.99, 1.0):
            rank, seen, bucket = math.ceil(share * total), 0, -1
            while seen < rank:
                bucket += 1
                seen += histogram[bucket]
            found.append(2 ** ((bucket + 1) / 4) / 1e6 if total else 0.0)
        return cls(*found)


@dataclass(frozen=True)
class PhaseMetrics:
    """One epoch's training, or its evaluation."""

    seconds: float
    """Wall time, from asking for the first batch to the end of the last step."""
    steps: int
    samples: int
    bytes_read: int
    """What the core read from storage, headers and batches read ahead and not used included."""
    samples_per_second: float
    gb_per_second: float
    compute_seconds: float
    stall_seconds: float
    """Time that the consumer waited for batches, the first one included."""
    first_batch_seconds: float
    batch_wait: Quantiles
    au_percent: float | None
    """Accelerator utilization as DLIO defines it, see :func:`dlio_au`; None where no step is counted."""
    au_from_stall_percent: float | None
    """The share of the counted steps' time that was not spent waiting for a batch."""
    dlio_samples_per_second: float | None
    """DLIO's figure, see :func:`dlio_throughput`."""

    @classmethod
    def of(
        cls,
        steps: Sequence[Step],
        seconds: float,
        bytes_read: int = 0,
        *,
        batch_size: int,
        exclude_start: int = 0,
        exclude_end: int = 0,
    ) -> PhaseMetrics:
        """Sum up the steps of a phase that took `seconds` in all; the exclusions are those of AU."""
        samples = sum(step.samples for step in steps)
        waits = [step.wait for step in steps]
        window = counted_window(steps, seconds, exclude_start, exclude_end)
        stall = math.fsum(waits[exclude_start : len(steps) - exclude_end])
        return cls(
            seconds=seconds,
            steps=len(steps),
            samples=samples,
            bytes_read=bytes_read,
            samples_per_second=_rate(samples, seconds),
            gb_per_second=_rate(bytes_read / 1e9, seconds),
            compute_seconds=math.fsum(step.compute for step in steps),
            stall_seconds=math.fsum(waits),
            first_batch_seconds=waits[0] if waits else 0.0,
            batch_wait=Quantiles.of(waits),
            au_percent=dlio_au(steps, seconds, exclude_start, exclude_end),
            au_from_stall_percent=100 * (1 - stall / window) if window else None,
            dlio_samples_per_second=dlio_throughput(steps, seconds, batch_size, exclude_start, exclude_end),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values."""
        return asdict(self)


def counted_window(
    steps: Sequence[Step], seconds: float, exclude_start: int, exclude_end: int
) -> float | None:
    """Return the phase's time without its first and last steps; None where no step is left.

    What lies between the steps, and the end of the loop, counts, as in DLIO.
    """
    last = len(steps) - exclude_end
    if exclude_start >= last:
        return None
    left_out = math.fsum(step.wait + step.compute for step in (*steps[:exclude_start], *steps[last:]))
    return seconds - left_out


def dlio_au(steps: Sequence[Step], seconds: float, exclude_start: int, exclude_end: int) -> float | None:
    """Return DLIO's accelerator utilization in percent: the counted steps' computation by their time.

    Steps [exclude_start, n - exclude_end) count: the sum of their computation, divided by the phase's wall
    time less wait and computation of all others.
    """
    window = counted_window(steps, seconds, exclude_start, exclude_end)
    if not window:
        return None
    counted = steps[exclude_start : len(steps) - exclude_end]
    return 100 * math.fsum(step.compute for step in counted) / window


def dlio_throughput(
    steps: Sequence[Step], seconds: float, batch_size: int, exclude_start: int, exclude_end: int
) -> float | None:
    """Return DLIO's samples a second: always n - 2 full batches by the time of the counted steps.

    It is too low or too high by what n - 2 differs from the number of counted steps. For comparison only.
    """
    window = counted_window(steps, seconds, exclude_start, exclude_end)
    return (len(steps) - 2) * batch_size / window if window and len(steps) > 2 else None


class Progress:
    """Samples and bytes over time, noted as the run goes on; gives throughput over time.

    Examples
    --------
    >>> progress = Progress()
    >>> for second in range(3):
    ...     progress.note(float(second), 10 * second, 2_000_000_000 * second)
    >>> progress.series()["samples_per_second"], progress.series()["gb_per_second"]
    ([10.0, 10.0], [2.0, 2.0])
    """

    FEWEST, MOST = 20, 600
    """Intervals of a second, unless that makes fewer or more than so many."""

    def __init__(self) -> None:
        self._points: list[tuple[float, int, int]] = []

    def note(self, seconds: float, samples: int, nbytes: int) -> None:
        """Say how many samples and bytes there were in all at that time; times must not decrease."""
        self._points.append((seconds, samples, nbytes))

    def series(self) -> dict[str, Any]:
        """Return throughput in equal intervals of about a second; of a part of it where the run is short.

        Returns
        -------
        dict
            ``interval_seconds``, and lists of equal length: ``seconds`` (the intervals' ends, from the
            first note on), ``samples_per_second``, ``gb_per_second``.
        """
        import numpy as np

        empty = {"interval_seconds": 0.0, "seconds": [], "samples_per_second": [], "gb_per_second": []}
        if len(self._points) < 2:
            return empty
        times, samples, nbytes = np.array(self._points, np.float64).T
        times = times - times[0]
        duration = float(times[-1])
        if duration <= 0:
            return empty
        count = min(max(math.ceil(duration), self.FEWEST), self.MOST, len(self._points) - 1)
        interval = duration / count
        edges = np.arange(count + 1) * interval
        rates = [np.diff(np.interp(edges, times, total)) / interval for total in (samples, nbytes / 1e9)]
        return {
            "interval_seconds": interval,
            "seconds": edges[1:].tolist(),
            "samples_per_second": rates[0].tolist(),
            "gb_per_second": rates[1].tolist(),
        }


def mean_and_stdev(values: Sequence[float]) -> tuple[float, float] | None:
    """Return mean and population standard deviation, as DLIO does over epochs; None of nothing."""
    return (statistics.fmean(values), statistics.pstdev(values)) if values else None


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else 0.0
