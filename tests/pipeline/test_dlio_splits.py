"""Which files and settings belong to which split of a DLIO configuration."""

import numpy as np
import pytest

import dlio_fast as df


def make(folder, name, count):
    (folder / name).mkdir(parents=True, exist_ok=True)
    for i in range(count):
        np.savez(
            folder / name / f"img_{i}_of_{count}.npz",
            x=np.zeros((2, 2, 1), np.uint8),
            y=np.zeros(1, np.int64),
        )


def config(folder, **reader):
    return {"dataset": {"data_folder": str(folder), "format": "npz"}, "reader": reader}


def test_a_folder_with_evaluation_files_only_has_no_training_samples(tmp_path):
    make(tmp_path, "valid", 3)
    assert len(df.Dataset(config(tmp_path), "train")) == 0
    assert len(df.Dataset(config(tmp_path), "valid")) == 3


def test_a_folder_without_splits_is_for_training(tmp_path):
    make(tmp_path, ".", 2)
    assert len(df.Dataset(config(tmp_path), "train")) == 2
    assert len(df.Dataset(config(tmp_path), "valid")) == 0


def test_evaluation_has_a_batch_size_of_its_own(tmp_path):
    settings = config(tmp_path, batch_size=4, batch_size_eval=2)
    assert df.Loader(df.Dataset(settings, "train")).batch_size == 4
    assert df.Loader(df.Dataset(settings, "valid")).batch_size == 2


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_plain_folder_given_as_argument_is_read_as_the_config_says(tmp_path, scheme):
    make(tmp_path, "train", 1)
    dataset = df.Dataset(config("elsewhere", odirect=True), data_folder=f"{scheme}{tmp_path}")
    assert dataset.files.direct == (not scheme)


def test_files_of_an_earlier_generation_do_not_take_the_places_of_the_configs_own(tmp_path):
    make(tmp_path, "train", 12)
    make(tmp_path, "train", 6)
    settings = config(tmp_path)
    settings["dataset"]["num_files_train"] = 6
    with pytest.warns(UserWarning, match="using 6 of the 18 files"):
        files = df.Dataset(settings).files
    assert [path.rsplit("/", 1)[1] for path in files] == [f"img_{i}_of_6.npz" for i in range(6)]
