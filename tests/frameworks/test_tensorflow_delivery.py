"""DlioTensorFlowDataset: resuming, ragged samples, and what goes wrong."""

import json
import pickle

import numpy as np
import pytest
import tensorflow as tf

from dlio_fast.errors import DataError, DlioFastError, StateError
from dlio_fast.tensorflow import DlioTensorFlowDataset
from tests.frameworks.conftest import RAGGED_SIDES, SAMPLES, payload, tasks, tasks_come_down_to
from tests.frameworks.tf_support import dataset, numbers

SHUFFLED = {"shuffle": True, "seed": 5, "batch_size": 2}


@pytest.fixture(params=["itself", "create_dataset"])
def iterated(request):
    """The two ways to the batches."""
    return iter if request.param == "itself" else lambda ds: iter(ds.create_dataset())


def resumed(folder, state, **options):
    ds = dataset(folder, **SHUFFLED, **options)
    ds.load_state_dict(json.loads(json.dumps(state)))
    return ds


def numbers_of_epoch(folder, epoch):
    ds = dataset(folder, **SHUFFLED)
    ds.set_epoch(epoch)
    return numbers(ds)


# -- resuming --


@pytest.mark.parametrize("taken", range(11))
def test_a_later_data_set_goes_on_with_the_exact_next_batch(folder, taken):
    expected = numbers(dataset(folder, **SHUFFLED))
    ds = dataset(folder, **SHUFFLED)
    batches = iter(ds)
    before = numbers(next(batches) for _ in range(taken))
    assert before + numbers(resumed(folder, ds.state_dict())) == expected


@pytest.mark.parametrize("taken", [0, 1, 5, 10])
def test_batches_that_tf_data_took_ahead_are_not_lost(folder, taken):
    expected = numbers(dataset(folder, **SHUFFLED))
    ds = dataset(folder, prefetch_buffer_size=4, **SHUFFLED)
    batches = iter(ds.create_dataset())
    before = numbers(next(batches) for _ in range(taken))
    state = ds.state_dict(batches=taken)
    assert before + numbers(resumed(folder, state).create_dataset()) == expected


def test_of_what_tf_data_took_ahead_the_number_must_be_told(folder):
    ds = dataset(folder, **SHUFFLED)
    next(iter(ds.create_dataset()))
    with pytest.raises(StateError, match=r"state_dict\(batches=\.\.\.\)"):
        ds.state_dict()
    with pytest.raises(StateError, match="12 batches cannot have come"):
        ds.state_dict(batches=12)


def test_resuming_twice_in_a_row_loses_and_repeats_nothing(folder):
    expected = numbers(dataset(folder, **SHUFFLED))
    got, state = [], dataset(folder, **SHUFFLED).state_dict()
    for taken in (3, 4):
        ds = resumed(folder, state)
        batches = iter(ds.create_dataset())
        got += numbers(next(batches) for _ in range(taken))
        state = ds.state_dict(batches=taken)
    assert resumed(folder, state).state_dict() == state
    assert got + numbers(resumed(folder, state).create_dataset()) == expected


def test_resuming_from_a_repeated_data_set_finds_the_epoch(folder):
    expected = [numbers_of_epoch(folder, epoch) for epoch in range(3)]
    ds = dataset(folder, repeat=3, **SHUFFLED)
    batches = iter(ds.create_dataset())
    before = numbers(next(batches) for _ in range(13))
    rest = resumed(folder, ds.state_dict(batches=13))
    assert before == expected[0] + expected[1][:2]
    assert numbers(rest.create_dataset()) == expected[1][2:]
    assert numbers(rest.create_dataset()) == expected[2]


def test_the_state_after_the_end_is_the_next_epoch_s_beginning(folder, iterated):
    ds = dataset(folder, **SHUFFLED)
    taken = len(list(iterated(ds)))
    state = ds.state_dict() if iterated is iter else ds.state_dict(batches=taken)
    assert numbers(resumed(folder, state)) == numbers_of_epoch(folder, 1)


def test_a_resumed_pass_may_have_other_ranks_and_another_batch_size(folder):
    shares = [dataset(folder, rank=rank, world_size=2, **SHUFFLED) for rank in range(2)]
    got = []
    for share in shares:
        batches = iter(share.create_dataset())
        got += numbers(next(batches) for _ in range(3))
    states = [share.state_dict(batches=3) for share in shares]
    assert states[0] == states[1]
    rest = dataset(folder, **{**SHUFFLED, "batch_size": 5})
    rest.load_state_dict(states[0])
    got += numbers(rest.create_dataset())
    assert sorted(i for batch in got for i in batch) == list(range(SAMPLES))


def test_a_dataset_made_before_a_state_was_restored_refuses_to_begin(folder):
    """Keras and tf.data were told that it has whole epochs."""
    ds = dataset(folder, **SHUFFLED)
    batches = iter(ds)
    next(batches)
    early = ds.create_dataset()
    ds.load_state_dict(ds.state_dict())
    with pytest.raises(tf.errors.OpError, match="call it again"):
        next(iter(early))
    assert len(list(ds.create_dataset())) == 10


def test_the_state_of_other_data_is_refused(folder, ragged_folder):
    with pytest.raises(StateError, match="21 samples; this one has 6"):
        dataset(ragged_folder, **SHUFFLED).load_state_dict(dataset(folder, **SHUFFLED).state_dict())


# -- ragged samples --


def test_samples_that_differ_in_shape_come_as_one_ragged_tensor(ragged_folder, iterated):
    ds = dataset(ragged_folder, ragged="batch")
    assert ds.element_spec == tf.RaggedTensorSpec([None, None, None], tf.uint8, ragged_rank=2)
    assert ds.create_dataset().element_spec == ds.element_spec
    samples = [sample for batch in iterated(ds) for sample in batch]
    for i, side in enumerate(RAGGED_SIDES):
        assert np.array_equal(samples[i].to_tensor(), np.full((side, side), i, np.uint8))


def test_samples_that_differ_in_shape_come_one_by_one_with_their_labels(ragged_folder, iterated):
    ds = dataset(ragged_folder, ragged="sample", return_labels=True)
    assert ds.element_spec[0].shape.as_list() == [None, None]
    assert len(ds) == len(ds.create_dataset()) == 6
    for i, (x, y) in enumerate(iterated(ds)):
        assert np.array_equal(x, np.full((RAGGED_SIDES[i],) * 2, i, np.uint8))
        assert y.numpy() == i


def test_single_samples_stay_right_while_they_are_held(ragged_folder, iterated):
    ds = dataset(ragged_folder, ragged="sample", batch_size=2, prefetch_bytes=1)
    held = [sample for _ in range(3) for sample in iterated(ds)]
    assert [sample.shape[0] for sample in held] == list(RAGGED_SIDES) * 3
    assert all(np.all(sample.numpy() == i % 6) for i, sample in enumerate(held))


@pytest.mark.parametrize("taken", range(6))
def test_single_samples_can_be_resumed_at_each(ragged_folder, taken):
    options = {"ragged": "sample", "batch_size": 4, "shuffle": True}
    expected = [sample.shape[0] for sample in dataset(ragged_folder, **options)]
    ds = dataset(ragged_folder, **options)
    samples = iter(ds.create_dataset())
    before = [next(samples).shape[0] for _ in range(taken)]
    rest = dataset(ragged_folder, **options)
    rest.load_state_dict(ds.state_dict(samples=taken))
    assert before + [sample.shape[0] for sample in rest.create_dataset()] == expected


def test_samples_that_differ_in_shape_are_an_error_unless_one_says_so(ragged_folder, iterated):
    with pytest.raises(tf.errors.OpError, match=r"field 'x' is uint8.*ragged='batch'"):
        list(iterated(dataset(ragged_folder)))


def test_a_configuration_with_a_spread_of_sizes_gets_ragged_tensors(ragged_folder):
    config = {"dataset": {"record_length_bytes": 400, "record_length_bytes_stdev": 50, "format": "npz"}}
    ds = DlioTensorFlowDataset(config, data_folder=ragged_folder)
    assert isinstance(ds.element_spec, tf.RaggedTensorSpec)


# -- what goes wrong --


@pytest.fixture
def good_folder(tmp_path):
    """8 files of one sample each."""
    for i in range(8):
        np.savez(tmp_path / f"img_{i}.npz", x=np.full((500, 1), i, np.int32))
    return tmp_path


@pytest.fixture
def corrupt_folder(good_folder):
    """The same; the payload of file 5 is not what its checksum says."""
    path = good_folder / "img_5.npz"
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    return good_folder


def test_a_corrupt_file_is_an_error_at_its_batch_and_the_rest_follows(corrupt_folder, iterated):
    batches = iterated(dataset(corrupt_folder, batch_size=2))
    assert numbers([next(batches), next(batches)]) == [[0, 1], [2, 3]]
    with pytest.raises(tf.errors.OpError, match=r"img_5\.npz.*CRC-32"):
        next(batches)
    assert numbers(batches) == [[4], [6, 7]]


def test_an_error_of_the_data_set_itself_is_ours_and_tensorflow_s_at_once(corrupt_folder):
    batches = iter(dataset(corrupt_folder, batch_size=8))
    with pytest.raises(tf.errors.DataLossError) as caught:
        next(batches)
    error = caught.value
    assert isinstance(error, DataError)
    assert error.path.endswith("img_5.npz")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_corrupt_files_can_be_skipped(corrupt_folder, iterated):
    ds = dataset(corrupt_folder, batch_size=2, on_error="skip")
    assert numbers(iterated(ds)) == [[0, 1], [2, 3], [4], [6, 7]]
    assert ds.stats()["skipped_samples"] == 1


def test_a_state_counts_the_samples_that_were_skipped(corrupt_folder):
    ds = dataset(corrupt_folder, batch_size=1, on_error="skip")
    batches = iter(ds.create_dataset())
    assert numbers(next(batches) for _ in range(6)) == [[0], [1], [2], [3], [4], [6]]
    rest = dataset(corrupt_folder, batch_size=1, on_error="skip")
    rest.load_state_dict(ds.state_dict(batches=6))
    assert numbers(rest.create_dataset()) == [[7]]


def test_a_file_that_vanishes_in_mid_epoch_is_an_error_that_names_it(good_folder, iterated):
    batches = iterated(dataset(good_folder, batch_size=2, prefetch_bytes=1, prefetch_buffer_size=0))
    next(batches)
    (good_folder / "img_7.npz").unlink()
    assert numbers([next(batches), next(batches)]) == [[2, 3], [4, 5]]
    with pytest.raises(tf.errors.OpError, match=r"img_7\.npz"):
        next(batches)


@pytest.mark.parametrize("way", [iter, len, DlioTensorFlowDataset.create_dataset])
def test_a_missing_folder_is_named_before_anything_is_read(tmp_path, way):
    ds = dataset(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="nowhere") as caught:
        way(ds)
    assert isinstance(caught.value, DlioFastError)
    assert way is len or isinstance(caught.value, tf.errors.NotFoundError)


def test_an_exception_in_a_transform_arrives_at_its_batch(folder, iterated):
    def failing(fields):
        if fields["x"][0, 0, 0] == 8:
            raise ValueError("not this one")
        return fields

    batches = iterated(dataset(folder, transform=failing))
    assert numbers([next(batches), next(batches)]) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="not this one"):
        next(batches)


def test_an_array_of_another_dtype_than_the_first_is_an_error_not_a_crash(tmp_path, iterated):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 1), np.int32))
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 1), np.float32))
    batches = iterated(dataset(tmp_path, batch_size=1))
    next(batches)
    with pytest.raises(tf.errors.OpError, match=r"b\.npz|float32"):
        next(batches)


# -- ends --


def test_dropping_an_unfinished_iterator_ends_its_threads(folder, iterated):
    dataset_ = dataset(folder)
    next(iterated(dataset_))  # TensorFlow's own pools start with the first
    before = tasks()
    batches = iterated(dataset_)
    next(batches)
    del batches
    assert tasks_come_down_to(before)


def test_closing_the_data_set_ends_its_passes_with_an_error(folder, iterated):
    ds = dataset(folder, batch_size=1, prefetch_buffer_size=0)
    batches = iterated(ds)
    next(batches)
    ds.close()
    with pytest.raises(tf.errors.OpError, match="closed"):
        next(batches)


def test_values_are_the_files_own(folder, iterated):
    for batch in iterated(dataset(folder, **SHUFFLED)):
        for sample in batch.numpy():
            assert np.array_equal(sample, payload(int(sample[0, 0])))
