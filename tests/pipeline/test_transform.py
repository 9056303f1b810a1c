"""The user's transform: on threads, in order, timed, and its errors where they belong."""

import threading

import numpy as np
import pytest

import dlio_fast as df
from tests.pipeline.files import numbered, write_files

N = 20


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transform")
    write_files(folder, numbered(N, (2, 3)), y=np.arange(N))
    return df.Dataset.from_files(folder)


def loader(dataset, transform, **options):
    options = {"batch_size": 3, "shuffle": True, "seed": 5, "transform_threads": 3, **options}
    return df.Loader(dataset, transform=transform, **options)


def plain(dataset, **options):
    return list(df.Loader(dataset, **{"batch_size": 3, "shuffle": True, "seed": 5, **options}))


def doubled(fields):
    return {"x": fields["x"] * 2, "y": fields["y"]}


@pytest.mark.parametrize("per", ["batch", "sample"])
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_batches_come_in_the_order_without_it(dataset, per, threads):
    with loader(dataset, doubled, transform_per=per, transform_threads=threads) as transformed:
        for _ in range(2):
            got = list(transformed)
    for batch, expected in zip(got, plain_epoch(dataset, 1), strict=True):
        assert np.array_equal(batch["x"], expected["x"] * 2) and np.array_equal(batch["y"], expected["y"])


def plain_epoch(dataset, epoch):
    with df.Loader(dataset, batch_size=3, shuffle=True, seed=5) as one:
        one.set_epoch(epoch)
        return list(one)


def test_order_is_kept_whichever_batch_is_ready_first(dataset):
    """The first batch is held back until a later one has been transformed."""
    later, lock, calls = threading.Event(), threading.Lock(), []

    def transform(batch):
        with lock:
            calls.append(None)
            first = len(calls) == 1
        if first:
            assert later.wait(30)
        else:
            later.set()
        return batch

    got = [batch["y"].tolist() for batch in loader(dataset, transform)]
    assert got == [batch["y"].tolist() for batch in plain(dataset)]


def test_it_may_add_and_drop_fields_and_change_shapes(dataset):
    def transform(sample):
        return {"flat": sample["x"].ravel(), "mean": sample["x"].mean(dtype="f4")}

    for batch, expected in zip(
        loader(dataset, transform, transform_per="sample"), plain(dataset), strict=True
    ):
        assert set(batch) == {"flat", "mean"}
        assert np.array_equal(batch["flat"], expected["x"].reshape(len(expected["x"]), 6))
        assert batch["mean"].dtype == np.float32
        assert np.allclose(batch["mean"], expected["x"].mean(axis=(1, 2)))


def test_transformed_samples_are_put_together_in_aligned_memory_of_the_pool(dataset):
    with loader(dataset, doubled, transform_per="sample") as transformed:
        batches = list(transformed)
        assert all(batch["x"].ctypes.data % 64 == 0 and batch["x"].flags.writeable for batch in batches)
        assert transformed.stats()["pool"]["lent"] == 2 * len(batches)


def test_samples_that_come_to_differ_in_shape_are_delivered_one_by_one(dataset):
    def cut(sample):
        return {"x": sample["x"].ravel()[: 1 + int(sample["y"]) % 3]}

    for batch, expected in zip(loader(dataset, cut, transform_per="sample"), plain(dataset), strict=True):
        shapes = [(1 + int(y) % 3,) for y in expected["y"]]
        if len(set(shapes)) > 1:
            assert isinstance(batch["x"], list)
        assert [x.shape for x in batch["x"]] == shapes


def test_an_error_of_its_own_is_raised_at_its_batch_and_the_others_come(dataset):
    def refuse(batch):
        if 7 in batch["y"]:
            raise ZeroDivisionError("seven")
        return batch

    batches, got, failed = iter(loader(dataset, refuse)), [], []
    while len(got) + len(failed) < 7:
        try:
            got.append(next(batches)["y"].tolist())
        except ZeroDivisionError as error:
            assert error.__notes__ == [f"in the transform of batch {len(got)} of the pass"]
            failed.append(len(got))
    expected = [batch["y"].tolist() for batch in plain(dataset)]
    at = next(i for i, ys in enumerate(expected) if 7 in ys)
    assert failed == [at] and got == expected[:at] + expected[at + 1 :]
    with pytest.raises(StopIteration):
        next(batches)


def test_a_bad_file_is_raised_at_its_batch(tmp_path):
    paths = write_files(tmp_path, numbered(6, (2,)))
    with open(paths[3], "r+b") as file:
        file.truncate(100)
    batches = iter(loader(df.Dataset.from_files(tmp_path), doubled_x, shuffle=False, batch_size=2))
    assert next(batches)["x"].tolist() == [[0, 2], [4, 6]]
    with pytest.raises(df.DlioFastError, match="f003.npz"):
        next(batches)
    assert next(batches)["x"].tolist() == [[8, 10]]
    assert next(batches)["x"].tolist() == [[16, 18], [20, 22]]


def doubled_x(fields):
    return {"x": fields["x"] * 2}


@pytest.mark.parametrize("result", [None, {}, [1], 3])
def test_what_is_no_mapping_of_fields_is_refused(dataset, result):
    with pytest.raises(TypeError, match="returns a mapping of fields"):
        next(iter(loader(dataset, lambda batch: result)))


@pytest.mark.parametrize("wrong", [{"transform": 3}, {"transform_per": "epoch"}, {"transform_threads": 0}])
def test_impossible_settings_are_refused_at_once(dataset, wrong):
    with pytest.raises((TypeError, ValueError), match=next(iter(wrong))):
        df.Loader(dataset, **{"transform": doubled, **wrong})


def test_its_time_is_counted(dataset):
    with loader(dataset, doubled) as transformed:
        assert transformed.stats()["transform_seconds"] == 0
        count = len(list(transformed))
        stats = transformed.stats()
        assert stats["transform_seconds"] > 0 and stats["transform_threads"] == 3
        assert (stats["batches"], stats["samples"]) == (count, N)
    assert plain_stats(dataset)["transform_seconds"] == 0


def plain_stats(dataset):
    with df.Loader(dataset) as one:
        list(one)
        return one.stats()


def test_no_more_batches_are_held_than_it_has_threads_and_one(dataset):
    held, most, lock = 0, 0, threading.Lock()

    def transform(batch):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return batch

    with loader(dataset, transform, batch_size=1, transform_threads=2) as transformed:
        for _ in transformed:
            with lock:
                held -= 1
    assert 1 <= most <= 2 + 1 + 1  # what is being handed over counts until the consumer has it


def test_a_state_counts_what_the_consumer_got_not_what_was_transformed(dataset):
    with loader(dataset, doubled) as first:
        batches = iter(first)
        next(batches)
        state = first.state_dict()
        rest = [batch["y"].tolist() for batch in batches]
    with loader(dataset, doubled) as second:
        second.load_state_dict(state)
        assert [batch["y"].tolist() for batch in second] == rest


def test_no_thread_is_there_before_it_is_needed_and_none_after_the_pass(dataset):
    before = threading.active_count()
    transformed = loader(dataset, doubled)
    assert threading.active_count() == before
    batches = iter(transformed)
    next(batches)
    assert before < threading.active_count() <= before + 3
    for _ in batches:
        pass
    assert threading.active_count() == before
    next(iter(transformed))  # dropped at once
    transformed.close()
    assert threading.active_count() == before
