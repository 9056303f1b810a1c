"""The order of samples: each exactly once over all ranks, reached from anywhere, the same for everybody."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_fast.pipeline import Sampler

sizes = st.integers(0, 300)
seeds = st.integers(-(2**70), 2**70)
epochs = st.integers(0, 10**6)


def order(sampler: Sampler, epoch: int = 0) -> list[int]:
    """All ids of a rank."""
    return sampler.ids(epoch, 0, len(sampler)).tolist()


@given(sizes, st.integers(1, 64), st.booleans(), seeds, epochs)
def test_every_sample_comes_exactly_once_over_all_ranks(n, world_size, shuffle, seed, epoch):
    ranks = [Sampler(n, shuffle, seed, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert sorted(sum((order(rank, epoch) for rank in ranks), [])) == list(range(n))
    assert {len(rank) for rank in ranks} <= {n // world_size, -(-n // world_size)}


@given(sizes, st.integers(1, 64), st.booleans(), seeds, epochs)
def test_ranks_take_turns_in_one_global_order(n, world_size, shuffle, seed, epoch):
    everything = order(Sampler(n, shuffle, seed), epoch)
    for rank in range(world_size):
        sampler = Sampler(n, shuffle, seed, rank=rank, world_size=world_size)
        assert order(sampler, epoch) == everything[rank::world_size]


@given(st.integers(1, 300), st.integers(1, 8), seeds, epochs, st.data())
def test_any_position_is_reached_at_once(n, world_size, seed, epoch, data):
    sampler = Sampler(n, True, seed, rank=world_size - 1, world_size=world_size)
    whole = order(sampler, epoch)
    start = data.draw(st.integers(0, len(whole)))
    wanted = whole[start:]
    assert sampler.ids(epoch, start, len(wanted)).tolist() == wanted


def test_without_shuffling_the_order_is_that_of_the_files():
    assert order(Sampler(10)) == list(range(10))
    assert order(Sampler(10), epoch=5) == list(range(10))


def test_each_epoch_and_seed_has_an_order_of_its_own():
    orders = [order(Sampler(1000, True, seed), epoch) for seed in range(10) for epoch in range(10)]
    assert len({tuple(ids) for ids in orders}) == 100
    for first, second in zip(orders, orders[1:], strict=False):  # a random pair agrees about once
        assert np.count_nonzero(np.equal(first, second)) < 12


def test_without_reshuffling_all_epochs_share_one_order():
    sampler = Sampler(1000, True, 7, reshuffle=False)
    assert order(sampler, 0) == order(sampler, 1) == order(sampler, 99)
    assert order(sampler) == order(Sampler(1000, True, 7), 0)
    assert order(sampler) != order(dataclasses.replace(sampler, seed=8))


@pytest.mark.parametrize("n", [2, 10, 1000])
def test_the_shuffle_prefers_no_place(n):
    """Over many epochs, the mean of every position's samples is the middle."""
    epochs = 4000
    sampler = Sampler(n, True, 1)
    means = sum(sampler.ids(epoch, 0, n) for epoch in range(epochs)) / epochs
    spread = np.sqrt((n * n - 1) / 12 / epochs)  # of the mean of that many uniform draws
    assert np.abs(means - (n - 1) / 2).max() < 5 * spread


def test_the_order_is_fixed_for_ever():
    """What a run of an earlier version saw must come again: resuming depends on it."""
    assert order(Sampler(12, True, 123), 0) == [0, 7, 3, 8, 4, 2, 10, 6, 9, 1, 11, 5]
    assert order(Sampler(12, True, 123), 1) == [4, 11, 3, 6, 8, 2, 0, 10, 5, 7, 1, 9]


def test_a_hundred_billion_samples_cost_nothing():
    sampler = Sampler(10**11, True, 5, rank=7, world_size=64)
    tracemalloc.start()
    assert len(sampler) == 10**11 // 64
    ids = sampler.ids(3, len(sampler) - 100, 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(ids.tolist())) == 100 and ids.min() >= 0 and ids.max() < 10**11
    assert peak < 100_000


@pytest.mark.parametrize("wrong", [{"n": -1}, {"rank": -1}, {"rank": 2}, {"rank": 1, "world_size": 1}])
def test_impossible_ranks_are_refused(wrong):
    with pytest.raises(ValueError, match="0 <= rank < world_size"):
        Sampler(**{"n": 10, "rank": 0, "world_size": 2} | wrong)
    with pytest.raises(ValueError, match="0 <= rank < world_size"):
        Sampler(10, world_size=0)


def test_a_position_beyond_the_end_is_refused():
    with pytest.raises(ValueError, match="does not lie in"):
        Sampler(10, True).ids(0, 5, 6)
