"""torchdata's StatefulDataLoader: saved at any step, restored in another process, as often as you like."""

import contextlib
import functools
import itertools
import json
import traceback

import pytest
from torchdata.stateful_dataloader import StatefulDataLoader

from dlio_fast.errors import ChecksumError, StateError
from dlio_fast.torch import DlioPyTorchDataset
from tests.frameworks.conftest import SAMPLES, damaged_copy, numbers

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

READY_MADE = None
"""The batch size of a loader of ready-made batches; these are of 4 samples."""


def fresh(folder, batch_size=READY_MADE, workers=0, *, state=None, dataset=None, **kwargs):
    """A new loader over a new data set, going on from a state as another process gets it."""
    options = {"batch_size": 4, "shuffle": True, **(dataset or {})}
    ds = DlioPyTorchDataset(data_folder=folder, **options)
    loader = StatefulDataLoader(
        ds.batches() if batch_size is READY_MADE else ds, batch_size=batch_size, num_workers=workers, **kwargs
    )
    if state is not None:
        loader.load_state_dict(json.loads(json.dumps(state)))
    return loader


def each(batches):
    return [numbers([batch]) for batch in batches]


def uninterrupted(make, epochs=3):
    """The batches of some epochs, and the states before, after each batch, and after the end of the first."""
    loader = make()
    states = [loader.state_dict()]
    first = []
    for batch in loader:
        first += each([batch])
        states.append(loader.state_dict())
    states.append(loader.state_dict())
    return [first, *(each(loader) for _ in range(epochs - 1))], states


KINDS = pytest.mark.parametrize("batch_size", [READY_MADE, 4, 3, 5], ids=["ready-made", "4", "3", "5"])
WORKERS = pytest.mark.parametrize("workers", [0, 1, 2, 3])


@KINDS
@WORKERS
def test_every_state_of_an_epoch_goes_on_with_the_next_batch_and_the_next_epoch(folder, batch_size, workers):
    make = functools.partial(fresh, folder, batch_size, workers)
    (first, second, third), states = uninterrupted(make)
    assert sorted(itertools.chain(*first)) == sorted(itertools.chain(*second)) == list(range(SAMPLES))
    for taken, state in enumerate(states):
        loader = make(state=state)
        if taken <= len(first):
            assert each(loader) == first[taken:]
            assert each(loader) == second
        else:
            assert each(loader) == second
            assert each(loader) == third


@KINDS
@WORKERS
@pytest.mark.parametrize("every", [1, 3])
def test_a_process_may_end_after_every_second_batch(folder, batch_size, workers, every):
    make = functools.partial(fresh, folder, batch_size, workers, snapshot_every_n_steps=every)
    epochs, (state, *_) = uninterrupted(make, 2)
    expected = list(itertools.chain(*epochs))
    got = []
    while len(got) < len(expected):
        loader = make(state=state)
        got += each(itertools.islice(loader, 2))
        state = loader.state_dict()
    assert got == expected


@pytest.mark.parametrize("every", [2, 4, 100])
@pytest.mark.parametrize("workers", [0, 2])
def test_states_are_exact_between_the_snapshots_of_the_workers_too(folder, workers, every):
    make = functools.partial(fresh, folder, 3, workers, snapshot_every_n_steps=every)
    (first, second, _), states = uninterrupted(make)
    for taken, state in enumerate(states[:-1]):
        loader = make(state=state)
        assert [each(loader), each(loader)] == [first[taken:], second]


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_that_are_started_afresh_restore_the_same(folder, method):
    make = functools.partial(fresh, folder, 3, 2)
    (first, second, _), states = uninterrupted(make)
    loader = make(state=states[3], multiprocessing_context=method, persistent_workers=True)
    assert each(itertools.islice(loader, 1)) == first[3:4]
    loader = make(state=loader.state_dict(), multiprocessing_context=method, persistent_workers=True)
    assert [each(loader), each(loader)] == [first[4:], second]


@pytest.mark.parametrize("batch_size", [READY_MADE, 3])
def test_persistent_workers_restore_at_any_step_and_go_on(folder, batch_size):
    make = functools.partial(fresh, folder, batch_size, 2, persistent_workers=True)
    (first, second, third), states = uninterrupted(make)
    for taken in (0, 1, len(first), len(first) + 1):
        loader = make(state=states[taken])
        rest = [first[taken:], second] if taken <= len(first) else [second, third]
        assert [each(loader), each(loader)] == rest
        again = make(state=loader.state_dict())
        following = (second, third)[taken > len(first)]
        assert each(again) == each(loader) != following


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_may_restore_its_own_state_of_before(folder, workers):
    loader = fresh(folder, READY_MADE, workers)
    running = iter(loader)
    next(running)
    state = loader.state_dict()
    rest, following = each(running), each(loader)
    for _ in range(2):
        loader.load_state_dict(state)
        assert [each(loader), each(loader)] == [rest, following]


@pytest.mark.parametrize("workers", [0, 2])
def test_setting_the_epoch_before_each_pass_changes_nothing(folder, workers):
    make = functools.partial(fresh, folder, READY_MADE, workers)
    (first, second, third), states = uninterrupted(make)
    loader = make(state=states[2])
    for epoch, expected in enumerate([first[2:], second, third]):
        loader.dataset.set_epoch(epoch)
        assert each(loader) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"drop_last": True},
        {"pad": True, "rank": 1, "world_size": 2},
        {"shard_strategy": "contiguous", "rank": 1, "world_size": 2},
        {"shard_strategy": "hash", "rank": 1, "world_size": 3, "drop_last": True},
        {"shuffle": "files"},
    ],
    ids=lambda options: "-".join(map(str, options)),
)
@pytest.mark.parametrize("workers", [0, 2])
def test_every_way_to_share_out_restores_at_any_step(folder, workers, options):
    make = functools.partial(fresh, folder, 3, workers, dataset=options)
    (first, second), states = uninterrupted(make, 2)
    for taken, state in enumerate(states[:-1]):
        loader = make(state=state)
        assert [each(loader), each(loader)] == [first[taken:], second]


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_that_were_raised_before_the_state_do_not_come_again_within_its_batch(
    folder, tmp_path, workers
):
    damaged_copy(folder, tmp_path)
    make = functools.partial(fresh, tmp_path, 1, workers, dataset={"batch_size": 5})
    for taken in range(SAMPLES - 3):
        loader = make()
        running = iter(loader)
        got = list(itertools.islice(good_ones(running), taken))
        again = make(state=loader.state_dict())
        got += good_ones(iter(again))
        assert sorted(got) == [i for i in range(SAMPLES) if i not in (6, 7, 8)]


def good_ones(running):
    """The numbers of single samples, the errors left out."""
    while True:
        try:
            yield from numbers([next(running)])
        except StopIteration:
            return
        except ChecksumError:
            continue


# -- what does not fit --


@contextlib.contextmanager
def refused(match):
    """The loader that raises ends with its frames: left to the collector its workers take 5 s each to end."""
    with pytest.raises(StateError, match=match) as caught:
        yield
    traceback.clear_frames(caught.tb)


@pytest.mark.parametrize("before, after", [(2, 3), (3, 2), (2, 1)])
@pytest.mark.parametrize("batch_size", [READY_MADE, 3])
def test_another_number_of_workers_is_refused(folder, before, after, batch_size):
    loader = fresh(folder, batch_size, before)
    next(iter(loader))
    with refused(rf"number of workers .* worker \d of {before}"):
        each(fresh(folder, batch_size, after, state=loader.state_dict()))


@pytest.mark.parametrize("change", [{"batch_size": 2}, {"rank": 0, "world_size": 2}])
def test_workers_go_on_only_with_the_batches_that_they_have_begun(folder, change):
    loader = fresh(folder, READY_MADE, 2)
    next(iter(loader))
    with refused(f"{list(change)[-1]} .*num_workers=0"):
        each(fresh(folder, READY_MADE, 2, state=loader.state_dict(), dataset=change))


def test_without_workers_another_batch_size_goes_on(folder):
    loader = fresh(folder)
    running = iter(loader)
    got = each(itertools.islice(running, 2))
    state = loader.state_dict()
    got += each(fresh(folder, state=state, dataset={"batch_size": 3}))
    assert [len(batch) for batch in got] == [4, 4, 3, 3, 3, 3, 1]
    assert list(itertools.chain(*got)) == list(itertools.chain(*each(fresh(folder))))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("change", [{"seed": 4}, {"shuffle": False}])
def test_another_order_is_refused(folder, workers, change):
    loader = fresh(folder, READY_MADE, workers)
    next(iter(loader))
    with refused(f"saved with {list(change)[0]}"):
        each(fresh(folder, READY_MADE, workers, state=loader.state_dict(), dataset=change))


def test_the_state_of_something_else_is_refused(folder):
    with refused("no state of a pass"):
        iter(fresh(folder).dataset).load_state_dict({"samples": 3})
