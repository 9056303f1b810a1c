"""Emulated durations."""

import numpy as np
import pytest

from dlio_fast.config import TimeSpec, load_config
from dlio_fast.errors import ConfigError


def spec(value, **more):
    return load_config({"train": {"computation_time": value, **more}}).train.computation_time


def draws(value, count=4000, **more):
    rng = np.random.default_rng(7)
    return np.array([spec(value, **more).draw(rng) for _ in range(count)])


@pytest.mark.parametrize("value", [0.323, "0.323", {"mean": 0.323}])
def test_a_constant(value):
    assert set(draws(value, 3)) == {0.323}


def test_absent_means_no_time():
    config = load_config({})
    for time in (config.train.computation_time, config.evaluation.eval_time, config.reader.preprocess_time):
        assert time.is_zero
        assert time.draw(np.random.default_rng()) == 0.0
    assert not spec(1).is_zero


@pytest.mark.parametrize(
    ("value", "mean", "stdev"),
    [
        ({"mean": 5, "stdev": 0.5}, 5, 0.5),
        ({"type": "normal", "mean": 5, "stdev": 0.5}, 5, 0.5),
        ({"type": "uniform", "min": 2, "max": 4}, 3, 2 / 12**0.5),
        ({"type": "gamma", "shape": 4, "scale": 0.5}, 2, 1),
        ({"type": "exponential", "scale": 2}, 2, 2),
        ({"type": "poisson", "lam": 9}, 9, 3),
    ],
)
def test_the_distributions(value, mean, stdev):
    found = draws(value)
    assert found.mean() == pytest.approx(mean, abs=6 * stdev / len(found) ** 0.5)
    assert found.std() == pytest.approx(stdev, rel=0.15)


def test_the_stdev_key_makes_a_constant_random_and_wins():
    assert draws(5, computation_time_stdev=0.5).std() == pytest.approx(0.5, rel=0.1)
    assert spec({"mean": 5, "stdev": 9}, computation_time_stdev=0.5).stdev == 0.5
    evaluation = load_config({"evaluation": {"eval_time": 1, "eval_time_stdev": 2}}).evaluation
    assert evaluation.eval_time.stdev == 2
    reader = load_config({"reader": {"preprocess_time": 1, "preprocess_time_stdev": 2}}).reader
    assert reader.preprocess_time.stdev == 2


def test_negative_draws_count_by_their_absolute_value():
    assert draws({"mean": 0, "stdev": 1}).min() >= 0
    assert spec(-1.5).draw(np.random.default_rng()) == 1.5


def test_the_same_seed_draws_the_same_times():
    time = spec({"mean": 1, "stdev": 1})
    first, second = (time.draw(np.random.default_rng(3)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("fast", "a number of seconds"),
        (True, "a number of seconds"),
        ([1], "a number of seconds"),
        (float("nan"), "a number of seconds"),
        ({"type": "weibull"}, "'normal', 'uniform'"),
        ({"type": "gamma", "shape": 1}, "needs scale"),
        ({"type": "uniform", "min": 2, "max": 1}, "min must not exceed max"),
        ({"mean": 1, "stdev": -1}, ">= 0"),
    ],
)
def test_what_is_no_duration(value, message):
    with pytest.raises(ConfigError, match=message) as caught:
        spec(value)
    assert "workload.train.computation_time" in str(caught.value)


def test_it_is_written_the_way_it_is_read():
    assert spec(2).to_dict() == 2
    assert spec({"type": "poisson", "lam": 9}).to_dict() == {"type": "poisson", "lam": 9}
    assert TimeSpec.model_validate(3) == TimeSpec(mean=3)
