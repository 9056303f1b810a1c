"""Names that follow from the configuration alone."""

import os

import pytest

from dlio_fast.config import load_config
from dlio_fast.storage.files import list_folder
from dlio_fast.storage.planned import planned_files
from dlio_fast.workload.place import LocalPlace
from dlio_fast.workload.plan import FilePlan


@pytest.mark.parametrize("subfolders", [0, 1, 3, 12])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_planned_names_are_those_that_generation_gives_and_a_listing_finds(tmp_path, subfolders, split):
    dataset = {"format": "npz", "num_files_train": 13, "num_files_eval": 4, "file_prefix": "100%s"}
    dataset |= {"num_subfolders_train": subfolders, "num_subfolders_eval": subfolders}
    config = load_config({"dataset": dataset})
    plan = FilePlan(config, LocalPlace(str(tmp_path)))
    for index in range(len(plan)):
        os.makedirs(os.path.dirname(plan.path(index)), exist_ok=True)
        open(plan.path(index), "w").close()
    planned = planned_files(config.dataset, str(tmp_path), split)
    assert list(planned) == list(list_folder(tmp_path / split, [".npz"]))


def test_of_a_larger_data_set_the_first_files_are_used():
    dataset = {"format": "npz", "num_files_train": 2, "num_files_generated": 100}
    planned = planned_files(load_config({"dataset": dataset}).dataset, "s3://bucket/data/")
    assert list(planned) == [f"s3://bucket/data/train/img_{i:03d}_of_100.npz" for i in range(2)]
