"""A data set by DLIO config: DLIO's layout, and which of a folder's files the config means."""

import warnings

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import ConfigError, SampleError

from .files import numbered, write_files


def config(folder=None, **dataset) -> dict:
    """A config of that data folder."""
    return {"dataset": dataset | ({} if folder is None else {"data_folder": str(folder)})}


@pytest.fixture
def folder(tmp_path):
    """Four files for training and two for evaluation, three samples each along the last axis."""
    for split, arrays in {"train": numbered(6, (2, 2, 3))[:4], "valid": numbered(6, (2, 2, 3))[4:]}.items():
        names = f"img_{{}}_of_{len(arrays)}.npz"
        write_files(tmp_path / split, arrays, names, y=[np.zeros(3, "i8")] * len(arrays))
    return tmp_path


def assert_holds(dataset, arrays) -> None:
    samples = [array[..., i] for array in arrays for i in range(array.shape[-1])]
    assert len(dataset) == len(samples)
    for ours, expected in zip(dataset, samples, strict=True):
        np.testing.assert_array_equal(ours["x"], expected)
        assert ours["y"] == 0


@pytest.mark.parametrize("scheme", ["", "file://", "direct://"])
@pytest.mark.parametrize("format", [{}, {"format": "npz"}])
def test_each_split_has_its_folder_and_samples_along_the_last_axis(folder, scheme, format):
    arrays = numbered(6, (2, 2, 3))
    given = config(f"{scheme}{folder}", **format)
    assert_holds(df.Dataset(given), arrays[:4])
    assert_holds(df.Dataset(given, split="train"), arrays[:4])
    assert_holds(df.Dataset(given, split="valid"), arrays[4:])


def test_a_config_may_be_a_dict_a_file_or_loaded(folder, tmp_path):
    (tmp_path / "c.yaml").write_text(f"dataset:\n  data_folder: {folder}\n")
    loaded = df.load_config(config(folder))
    for given in (config(folder), {"workload": config(folder)}, tmp_path / "c.yaml", loaded):
        assert len(df.Dataset(given)) == 12
    assert df.Dataset(loaded).config is loaded


def test_files_may_lie_in_the_folder_itself(folder):
    assert_holds(df.Dataset(config(folder / "train")), numbered(4, (2, 2, 3)))


@pytest.mark.parametrize("address", ["{}", "{}/", "file://{}", "direct://{}/"])
def test_a_folder_in_the_call_wins_over_the_configs(folder, address):
    given = config("/nowhere")
    assert_holds(df.Dataset(given, data_folder=address.format(folder)), numbered(4, (2, 2, 3)))
    assert_holds(df.Dataset(config(), data_folder=folder), numbered(4, (2, 2, 3)))


def test_a_folder_is_required_and_the_error_names_it():
    with pytest.raises(ConfigError, match=r"dataset\.data_folder is required"):
        df.Dataset(config())


def test_constructing_touches_no_storage():
    dataset = df.Dataset(config("/nowhere"))
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        len(dataset)


def test_other_splits_do_not_exist(folder):
    with pytest.raises(ConfigError, match="split 'test' is not one of train, valid"):
        df.Dataset(config(folder), split="test")


# -- how many files --


def test_fewer_files_than_there_are_can_be_used_and_are_warned_about(folder):
    with pytest.warns(UserWarning, match="using 2 of the 4 files"):
        dataset = df.Dataset(config(folder, num_files_train=2))
        assert_holds(dataset, numbered(2, (2, 2, 3)))
    with pytest.warns(UserWarning, match="using 1 of the 2 files"):
        assert len(df.Dataset(config(folder, num_files_eval=1), split="valid")) == 3


def test_as_many_as_there_are_is_no_news(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(df.Dataset(config(folder, num_files_train=4, num_files_eval=2))) == 12
        assert len(df.Dataset(config(folder), split="train")) == 12


def test_more_files_than_there_are_is_an_error_that_says_what_to_do(folder):
    with pytest.raises(
        FileNotFoundError, match="4 of 5 files .*num_files_train.*dlio-fast generate"
    ) as caught:
        len(df.Dataset(config(folder, num_files_train=5)))
    assert caught.value.filename == str(folder)
    with pytest.raises(FileNotFoundError, match="2 of 3 files .*num_files_eval"):
        len(df.Dataset(config(folder, num_files_eval=3), split="valid"))


@pytest.mark.parametrize("split", ["train", "valid"])
def test_files_may_lie_in_subfolders(tmp_path, split):
    arrays = numbered(6, (2, 3))
    for i, array in enumerate(arrays):
        write_files(tmp_path / split / f"{i % 3}", [array], f"img_{i}_of_6.npz", y=[np.zeros(3, "i8")])
    given = config(tmp_path, num_subfolders_train=3, num_subfolders_eval=3)
    assert_holds(df.Dataset(given, split=split), arrays)


# -- format and shape --


def test_an_absent_format_follows_the_files(tmp_path):
    write_files(tmp_path / "train", numbered(3, (2, 3)), "img_{}.npy")
    dataset = df.Dataset(config(tmp_path))
    assert dataset.format.name == "npy" and len(dataset) == 9
    np.testing.assert_array_equal(dataset[4]["x"], numbered(3, (2, 3))[1][:, 1])


def test_a_format_that_cannot_be_read_says_which_can(folder):
    with pytest.raises(ConfigError, match="'hdf5_opt' is not supported; supported: npz, npy"):
        df.Dataset(config(folder, format="hdf5_opt"))


def test_the_files_shape_wins_over_the_configs(folder):
    dataset = df.Dataset(config(folder, record_length_bytes=1024, num_samples_per_file=7))
    assert_holds(dataset, numbered(4, (2, 2, 3)))


def test_files_without_a_last_axis_are_named(tmp_path):
    write_files(tmp_path / "train", numbered(1, ()))
    with pytest.raises(SampleError, match=r"f000\.npz: 'x' has shape \(\), without an axis -1"):
        len(df.Dataset(config(tmp_path)))


def test_fields_can_be_picked(folder):
    assert list(df.Dataset(config(folder), fields=["x"])[0]) == ["x"]
    assert list(df.Dataset(config(folder), fields="y")[0]) == ["y"]


def test_files_of_differing_sizes_are_samples_of_differing_sizes(tmp_path):
    arrays = [np.full((i + 1, i + 2, 1), i, "u1") for i in range(5)]
    write_files(tmp_path / "train", arrays)
    given = config(tmp_path, record_length_bytes=10, record_length_bytes_stdev=3)
    shapes = [sample["x"].shape for sample in df.Dataset(given)]
    assert shapes == [(i + 1, i + 2) for i in range(5)]
