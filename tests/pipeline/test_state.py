"""Saved states: the exact next batch, whatever was read ahead, and whatever has changed meanwhile."""

import json

import pytest

import dlio_fast as df
from dlio_fast.errors import StateError
from dlio_fast.pipeline.sampler import SHARD_STRATEGIES, SHUFFLES
from tests.pipeline.files import numbered, write_files

N = 24


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """6 files with 4 samples each; a sample's first element is its number."""
    folder = tmp_path_factory.mktemp("state")
    write_files(folder, numbered(6, (4, 3)))
    with df.Loader(df.Dataset.from_files(folder, sample_axis=0)) as loader:
        yield loader.dataset


def loader(dataset, **options):
    return df.Loader(dataset, **{"batch_size": 5, "shuffle": True, "seed": 3, "threads": 2, **options})


def ids(batches) -> list[int]:
    return [int(x.flat[0]) // 3 for batch in batches for x in batch["x"]]


def through_json(state):
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("strategy", SHARD_STRATEGIES)
@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("taken", range(6))
def test_a_fresh_loader_goes_on_with_the_exact_next_batch(dataset, strategy, shuffle, taken):
    options = {"shuffle": shuffle, "shard_strategy": strategy}
    with loader(dataset, **options) as first:
        first.set_epoch(2)
        batches = iter(first)
        for _ in range(taken):
            next(batches)
        state = through_json(first.state_dict())
        rest = ids(batches)
    with loader(dataset, **options) as second:
        second.load_state_dict(state)
        assert ids(second) == rest
        following = ids(second)
        second.set_epoch(3)
        assert ids(second) == following


def test_prefetched_batches_do_not_count(dataset):
    with loader(dataset, batch_size=1, prefetch_bytes=1 << 20) as first:
        batches = iter(first)
        next(batches)
        assert first.state_dict()["position"] == 1


def test_as_if_fewer_batches_had_been_delivered(dataset):
    with loader(dataset) as first:
        everything = ids(first)
        for batches in range(6):
            with loader(dataset) as second:
                second.load_state_dict(first.state_dict(batches))
                assert ids(second) == everything[5 * batches :]


def test_after_the_end_the_state_is_that_of_the_next_epoch(dataset):
    with loader(dataset) as first:
        ids(first)
        state = first.state_dict()
        assert (state["epoch"], state["position"]) == (1, 0)
        expected = ids(first)
    with loader(dataset) as second:
        second.load_state_dict(state)
        assert ids(second) == expected


def test_counted_in_samples_a_pass_that_has_ended_is_as_if_fewer_had_come_or_over(dataset):
    with loader(dataset) as first:
        everything = ids(first)
        following = first.state_dict()
        assert first.state_dict(samples=N) == following and following["epoch"] == 1
        for samples in (0, 1, 7, N - 1):
            with loader(dataset) as second:
                second.load_state_dict(first.state_dict(samples=samples))
                assert ids(second) == everything[samples:]


def test_before_a_pass_nothing_was_delivered(dataset):
    for delivered in ({"batches": 1}, {"samples": 1}):
        with pytest.raises(ValueError, match="no pass has begun"):
            loader(dataset).state_dict(**delivered)


def test_before_the_consumer_learns_of_the_end_the_rest_of_the_epoch_is_empty(dataset):
    with loader(dataset) as first:
        batches = iter(first)
        for _ in range(len(first)):
            next(batches)
        state = first.state_dict()
    with loader(dataset) as second:
        second.load_state_dict(state)
        assert ids(second) == []
        assert second.stats()["epoch"] == 0 and len(ids(second)) == N


def test_a_state_outlives_a_break_and_close(dataset):
    with loader(dataset) as first:
        expected = ids(first)
        first.set_epoch(0)
        for _batch in first:
            break
    state = first.state_dict()
    with loader(dataset) as second:
        second.load_state_dict(state)
        assert second.state_dict() == state
        assert ids(second) == expected[5:]


def test_any_number_of_rounds_neither_loses_nor_repeats(dataset):
    with loader(dataset, batch_size=1) as whole:
        expected = ids(whole) + ids(whole)
    seen, state = [], None
    for _ in range(2 * N + 2):
        with loader(dataset, batch_size=1) as one:
            if state is not None:
                one.load_state_dict(through_json(state))
            seen += ids([batch] if (batch := next(iter(one), None)) else [])
            state = one.state_dict()
    assert seen == expected


def test_set_epoch_keeps_the_position_of_the_restored_epoch_only(dataset):
    with loader(dataset) as first:
        first.set_epoch(4)
        batches = iter(first)
        next(batches)
        state, rest = first.state_dict(), ids(batches)
        everything = ids(first)
    with loader(dataset) as second:
        second.load_state_dict(state)
        second.set_epoch(4)
        assert ids(second) == rest
        second.load_state_dict(state)
        second.set_epoch(5)
        assert ids(second) == everything
        second.set_epoch(4)
        assert ids(second)[5:] == rest


@pytest.mark.parametrize("taken", [1, 2])
@pytest.mark.parametrize("before, after", [((2, 3), (3, 2)), ((1, 5), (4, 1)), ((3, 1), (1, 7))])
def test_world_size_and_batch_size_may_change_in_mid_epoch(dataset, before, after, taken):
    seen, states = [], []
    for rank in range(before[0]):
        with loader(dataset, world_size=before[0], rank=rank, batch_size=before[1]) as one:
            batches = iter(one)
            seen += ids([next(batches) for _ in range(taken)])
            states.append(one.state_dict())
    assert all(state == states[0] for state in states)
    for rank in range(after[0]):
        with loader(dataset, world_size=after[0], rank=rank, batch_size=after[1], threads=1) as one:
            one.load_state_dict(states[0])
            seen += ids(one)
    assert sorted(seen) == list(range(N))


@pytest.mark.parametrize("strategy", ["contiguous", "hash"])
@pytest.mark.parametrize("change", [{"world_size": 3}, {"rank": 1}, {"batch_size": 4}])
def test_other_strategies_refuse_another_share(dataset, strategy, change):
    settings = {"shard_strategy": strategy, "rank": 0, "world_size": 2}
    with loader(dataset, **settings) as first:
        next(iter(first))
        state = first.state_dict()
    with loader(dataset, **settings | change) as second:
        with pytest.raises(
            StateError, match=rf"{next(iter(change))} .*only under shard_strategy='interleaved'"
        ):
            second.load_state_dict(state)


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"shuffle": False}, {"shuffle": "files"}, {"shard_strategy": "hash"}]
)
def test_a_state_of_another_order_is_refused(dataset, change):
    state = loader(dataset).state_dict()
    with pytest.raises(StateError, match="saved with .*the order would be another"):
        loader(dataset, **change).load_state_dict(state)


def test_a_state_of_another_window_is_refused(dataset):
    state = loader(dataset, shuffle="window", shuffle_window=200).state_dict()
    with pytest.raises(StateError, match="window_files"):
        loader(dataset, shuffle="window").load_state_dict(state)


def test_a_state_of_other_data_is_refused(dataset, tmp_path):
    write_files(tmp_path, numbered(5, (4, 3)))
    with pytest.raises(StateError, match="of a data set of 24 samples; this one has 20"):
        loader(df.Dataset.from_files(tmp_path, sample_axis=0)).load_state_dict(loader(dataset).state_dict())


@pytest.mark.parametrize(
    "wrong",
    [
        {}, None, {"format": "dlio_fast.Loader"}, {"version": 2}, {"position": -1}, {"position": 25},
        {"position": 1.5}, {"epoch": True}, {"epoch": "1"}, {"epoch": 2**64},
    ],
)  # fmt: skip
def test_what_is_no_state_is_refused(dataset, wrong):
    state = wrong if not wrong or wrong.keys() == {"format"} else loader(dataset).state_dict() | wrong
    with pytest.raises(StateError):
        loader(dataset).load_state_dict(state)


def test_states_of_this_version_stay_good(dataset):
    """A state that an earlier run saved must be read: resuming depends on it."""
    saved = json.loads(
        '{"format": "dlio_fast.Loader", "version": 1, "epoch": 1, "position": 10, "samples": 24,'
        ' "shuffle": "global", "shard_strategy": "interleaved", "seed": 3, "reshuffle": true}'
    )
    with loader(dataset) as second:
        second.load_state_dict(saved)
        assert ids(second) == loader(dataset).sampler.ids(1, 10, 14).tolist()


def test_grain_s_names_do_the_same(dataset):
    with loader(dataset) as first:
        batches = iter(first)
        next(batches)
        state = batches.get_state()
        assert state == first.get_state() == first.state_dict()
        rest = ids(batches)
    with loader(dataset) as second:
        second.set_state(state)
        assert ids(second) == rest


def test_a_state_is_small(dataset):
    assert len(json.dumps(loader(dataset).state_dict())) < 250
