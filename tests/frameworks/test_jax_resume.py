"""DlioJaxDataset: its state goes on with the exact next batch, whatever is under way to the devices."""

import json

import numpy as np
import pytest

from dlio_fast.errors import ChecksumError, ConfigError, StateError
from dlio_fast.jax import DlioJaxDataset
from tests.frameworks.conftest import SAMPLES
from tests.frameworks.jax_support import damaged_copy, deliveries, numbers, sharding

BATCHES = 5
"""Of an epoch in batches of 4, without a short last one."""


def dataset(folder, **options):
    return DlioJaxDataset(
        data_folder=folder, **{"batch_size": 4, "shuffle": True, "drop_last": True, "seed": 3, **options}
    )


def saved(ds):
    return json.loads(json.dumps(ds.state_dict()))


def resumed(folder, state, **options):
    ds = dataset(folder, **options)
    ds.load_state_dict(state)
    return ds


HOW = {
    "numpy": lambda ds: iter(ds),
    "device": lambda ds: ds.device_iter(),
    "sharded": lambda ds: ds.device_iter(sharding("d")),  # with 2 ahead
    "all ahead": lambda ds: ds.device_iter(sharding("d"), prefetch=100),
}


@pytest.fixture(params=HOW)
def begin(request):
    """Begins a pass."""
    return HOW[request.param]


def taken(batches, count):
    return numbers(next(batches) for _ in range(count))


def epochs(folder, count):
    ds = dataset(folder)
    return [numbers(ds) for _ in range(count)]


@pytest.mark.parametrize("seen", range(BATCHES + 1))
def test_at_every_batch_the_state_goes_on_with_the_next_one(folder, begin, seen):
    (whole,) = epochs(folder, 1)
    ds = dataset(folder)
    batches = begin(ds)
    assert taken(batches, seen) == whole[:seen]
    state = saved(ds)
    assert numbers(begin(resumed(folder, state))) == whole[seen:]
    assert numbers(batches) == whole[seen:], "saving is not to disturb the pass"


def test_resuming_again_and_again_loses_and_repeats_nothing(folder, begin):
    expected = epochs(folder, 3)
    got, state = [], None
    for _ in range(3):
        epoch = []
        for count in (1, 2, 0, 1, 1):
            ds = dataset(folder) if state is None else resumed(folder, state)
            batches = begin(ds)
            epoch += taken(batches, count)
            state = saved(ds)
        got.append(epoch)
        with pytest.raises(StopIteration):
            next(batches)
        state = saved(ds)
    assert got == expected


def test_after_the_end_of_a_pass_the_state_is_the_next_epoch_s_beginning(folder, begin):
    expected = epochs(folder, 2)
    ds = dataset(folder)
    assert numbers(begin(ds)) == expected[0]
    assert numbers(begin(resumed(folder, saved(ds)))) == expected[1]


def test_the_epoch_after_a_resumed_one_is_whole(folder, begin):
    expected = epochs(folder, 2)
    ds = dataset(folder)
    batches = begin(ds)
    taken(batches, 2)
    ds = resumed(folder, saved(ds))
    assert numbers(begin(ds)) == expected[0][2:]
    assert numbers(begin(ds)) == expected[1]


def test_a_loop_that_sets_its_epochs_goes_on_in_the_middle_of_one(folder, begin):
    expected = epochs(folder, 3)
    ds = dataset(folder)
    ds.set_epoch(1)
    taken(begin(ds), 2)
    ds = resumed(folder, saved(ds))
    for epoch, batches in ((1, expected[1][2:]), (2, expected[2])):
        ds.set_epoch(epoch)
        assert numbers(begin(ds)) == batches


def test_the_state_before_any_pass_and_after_loading_is_what_was_told(folder, begin):
    ds = dataset(folder)
    first = saved(ds)
    taken(begin(ds), 2)
    state = saved(ds)
    assert state != first
    ds.load_state_dict(first)
    assert saved(ds) == first
    ds.load_state_dict(state)
    assert saved(ds) == state
    ds.set_epoch(0)
    assert saved(ds) == state, "the epoch that was restored keeps its place"
    ds.set_epoch(7)
    assert (saved(ds)["epoch"], saved(ds)["position"]) == (7, 0)


def test_the_state_is_of_the_latest_pass_whatever_kind_it_was(folder):
    ds = dataset(folder)
    (whole,) = epochs(folder, 1)
    taken(ds.device_iter(sharding("d")), 3)
    ds.set_epoch(0)
    taken(iter(ds), 1)
    assert numbers(resumed(folder, saved(ds))) == whole[1:]
    ds.set_epoch(0)
    taken(ds.device_iter(sharding("d")), 2)
    assert numbers(resumed(folder, saved(ds))) == whole[2:]


def test_a_pass_that_was_broken_off_and_dropped_can_still_be_saved(folder, begin):
    (whole,) = epochs(folder, 1)
    ds = dataset(folder)
    for i, _batch in enumerate(begin(ds)):
        if i == 1:
            break
    assert numbers(resumed(folder, saved(ds))) == whole[2:]


def test_what_kind_of_pass_goes_on_does_not_matter(folder):
    (whole,) = epochs(folder, 1)
    for first in HOW.values():
        for then in HOW.values():
            ds = dataset(folder)
            got = taken(first(ds), 2)
            assert got + numbers(then(resumed(folder, saved(ds)))) == whole


def test_more_ranks_and_another_batch_size_may_go_on(folder, begin):
    ds = dataset(folder, drop_last=False)
    seen = taken(begin(ds), 2)
    state = saved(ds)
    ranks = [
        resumed(folder, state, drop_last=False, rank=rank, world_size=2, batch_size=3) for rank in (0, 1)
    ]
    rest = [batch for ds in ranks for batch in numbers(ds)]
    assert sorted(sum(seen + rest, [])) == list(range(SAMPLES))


def test_grain_s_names_do_the_same(folder):
    (whole,) = epochs(folder, 1)
    ds = dataset(folder)
    taken(ds.device_iter(sharding("d")), 2)
    state = json.loads(json.dumps(ds.get_state()))
    ds = dataset(folder)
    ds.set_state(state)
    assert numbers(ds) == whole[2:]


def test_a_state_of_other_data_is_refused(folder):
    with pytest.raises(StateError, match="seed"):
        resumed(folder, saved(dataset(folder)), seed=4)


# -- and what went wrong --


def outcome(delivery):
    return type(delivery) if isinstance(delivery, Exception) else numbers([delivery])[0]


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("prefetch", [0, 2, 100])
def test_a_damaged_file_does_not_move_the_state(folder, tmp_path, batch_size, prefetch):
    """At every point the device passes have the state of a plain pass that has delivered the same."""
    options = {"batch_size": batch_size, "shuffle": False, "drop_last": False}
    damaged = damaged_copy(folder, tmp_path)
    plain, ahead = dataset(damaged, **options), dataset(damaged, **options)
    left, right = iter(plain), ahead.device_iter(sharding(), prefetch)
    while True:
        got = [outcome(next_or_error(batches)) for batches in (left, right)]
        assert got[0] == got[1]
        assert saved(ahead) == saved(plain)
        if got[0] is StopIteration:
            break
    assert (saved(ahead)["epoch"], saved(ahead)["position"]) == (1, 0)


def next_or_error(batches):
    try:
        return next(batches)
    except Exception as error:
        return error


def test_after_an_error_a_resumed_pass_begins_with_it(folder, tmp_path):
    ds = dataset(damaged_copy(folder, tmp_path), shuffle=False, drop_last=False)
    batches = ds.device_iter(sharding(), prefetch=100)
    next(batches)
    with pytest.raises(ChecksumError):
        next(batches)
    got = deliveries(resumed(tmp_path, saved(ds), shuffle=False, drop_last=False).device_iter())
    assert [outcome(each) for each in got] == [
        outcome(each) for each in (ChecksumError(""), *deliveries(batches))
    ]


def test_a_batch_that_could_not_be_split_is_not_lost(folder):
    ds = dataset(folder, drop_last=False)
    *batches, error = deliveries(ds.device_iter(sharding("d")))
    assert (len(batches), type(error)) == (BATCHES, ConfigError)
    ds = dataset(folder, drop_last=False)
    batches = ds.device_iter(sharding("d"))
    taken(batches, BATCHES)
    with pytest.raises(ConfigError):
        next(batches)
    (rest,) = resumed(folder, saved(ds), drop_last=False)
    assert len(rest) == SAMPLES % 4 and np.asarray(rest).shape[1:] == (16, 20)
