"""What a run's steps amount to, checked against sums done by hand."""

import pytest

from dlio_fast.workload.metrics import (
    PhaseMetrics,
    Progress,
    Quantiles,
    Step,
    counted_window,
    dlio_au,
    dlio_throughput,
    mean_and_stdev,
)

# Four steps of 4 samples: waits 2, 1, 1, 3; computation 4, 4, 5, 6: 26 s, and 1 s around them.
STEPS = [Step(2.0, 4.0, 4), Step(1.0, 4.0, 4), Step(1.0, 5.0, 4), Step(3.0, 6.0, 4)]
SECONDS = 27.0


# Accelerator utilization


def test_au_is_computation_by_wall_time():
    assert dlio_au(STEPS, SECONDS, 0, 0) == pytest.approx(100 * 19 / 27)


def test_the_first_steps_are_left_out_of_computation_and_of_wall_time():
    assert counted_window(STEPS, SECONDS, 1, 0) == pytest.approx(27 - 6)
    assert dlio_au(STEPS, SECONDS, 1, 0) == pytest.approx(100 * 15 / 21)


def test_so_are_the_last_ones():
    assert counted_window(STEPS, SECONDS, 1, 2) == pytest.approx(27 - 6 - 6 - 9)
    assert dlio_au(STEPS, SECONDS, 1, 2) == pytest.approx(100 * 4 / 6)


@pytest.mark.parametrize("excluded", [(4, 0), (0, 4), (2, 2), (9, 9)])
def test_there_is_no_au_where_no_step_is_left(excluded):
    assert dlio_au(STEPS, SECONDS, *excluded) is None
    assert dlio_throughput(STEPS, SECONDS, 4, *excluded) is None


def test_without_computation_au_is_zero():
    assert dlio_au([Step(1.0, 0.0, 1)] * 3, 3.0, 1, 0) == 0


def test_dlio_counts_two_steps_less_than_there_were():
    assert dlio_throughput(STEPS, SECONDS, 4, 1, 0) == pytest.approx((4 - 2) * 4 / 21)


# A phase


def test_a_phase_adds_up():
    phase = PhaseMetrics.of(STEPS, SECONDS, 54_000_000_000, batch_size=4, exclude_start=1)
    assert (phase.steps, phase.samples, phase.bytes_read) == (4, 16, 54_000_000_000)
    assert phase.samples_per_second == pytest.approx(16 / 27)
    assert phase.gb_per_second == pytest.approx(2.0)
    assert (phase.compute_seconds, phase.stall_seconds) == (19, 7)
    assert phase.first_batch_seconds == 2
    assert phase.batch_wait == Quantiles(1.0, 3.0, 3.0, 3.0)
    assert phase.au_percent == pytest.approx(100 * 15 / 21)
    assert phase.au_from_stall_percent == pytest.approx(100 * (1 - 5 / 21))


def test_the_two_utilizations_differ_by_what_is_neither_waiting_nor_computing():
    phase = PhaseMetrics.of(STEPS, SECONDS, batch_size=4)
    assert phase.au_from_stall_percent - phase.au_percent == pytest.approx(100 * 1 / 27)


def test_a_phase_without_steps_is_all_zero():
    phase = PhaseMetrics.of([], 0.0, batch_size=4, exclude_start=1)
    assert (phase.samples_per_second, phase.gb_per_second, phase.stall_seconds) == (0, 0, 0)
    assert phase.au_percent is phase.au_from_stall_percent is phase.dlio_samples_per_second is None


def test_epochs_are_averaged_as_dlio_does():
    assert mean_and_stdev([90.0, 94.0]) == (92.0, 2.0)
    assert mean_and_stdev([]) is None


# Percentiles


def test_percentiles_are_values_that_occurred():
    assert Quantiles.of(range(1, 101)) == Quantiles(50, 95, 99, 100)
    assert Quantiles.of([7.0]) == Quantiles(7.0, 7.0, 7.0, 7.0)
    assert Quantiles.of([]) == Quantiles(0, 0, 0, 0)


def test_latencies_are_given_as_their_buckets_upper_end():
    histogram = [0] * 96
    histogram[40] = 98  # from 2**10 us on
    histogram[44] = 1
    histogram[48] = 1
    found = Quantiles.of_latencies(histogram)
    assert found.p50 == found.p95 == pytest.approx(2**10.25 / 1e6)
    assert found.p99 == pytest.approx(2**11.25 / 1e6)
    assert found.max == pytest.approx(2**12.25 / 1e6)
    assert Quantiles.of_latencies([0] * 96) == Quantiles(0, 0, 0, 0)


# Over time


def test_throughput_over_time_adds_up_to_what_was_done():
    progress = Progress()
    for tick in range(301):
        progress.note(5.0 + tick / 10, tick * tick, 1_000_000_000 * tick)
    series = progress.series()
    assert series["interval_seconds"] == 1.0
    assert series["seconds"] == pytest.approx(range(1, 31))
    assert sum(series["samples_per_second"]) == pytest.approx(300**2)
    assert series["gb_per_second"] == pytest.approx([10.0] * 30)


def test_a_short_run_has_shorter_intervals_but_not_more_than_notes():
    progress = Progress()
    for tick in range(5):
        progress.note(tick / 8, tick, 0)
    assert progress.series()["interval_seconds"] == pytest.approx(1 / 8)
    assert progress.series()["samples_per_second"] == pytest.approx([8.0] * 4)


def test_a_run_of_days_has_a_bounded_series():
    progress = Progress()
    for hour in range(1000):
        progress.note(3600.0 * hour, hour, hour)
    assert len(progress.series()["seconds"]) == Progress.MOST


def test_nothing_noted_is_an_empty_series():
    assert Progress().series()["seconds"] == []
