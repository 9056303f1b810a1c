"""States of PyTorch data sets and loaders: the exact next batch or sample, whatever has changed meanwhile."""

import itertools
import json

import pytest
from torch.utils.data import DataLoader

from dlio_fast.errors import ChecksumError, StateError
from dlio_fast.torch import DlioPyTorchDataLoader, DlioPyTorchDataset
from tests.frameworks.conftest import SAMPLES, damaged_copy, numbers

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def dataset(folder, **options):
    return DlioPyTorchDataset(data_folder=folder, **{"batch_size": 4, "shuffle": True, "seed": 3, **options})


def saved(state):
    """The state as another process gets it."""
    return json.loads(json.dumps(state))


def batches_of(ds):
    return ds.batches()


def samples_of(ds):
    return ([x] for x in ds)


def loader_of(ds):
    return DlioPyTorchDataLoader(ds.batches(), batch_size=None)


WAYS = [batches_of, samples_of, loader_of]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_fresh_data_set_goes_on_after_what_was_delivered(folder, way, drop_last):
    whole = dataset(folder, drop_last=drop_last)
    epochs = [numbers(way(whole)) for _ in range(3)]
    first = dataset(folder, drop_last=drop_last)
    states = [(0, first.state_dict())]
    for batch in way(first):
        states.append((states[-1][0] + len(batch), first.state_dict()))
    for delivered, state in states:
        if way is samples_of and drop_last and delivered % 4:
            continue  # full batches from there on
        ds = dataset(folder, drop_last=drop_last)
        ds.load_state_dict(saved(state))
        assert [numbers(way(ds)) for _ in range(3)] == [epochs[0][delivered:], *epochs[1:]]


@pytest.mark.parametrize("way", WAYS)
def test_once_the_pass_has_ended_the_next_epoch_begins(folder, way):
    first, second = dataset(folder), dataset(folder)
    first.set_epoch(4)
    numbers(way(first))
    second.load_state_dict(saved(first.state_dict()))
    assert numbers(way(second)) == numbers(way(first))


def test_the_loader_has_the_state_of_its_data_set(folder):
    first, second = (
        DlioPyTorchDataLoader.from_uri(folder, batch_size=4, shuffle=True, num_workers=0) for _ in range(2)
    )
    running = iter(first)
    next(running)
    assert first.state_dict() == first.source.state_dict() == first.dataset.state_dict()
    second.load_state_dict(saved(first.state_dict()))
    assert numbers(second) == numbers(running)


def test_samples_may_be_put_together_in_batches_of_another_size(folder):
    ds = dataset(folder)
    epochs = [numbers(ds.batches()) for _ in range(2)]
    for taken in range(5):
        first, second = dataset(folder), dataset(folder)
        got = numbers(itertools.islice(DataLoader(first, batch_size=5), taken))
        second.load_state_dict(saved(first.state_dict()))
        got += numbers(DataLoader(second, batch_size=5))
        assert got == epochs[0]
        assert numbers(DataLoader(second, batch_size=5)) == epochs[1]


@pytest.mark.parametrize("way", WAYS)
def test_after_many_rounds_of_saving_and_restoring_nothing_is_lost_or_repeated(folder, way):
    whole = dataset(folder)
    expected = [i for _ in range(3) for i in numbers(way(whole))]
    state, got = saved(dataset(folder).state_dict()), []
    while len(got) < len(expected):
        ds = dataset(folder)
        ds.load_state_dict(state)
        got += numbers(itertools.islice(way(ds), 2))
        state = saved(ds.state_dict())
    assert got == expected


@pytest.mark.parametrize("way", WAYS)
def test_a_state_of_some_batches_before_is_to_be_had(folder, way):
    ds = dataset(folder)
    epoch = numbers(way(ds))
    ds.set_epoch(0)
    running = iter(way(ds))
    numbers(itertools.islice(running, 14))
    for batches in range(4):
        other = dataset(folder)
        other.load_state_dict(ds.state_dict(batches))
        assert numbers(way(other)) == epoch[4 * batches :]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "before, after", [((1, 4), (1, 3)), ((2, 3), (1, 4)), ((2, 2), (3, 1)), ((3, 1), (2, 5))]
)
def test_the_number_of_ranks_and_the_batch_size_may_change_in_mid_epoch(folder, way, before, after):
    """(ranks, batch size): what the first ranks have got and what the second ones get is each sample once."""
    (ranks, batch_size), (other_ranks, other_size) = before, after
    got, states = [], []
    for rank in range(ranks):
        ds = dataset(folder, rank=rank, world_size=ranks, batch_size=batch_size)
        got += numbers(itertools.islice(way(ds), 3))
        states.append(saved(ds.state_dict()))
    assert all(state == states[0] for state in states)
    for rank in range(other_ranks):
        ds = dataset(folder, rank=rank, world_size=other_ranks, batch_size=other_size)
        ds.load_state_dict(states[0])
        got += numbers(way(ds))
    assert sorted(got) == list(range(SAMPLES))


def test_the_rest_of_an_epoch_may_be_read_by_workers(folder):
    ds = dataset(folder)
    epochs = [numbers(ds.batches()) for _ in range(3)]
    first, second = dataset(folder), dataset(folder)
    got = numbers(itertools.islice(first.batches(), 2))
    second.load_state_dict(saved(first.state_dict()))
    loader = DataLoader(second.batches(), batch_size=None, num_workers=2, persistent_workers=True)
    assert got + numbers(loader) == epochs[0]
    assert [numbers(loader), numbers(loader)] == epochs[1:]


# -- with set_epoch --


def test_setting_the_epoch_that_was_restored_keeps_its_position(folder):
    first = dataset(folder)
    first.set_epoch(2)
    got = numbers(itertools.islice(first.batches(), 2))
    state = saved(first.state_dict())
    second = dataset(folder)
    second.load_state_dict(state)
    for epoch in (2, 3):
        second.set_epoch(epoch)
        got += numbers(second.batches())
    second.set_epoch(2)
    again = numbers(second.batches())
    assert got == again + numbers(second.batches())


def test_setting_another_epoch_than_the_one_restored_gives_all_of_it(folder):
    first, second = dataset(folder), dataset(folder)
    next(iter(first.batches()))
    second.load_state_dict(saved(first.state_dict()))
    second.set_epoch(5)
    assert len(numbers(second.batches())) == SAMPLES


# -- what cannot be known --


def test_what_workers_have_delivered_is_not_known_here(folder):
    ds = dataset(folder)
    loader = DlioPyTorchDataLoader(ds.batches(), batch_size=None, num_workers=2)
    running = iter(loader)
    next(running)
    for state_dict in (ds.state_dict, ds.get_state, loader.state_dict):
        with pytest.raises(StateError, match=r"worker processes.*StatefulDataLoader.*num_workers=0"):
            state_dict()
    numbers(running)
    with pytest.raises(StateError, match="worker processes"):
        ds.state_dict()


def test_after_a_pass_of_workers_the_epoch_set_or_restored_is_known(folder):
    ds = dataset(folder)
    numbers(DataLoader(ds.batches(), batch_size=None, num_workers=2))
    ds.set_epoch(1)
    other = dataset(folder)
    other.load_state_dict(saved(ds.state_dict()))
    assert numbers(other.batches()) == numbers(ds.batches())


@pytest.mark.parametrize(
    "change", [{"seed": 4}, {"shuffle": False}, {"shuffle": "files"}, {"split": "valid"}]
)
def test_a_state_of_other_data_or_another_order_is_refused(folder, tmp_path, change):
    (tmp_path / "train").symlink_to(folder / "train")
    (tmp_path / "valid").mkdir()
    with pytest.raises(StateError):
        dataset(tmp_path, **change).load_state_dict(dataset(tmp_path).state_dict())


# -- with files that cannot be read, and with transforms --


def all_samples(ds, errors=()):
    """The samples of a pass one by one, the errors left out."""
    running = iter(ds)
    while True:
        try:
            yield int(next(running)[0, 0])
        except StopIteration:
            return
        except errors:
            continue


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_samples_go_on_after_a_file_that_cannot_be_read(folder, tmp_path, on_error):
    damaged_copy(folder, tmp_path)
    good = [i for i in range(SAMPLES) if i not in (6, 7, 8)]
    for taken in range(len(good)):
        first, second = (dataset(tmp_path, on_error=on_error, batch_size=5) for _ in range(2))
        got = list(itertools.islice(all_samples(first, ChecksumError), taken))
        second.load_state_dict(saved(first.state_dict()))
        got += all_samples(second, ChecksumError)
        assert sorted(got) == good


def first_two(batch):
    return {name: values[:2] for name, values in batch.items()}


def test_a_batch_that_a_transform_has_shortened_cannot_be_entered(folder):
    ds = dataset(folder, transform=first_two)
    epoch = numbers(dataset(folder, transform=first_two).batches())
    running = iter(ds)
    for taken in (1, 3):
        next(running)
        with pytest.raises(StateError, match=r"the transform .*batches\(\)"):
            ds.state_dict()
        next(running)
        other = dataset(folder, transform=first_two)
        other.load_state_dict(ds.state_dict())
        assert numbers(other.batches()) == epoch[taken + 1 :]


def test_a_dataloader_s_short_last_batch_of_samples_ends_the_epoch(folder):
    """It has asked for one sample more by then: the state says that the next epoch is to come, whole."""
    first, whole = dataset(folder), dataset(folder)
    whole.set_epoch(1)
    for _batch in itertools.islice(DataLoader(first, batch_size=4), -(-SAMPLES // 4)):
        state = saved(first.state_dict())
    assert (state["epoch"], state["position"]) == (1, 0)
    second = dataset(folder)
    second.load_state_dict(state)
    second.set_epoch(state["epoch"])
    assert numbers(DataLoader(second, batch_size=4)) == numbers(DataLoader(whole, batch_size=4))
