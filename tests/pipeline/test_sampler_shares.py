"""How ranks share an epoch out: every strategy, shuffle and way to deal with what does not divide."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlio_fast.pipeline.sampler import SHARD_STRATEGIES, SHUFFLES, Sampler

world_sizes = st.integers(1, 64)


@st.composite
def settings_of_an_epoch(draw):
    """Keyword arguments of a Sampler, without rank and world_size."""
    per_file = draw(st.integers(1, 6))
    return {
        "n": per_file * draw(st.integers(0, 60)),
        "samples_per_file": per_file,
        "shuffle": draw(st.sampled_from(SHUFFLES)),
        "window_files": draw(st.integers(0, 9)),
        "seed": draw(st.integers(-(2**70), 2**70)),
        "strategy": draw(st.sampled_from(SHARD_STRATEGIES)),
        "batch_size": draw(st.integers(1, 9)),
    }


def ranks_of(world_size, **settings) -> list[Sampler]:
    return [Sampler(**settings, rank=rank, world_size=world_size) for rank in range(world_size)]


def order(sampler: Sampler, epoch: int = 0) -> list[int]:
    return sampler.ids(epoch, 0, len(sampler)).tolist()


def orders(samplers: list[Sampler], epoch: int = 0) -> list[int]:
    return [i for sampler in samplers for i in order(sampler, epoch)]


@given(settings_of_an_epoch(), world_sizes, st.integers(0, 1000))
def test_every_sample_comes_exactly_once_over_all_ranks(settings, world_size, epoch):
    ranks = ranks_of(world_size, **settings)
    assert sorted(orders(ranks, epoch)) == list(range(settings["n"]))
    unit = settings["samples_per_file"] if settings["strategy"] == "hash" else 1
    assert max(map(len, ranks)) - min(map(len, ranks)) <= unit


@given(settings_of_an_epoch(), world_sizes, st.integers(0, 1000))
def test_dropping_gives_each_rank_as_many_full_batches_and_none_twice(settings, world_size, epoch):
    ranks = ranks_of(world_size, **settings, drop_last=True)
    assert len({len(rank) for rank in ranks}) == 1
    assert len(ranks[0]) % settings["batch_size"] == 0
    seen = orders(ranks, epoch)
    assert len(set(seen)) == len(seen)
    unit = settings["samples_per_file"] if settings["strategy"] == "hash" else 1
    assert settings["n"] - len(seen) < world_size * (settings["batch_size"] + unit)


@given(settings_of_an_epoch(), world_sizes, st.integers(0, 1000))
def test_padding_gives_each_rank_as_many_samples_and_every_one_at_least_once(settings, world_size, epoch):
    ranks = ranks_of(world_size, **settings, pad=True)
    plain = ranks_of(world_size, **settings)
    assert {len(rank) for rank in ranks} == {max(map(len, plain))}
    seen = orders(ranks, epoch)
    assert set(seen) == set(range(settings["n"]))
    if settings["strategy"] == "interleaved":
        assert len(seen) - settings["n"] < world_size  # what divides is not padded


@given(settings_of_an_epoch(), world_sizes, st.data())
def test_any_position_is_reached_at_once(settings, world_size, data):
    options = {"drop_last": data.draw(st.booleans()), "pad": data.draw(st.booleans())}
    rank = data.draw(st.integers(0, world_size - 1))
    sampler = Sampler(**settings, **options, rank=rank, world_size=world_size)
    whole = order(sampler, 5)
    start = data.draw(st.integers(0, len(whole)))
    count = data.draw(st.integers(0, len(whole) - start))
    assert sampler.ids(5, start, count).tolist() == whole[start : start + count]


@given(settings_of_an_epoch(), world_sizes, st.data())
def test_an_epoch_entered_in_its_middle_is_the_rest_of_it(settings, world_size, data):
    whole = ranks_of(world_size, **settings)
    if settings["strategy"] == "interleaved":
        start = data.draw(st.integers(0, settings["n"]))
        everything = order(Sampler(**settings))
        rest = ranks_of(world_size, **settings, start=start)
        assert [order(rank) for rank in rest] == [
            everything[start:][r::world_size] for r in range(world_size)
        ]
    else:
        rank = data.draw(st.integers(0, world_size - 1))
        start = data.draw(st.integers(0, len(whole[rank])))
        rest = Sampler(**settings, rank=rank, world_size=world_size, start=start)
        assert order(rest) == order(whole[rank])[start:]


@given(settings_of_an_epoch(), world_sizes)
def test_interleaved_ranks_take_turns_and_contiguous_ones_take_runs(settings, world_size):
    everything = order(Sampler(**settings | {"strategy": "interleaved"}))
    turns = ranks_of(world_size, **settings | {"strategy": "interleaved"})
    assert [order(rank) for rank in turns] == [everything[r::world_size] for r in range(world_size)]
    assert orders(ranks_of(world_size, **settings | {"strategy": "contiguous"})) == everything


@given(settings_of_an_epoch(), world_sizes)
def test_by_hash_a_rank_has_the_same_whole_files_in_every_epoch(settings, world_size):
    for rank in ranks_of(world_size, **settings | {"strategy": "hash"}):
        files = [{i // settings["samples_per_file"] for i in order(rank, epoch)} for epoch in range(3)]
        assert files[0] == files[1] == files[2]
        assert len(files[0]) * settings["samples_per_file"] == len(rank)


def test_by_hash_files_are_dealt_out_at_random():
    """Neighbours in the listing do not go to neighbouring ranks, as they would by taking turns."""
    owner = np.empty(1000, int)
    for number, rank in enumerate(ranks_of(8, n=1000, strategy="hash")):
        owner[order(rank)] = number
    assert 60 < np.count_nonzero((owner[1:] - owner[:-1]) % 8 == 1) < 200  # an eighth, by chance


@pytest.mark.parametrize("shuffle", ["files", "window"])
def test_windows_keep_the_samples_of_their_files_together(shuffle):
    sampler = Sampler(400, shuffle=shuffle, seed=3, samples_per_file=10, window_files=4)
    ids = np.array(order(sampler)).reshape(10, 40)
    files = [set((window // 10).tolist()) for window in ids]
    assert all(len(window) == 4 for window in files)
    assert (files == [set(range(w * 4, w * 4 + 4)) for w in range(10)]) == (shuffle == "window")
    assert all(not np.array_equal(window, np.sort(window)) for window in ids)


def test_a_shuffle_of_files_alone_keeps_the_samples_of_a_file_in_order():
    ids = np.array(order(Sampler(400, shuffle="files", seed=3, samples_per_file=10))).reshape(40, 10)
    assert np.array_equal(ids - ids[:, :1], np.broadcast_to(np.arange(10), (40, 10)))
    assert not np.array_equal(ids[:, 0], np.sort(ids[:, 0]))


def test_with_one_sample_a_file_shuffling_files_is_shuffling_all():
    assert order(Sampler(100, shuffle="files", seed=3)) == order(Sampler(100, shuffle="global", seed=3))


def test_4096_ranks_share_a_hundred_million_samples_without_a_table():
    n, world_size, batch = 100_000_000, 4096, 8192
    seen = np.zeros(n, bool)
    tracemalloc.start()
    for rank in range(world_size):
        sampler = Sampler(n, shuffle=True, seed=9, rank=rank, world_size=world_size)
        for start in range(0, len(sampler), batch):
            seen[sampler.ids(1, start, min(batch, len(sampler) - start))] = True
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000  # the ids of a batch alone take 65,536
    assert seen.all()  # and there were n of them: each came once


@pytest.mark.parametrize("wrong", [{"strategy": "random"}, {"shuffle": "yes"}])
def test_unknown_names_are_refused(wrong):
    with pytest.raises(ValueError, match="interleaved, contiguous, hash|off, global, files, window"):
        Sampler(10, **wrong)
