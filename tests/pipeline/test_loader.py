"""The loader: epochs, shares, settings, counters, errors, and what ends it."""

import os
import pickle
import threading

import pytest

import dlio_fast as df
from dlio_fast.errors import ClosedError
from dlio_fast.pipeline import Sampler

from .files import numbered, write_files


@pytest.fixture
def dataset(tmp_path):
    """Twenty samples of a single number, its own index."""
    write_files(tmp_path / "data", numbered(20, ()))
    return df.Dataset.from_files(tmp_path / "data")


def ids(batches) -> list[int]:
    return [int(x) for batch in batches for x in batch["x"]]


def order(epoch: int, seed: int = 0, **sampler) -> list[int]:
    return Sampler(20, True, seed, **sampler).ids(epoch, 0, 20).tolist()


# -- epochs --


def test_each_pass_is_the_next_epoch(dataset):
    loader = df.Loader(dataset, shuffle=True)
    assert [ids(loader) for _ in range(3)] == [order(0), order(1), order(2)]


def test_an_epoch_can_be_set(dataset):
    loader = df.Loader(dataset, shuffle=True)
    loader.set_epoch(7)
    assert ids(loader) == order(7)
    assert ids(loader) == order(8)
    loader.set_epoch(7)
    assert ids(loader) == order(7)


def test_a_broken_pass_counts_as_one(dataset):
    loader = df.Loader(dataset, shuffle=True, batch_size=4)
    for epoch in range(5):
        for batch in loader:
            assert ids([batch]) == order(epoch)[:4]
            break
    assert ids(loader) == order(5)


def test_two_passes_may_go_on_side_by_side(dataset):
    loader = df.Loader(dataset, shuffle=True, batch_size=3, prefetch_bytes=100)
    first, second = iter(loader), iter(loader)
    got = [], []
    for a, b in zip(first, second, strict=True):
        got[0].append(a)
        got[1].append(b)
    assert (ids(got[0]), ids(got[1])) == (order(0), order(1))
    assert loader.stats()["samples"] == 40


def test_a_pass_stays_at_its_end(dataset):
    batches = iter(df.Loader(dataset, batch_size=20))
    next(batches)
    for _ in range(3):
        with pytest.raises(StopIteration):
            next(batches)


# -- shares --


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 20, 21, 1000])
@pytest.mark.parametrize("world_size", [1, 3, 20, 32])
def test_its_length_is_the_number_of_batches_of_this_rank(dataset, batch_size, drop_last, world_size):
    seen = []
    for rank in range(world_size):
        loader = df.Loader(
            dataset, batch_size=batch_size, drop_last=drop_last, rank=rank, world_size=world_size
        )
        batches = list(loader)
        assert len(loader) == len(batches)
        assert all(len(batch["x"]) == batch_size for batch in batches[: None if drop_last else -1])
        seen += ids(batches)
    assert len(set(seen)) == len(seen)
    assert drop_last or sorted(seen) == list(range(20))


def test_workers_share_a_pass_batch_by_batch(dataset):
    loader = df.Loader(dataset, batch_size=3, shuffle=True)
    parts = []
    for worker in range(3):
        loader.set_epoch(4)
        parts.append([ids([batch]) for batch in loader.batches_from(worker, 3)])
    merged = sum((parts[i % 3][i // 3] for i in range(len(loader))), [])
    assert merged == order(4)


def test_a_data_set_without_files_has_no_batches(tmp_path):
    loader = df.Loader(df.Dataset.from_files(tmp_path))
    assert len(loader) == 0 and list(loader) == []


# -- settings --


def test_without_a_config_the_defaults_are_plain(dataset):
    stats = df.Loader(dataset).stats()
    wanted = {
        "epoch": -1, "batch_size": 1, "shuffle": False, "seed": 0, "drop_last": False, "rank": 0,
        "world_size": 1, "verify": True, "direct": False,
    }  # fmt: skip
    assert wanted.items() <= stats.items()
    assert stats["threads"] >= 1 and stats["prefetch_bytes"] >= 1 << 20


def test_the_config_gives_the_defaults_and_arguments_win(tmp_path):
    write_files(tmp_path / "train", numbered(6, (3,)))
    dataset = df.Dataset(
        {
            "dataset": {"data_folder": str(tmp_path)},
            "reader": {"batch_size": 4, "sample_shuffle": "seed", "drop_last": True},
            "train": {"seed": 77, "seed_change_epoch": False},
        }
    )
    loader = df.Loader(dataset)
    assert (loader.batch_size, loader.shuffle, loader.seed, loader.drop_last) == (4, "global", 77, True)
    expected = Sampler(18, True, 77, reshuffle=False).ids(0, 0, 16).tolist()
    for _ in range(2):  # seed_change_epoch: one order for all epochs
        assert ids(loader) == expected
    other = df.Loader(dataset, batch_size=5, shuffle=False, seed=1, drop_last=False)
    assert (other.batch_size, other.shuffle, other.seed, other.drop_last) == (5, False, 1, False)
    assert ids(other) == list(range(18))


@pytest.mark.parametrize(
    "reader, shuffle",
    [
        ({}, False),
        ({"file_shuffle": "seed"}, "files"),
        ({"sample_shuffle": "random"}, "global"),
        ({"file_shuffle": False, "sample_shuffle": "off"}, False),
        ({"shuffle": True}, True),
        ({"sample_shuffle": "seed", "shuffle": False}, False),
    ],
)
def test_shuffling_follows_the_config(tmp_path, reader, shuffle):
    config = {"dataset": {"data_folder": str(tmp_path)}, "reader": reader}
    assert df.Loader(df.Dataset(config)).shuffle == shuffle


def test_the_readers_seed_wins_over_the_trainings(tmp_path):
    config = {"dataset": {"data_folder": str(tmp_path)}, "train": {"seed": 3}}
    assert df.Loader(df.Dataset(config)).seed == 3
    assert df.Loader(df.Dataset(config | {"reader": {"seed": 4}})).seed == 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0}, {"batch_size": -1}, {"threads": 0}, {"rank": 1}, {"rank": -1}, {"world_size": 0},
        {"prefetch_bytes": -1}, {"on_error": "ignore"},
    ],
)  # fmt: skip
def test_impossible_settings_are_refused_at_once(dataset, wrong):
    with pytest.raises(ValueError):
        df.Loader(dataset, **wrong)


def test_constructing_touches_no_storage():
    loader = df.Loader(df.Dataset({"dataset": {"data_folder": "/nowhere"}}))
    with pytest.raises(FileNotFoundError):
        len(loader)


# -- counters --


@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_the_counters_say_what_was_done(tmp_path, scheme):
    paths = write_files(tmp_path, numbered(10, (100, 50), "f4"))
    size = sum(os.path.getsize(path) for path in paths)
    loader = df.Loader(df.Dataset.from_files(f"{scheme}{tmp_path}"), batch_size=4, threads=2)
    for passes in (1, 2):
        assert len(list(loader)) == 3
        stats = loader.stats()
        assert (stats["batches"], stats["samples"]) == (3 * passes, 10 * passes)
        assert stats["files"] == 10 * passes and stats["skipped_samples"] == 0
        assert 10 * 20_000 * passes <= stats["bytes_read"] <= (size + 10 * 8192) * passes
        assert stats["reads"] >= 10 * passes
        assert sum(stats["latency_histogram"]) == stats["reads"]
        assert stats["epoch"] == passes - 1 and stats["stall_seconds"] >= 0
        assert 4 * 20_000 <= stats["peak_bytes_in_flight"] <= stats["prefetch_bytes"]
    assert (stats["threads"], stats["direct"]) == (2, bool(scheme))
    assert bool(stats["direct_bytes"]) is (bool(scheme) and not stats["fallbacks"])
    assert (stats["fallback_reason"] is None) is (stats["fallbacks"] == 0)


def test_the_counters_run_on_during_a_pass_and_stay_after_it(dataset):
    loader = df.Loader(dataset, batch_size=5)
    batches = iter(loader)
    next(batches)
    assert loader.stats()["samples"] == 5
    list(batches)
    del batches
    assert loader.stats()["samples"] == 20
    loader.close()
    assert loader.stats()["samples"] == 20


# -- errors --


@pytest.fixture
def damaged(tmp_path):
    """Twelve files; those of samples 3, 4 and 8 are no archives, that of 10 is missing."""
    paths = write_files(tmp_path / "damaged", numbered(12, ()))
    for i in (3, 4, 8):
        with open(paths[i], "wb") as file:
            file.write(b"garbage" * 100)
    os.unlink(paths[10])
    return df.Dataset.from_files(paths)


GOOD = [0, 1, 2, 5, 6, 7, 9, 11]


def test_an_error_is_raised_for_each_bad_file_and_the_rest_is_delivered(damaged):
    batches, got, errors = iter(df.Loader(damaged, batch_size=4)), [], []
    while True:
        try:
            got += ids([next(batches)])
        except StopIteration:
            break
        except df.DlioFastError as error:
            errors.append(str(error))
    assert got == GOOD
    assert [name for error in errors for name in ("003", "004", "008", "010") if f"f{name}.npz" in error] == [
        "003", "004", "008", "010",
    ]  # fmt: skip


def test_bad_files_can_be_skipped_and_are_counted_and_logged(damaged, caplog):
    loader = df.Loader(damaged, batch_size=4, on_error="skip")
    assert ids(loader) == GOOD
    stats = loader.stats()
    assert (stats["samples"], stats["skipped_samples"]) == (8, 4)
    assert (
        sum("skipped" in record.message and record.levelname == "WARNING" for record in caplog.records) == 4
    )


def test_a_batch_of_nothing_but_bad_files_is_left_out(damaged):
    sizes = [len(batch["x"]) for batch in df.Loader(damaged, batch_size=1, on_error="skip")]
    assert sizes == [1] * 8


def test_every_sample_of_a_bad_file_counts(tmp_path):
    paths = write_files(tmp_path, numbered(3, (5,)))
    os.truncate(paths[1], 10)
    loader = df.Loader(
        df.Dataset.from_files(paths, sample_axis=0), batch_size=4, shuffle=True, on_error="skip"
    )
    assert sorted(ids(loader)) == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14]
    assert loader.stats()["skipped_samples"] == 5


# -- ends --


def test_a_closed_loader_says_so(dataset):
    loader = df.Loader(dataset, batch_size=2)
    batches = iter(loader)
    kept = next(batches)
    loader.close()
    loader.close()
    with pytest.raises(ClosedError):
        next(batches)
    with pytest.raises(ClosedError, match="the loader is closed"):
        iter(loader)
    assert ids([kept]) == [0, 1]


def test_it_is_a_context_manager(dataset):
    with df.Loader(dataset, batch_size=5) as loader:
        assert ids(loader) == list(range(20))
    with pytest.raises(ClosedError):
        iter(loader)


def test_threads_exist_only_while_a_pass_goes_on(dataset):
    def threads():
        return len(os.listdir("/proc/self/task"))

    before = threads()
    loader = df.Loader(dataset, batch_size=2, threads=4)
    assert len(loader) == 10 and threads() == before
    batches = iter(loader)
    next(batches)
    assert before < threads() <= before + 4
    list(batches)
    assert threads() == before
    for _ in loader:
        break
    assert threads() == before
    unfinished = iter(loader)
    next(unfinished)
    loader.close()
    assert threads() == before


@pytest.mark.parametrize("used", [False, True])
def test_it_can_be_pickled(dataset, used):
    loader = df.Loader(dataset, batch_size=3, shuffle=True, seed=5, threads=2)
    if used:
        next(iter(loader))
    copy = pickle.loads(pickle.dumps(loader))
    assert ids(copy) == order(1 if used else 0, seed=5)
    assert copy.stats()["threads"] == 2


@pytest.mark.parametrize("used", [False, True])
def test_it_works_in_a_forked_child(dataset, used):
    loader = df.Loader(dataset, batch_size=3, shuffle=True)
    held = iter(loader) if used else None
    if used:
        next(held)
        dataset[0]
    child = os.fork()
    if child == 0:
        right = False
        try:
            loader.set_epoch(3)
            right = ids(loader) == order(3) and int(dataset[5]["x"]) == 5
        finally:
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    if used:
        assert ids(held) == order(0)[3:]


def test_threads_may_share_a_pass(tmp_path):
    """Each batch goes to one of them, whole."""
    write_files(tmp_path, numbered(200, (50,)))
    for _ in range(5):
        batches = iter(df.Loader(df.Dataset.from_files(tmp_path), batch_size=3, threads=3))
        got = []
        threads = [threading.Thread(target=lambda: got.extend(batches)) for _ in range(4)]  # noqa: B023
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(int(x[0]) for batch in got for x in batch["x"]) == list(range(0, 10_000, 50))


@pytest.mark.parametrize("wrong", [-1, 2**64, 1.5, "1", None])
def test_an_epoch_is_a_number_from_0_on(dataset, wrong):
    for shuffle in (False, True):
        with pytest.raises((ValueError, TypeError)):
            df.Loader(dataset, shuffle=shuffle).set_epoch(wrong)
