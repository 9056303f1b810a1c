"""Sample sizes are DLIO's, file by file."""

import numpy as np
import pytest

from dlio_fast.config import load_config


def dataset(**keys):
    return load_config({"dataset": keys}).dataset


UNET3D = {"record_length_bytes": 146600628, "record_length_bytes_stdev": 68341808}
COSMOFLOW = {"record_length_bytes": 2828486, "record_length_bytes_stdev": 71311}


@pytest.mark.parametrize(
    ("keys", "dims"),
    [
        (UNET3D, [(15865, 14125), (7745, 12083), (13860, 10074), (12856, 12413)]),
        (COSMOFLOW, [(1709, 1696), (1648, 1680), (1694, 1665), (1686, 1683)]),
    ],
)
def test_the_first_sizes_of_the_stdev_stream(keys, dims):
    data = dataset(**keys, num_files_train=3, num_files_eval=1)
    assert data.sizes_are_ragged
    assert data.dims_table().tolist() == [list(pair) for pair in dims]
    assert [data.file_dims(i) for i in range(4)] == dims


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 1000, 4097])
def test_the_stream_does_not_depend_on_the_number_of_files(count):
    whole = dataset(**COSMOFLOW).dims_table(5000)
    assert np.array_equal(dataset(**COSMOFLOW).dims_table(count), whole[:count])
    state = np.random.RandomState(10)
    sigma = 71311 / 2 / np.sqrt(2828486)
    assert whole.ravel().tolist() == [max(int(x), 1) for x in state.normal(1681, sigma, size=10000)]


def test_two_data_sets_in_turn_keep_their_own_sizes():
    for _ in range(2):
        assert dataset(**UNET3D).file_dims(0) == (15865, 14125)
        assert dataset(**COSMOFLOW).file_dims(0) == (1709, 1696)


def test_no_side_is_less_than_one():
    table = dataset(record_length_bytes=100, record_length_bytes_stdev=10**6).dims_table(1000)
    assert table.min() == 1
    huge = dataset(record_length_bytes=1, record_length_bytes_stdev=2**62).dims_table(1000)
    assert huge.min() == 1


def test_the_table_cannot_be_changed():
    for data in (dataset(**UNET3D), dataset()):
        with pytest.raises(ValueError, match="read-only"):
            data.dims_table(3)[0, 0] = 1


@pytest.mark.parametrize(
    ("keys", "dims", "nbytes"),
    [
        ({}, (256, 256), 65536),
        ({"record_length_bytes": 4194304}, (2048, 2048), 4194304),
        ({"record_length_bytes": 146600628}, (12107, 12107), 146579449),
        ({"record_length_bytes": 114660.07}, (338, 338), 114244),
        ({"record_length_bytes": "114660.07"}, (338, 338), 114244),
        ({"record_length_bytes": 65536, "record_element_type": "float32"}, (256, 256), 262144),
        ({"record_dims": [6, 7, 3], "record_element_type": "int64"}, (6, 7, 3), 1008),
        ({"record_dims": [5, 4], "format": "jpeg", "record_element_type": "float32"}, (5, 4), 20),
    ],
)
def test_one_size_for_all(keys, dims, nbytes):
    data = dataset(**keys, num_samples_per_file=3, num_files_train=2)
    assert not data.sizes_are_ragged
    assert data.sample_dims == data.file_dims(1) == dims
    assert data.record_nbytes == nbytes
    assert data.dims_table().tolist() == [list(dims)] * 2


def test_a_fixed_table_for_a_million_files_takes_no_memory():
    table = dataset(num_files_train=10**6).dims_table()
    assert table.shape == (10**6, 2)
    assert table.strides[0] == 0
