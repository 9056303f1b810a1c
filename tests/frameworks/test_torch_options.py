"""DlioPyTorchDataset: arguments, attributes, which option wins, and the ready-made DataLoaders."""

import json
import multiprocessing

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

import dlio_fast as df
from dlio_fast.errors import ConfigError
from dlio_fast.torch import (
    DlioDataLoaderError,
    DlioPyTorchDataLoader,
    DlioPyTorchDataset,
    create_pytorch_dataloader,
    create_pytorch_dataset,
)
from tests.frameworks.conftest import SAMPLES

ANYWHERE = {"dataset": {"data_folder": "/data/set", "format": "npz"}}


def config_with(**sections):
    return {**ANYWHERE, **sections}


# -- arguments and attributes --


def test_it_is_an_iterable_dataset_with_the_seed_system_s_attributes():
    ds = DlioPyTorchDataset(config_dict=ANYWHERE)
    assert isinstance(ds, IterableDataset)
    assert isinstance(ds.config, df.load_config(ANYWHERE).__class__)
    assert (ds.data_folder, ds.backend_type, ds.format_type) == ("/data/set", "file", "npz")
    assert ds.pytorch_config["batch_size"] == 1
    assert ds.config_info["data_folder"] == "/data/set"
    assert ds.config_info["framework"] == "pytorch"


@pytest.mark.parametrize("suffix, dump", [(".json", json.dumps), (".yaml", json.dumps)])
def test_a_config_comes_from_a_file_a_dict_a_name_or_ready_made(tmp_path, suffix, dump):
    path = tmp_path / f"config{suffix}"
    path.write_text(dump({"workload": ANYWHERE}))
    loaded = df.load_config(path)
    for ds in (
        DlioPyTorchDataset(str(path)),
        DlioPyTorchDataset(path),
        DlioPyTorchDataset(loaded),
        DlioPyTorchDataset(config_dict=loaded),
        DlioPyTorchDataset(config_dict=ANYWHERE),
    ):
        assert ds.config == loaded
    assert DlioPyTorchDataset("quickstart").backend_type == "directio"


def test_the_argument_data_folder_wins_over_the_config_s():
    assert DlioPyTorchDataset(config_dict=ANYWHERE, data_folder="/other").data_folder == "/other"


@pytest.mark.parametrize("config", [None, {}, {"dataset": {"format": "npz"}}])
def test_a_missing_data_folder_is_named(config):
    with pytest.raises(ConfigError, match="data_folder is required"):
        DlioPyTorchDataset(config_dict=config)


def test_two_configs_are_one_too_many():
    with pytest.raises(ConfigError, match="config_path or config_dict"):
        DlioPyTorchDataset(ANYWHERE, ANYWHERE)


@pytest.mark.parametrize(
    "address, backend", [("file:///d", "file"), ("direct:///d", "directio"), ("d", "file")]
)
def test_the_backend_follows_the_address(address, backend):
    assert DlioPyTorchDataset(data_folder=address).backend_type == backend


@pytest.mark.parametrize("framework", ["pytorch", "tensorflow", "jax", {"pytorch": {"batch_size": 7}}])
def test_a_config_for_any_framework_serves(framework):
    ds = DlioPyTorchDataset(
        config_dict=config_with(framework=framework, reader={"data_loader": "tensorflow"})
    )
    assert ds.options["batch_size"] == (7 if isinstance(framework, dict) else 1)


def test_the_format_follows_the_files_where_the_config_leaves_it_open(folder):
    ds = DlioPyTorchDataset(data_folder=folder)
    assert ds.config_info["format"] is None
    assert ds.format_type == "npz"


def test_the_evaluation_files_are_a_split(folder, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "valid").symlink_to(folder / "train")
    assert len(DlioPyTorchDataset(data_folder=tmp_path, split="valid")) == SAMPLES
    assert len(DlioPyTorchDataset(data_folder=tmp_path)) == 0
    with pytest.raises(ConfigError, match="split 'test'"):
        DlioPyTorchDataset(data_folder=tmp_path, split="test")


# -- which option wins --

READER = {
    "batch_size": 2,
    "shuffle": False,
    "seed": 2,
    "drop_last": False,
    "pin_memory": False,
    "read_threads": 4,
}
LAYERS = {
    "default": {"batch_size": 1, "shuffle": False, "seed": 123, "drop_last": False, "num_workers": 0},
    "reader": {"batch_size": 2, "shuffle": False, "seed": 2, "drop_last": False, "num_workers": 0},
    "profile": {"batch_size": 3, "shuffle": True, "seed": 3, "drop_last": True, "num_workers": 3},
    "section": {"batch_size": 4, "shuffle": False, "seed": 4, "drop_last": False, "num_workers": 4},
    "pytorch_config": {"batch_size": 5, "shuffle": True, "seed": 5, "drop_last": True, "num_workers": 5},
    "argument": {"batch_size": 6, "shuffle": False, "seed": 6, "drop_last": False, "num_workers": 6},
}


@pytest.mark.parametrize("highest", range(len(LAYERS)))
def test_argument_over_section_over_profile_over_reader_over_default(highest):
    given = dict(list(LAYERS.items())[: highest + 1])
    config = dict(ANYWHERE)
    if "reader" in given:
        config["reader"] = READER
    if "profile" in given:
        config["framework_profiles"] = {"pytorch": given["profile"]}
    if "section" in given:
        config["pytorch_config"] = given["section"]
    ds = DlioPyTorchDataset(
        config_dict=config, pytorch_config=given.get("pytorch_config"), **given.get("argument", {})
    )
    expected = LAYERS[list(LAYERS)[highest]]
    assert {name: ds.pytorch_config[name] for name in expected} == expected


def test_options_win_one_by_one_not_as_a_whole():
    config = config_with(
        reader={"batch_size": 2}, train={"seed": 9}, framework_profiles={"pytorch": {"drop_last": True}}
    )
    ds = DlioPyTorchDataset(config_dict=config, pytorch_config={"shuffle": True}, threads=3)
    names = ("batch_size", "seed", "drop_last", "shuffle", "threads")
    assert [ds.options[name] for name in names] == [2, 9, True, True, 3]


def test_an_option_of_none_counts_as_not_given():
    ds = DlioPyTorchDataset(
        config_dict=config_with(reader={"batch_size": 2}), batch_size=None, rank=None, return_labels=None
    )
    assert (ds.options["batch_size"], ds.options["rank"]) == (2, 0)


def test_dlio_s_shuffles_shuffle():
    ds = DlioPyTorchDataset(config_dict=config_with(reader={"file_shuffle": "seed"}))
    assert ds.options["shuffle"] == "files"


# -- wrong options --


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(
        TypeError, match=r"DlioPyTorchDataset has no option 'batchsize'; did you mean 'batch_size'"
    ):
        DlioPyTorchDataset(data_folder="d", batchsize=3)
    with pytest.raises(TypeError, match=r"no option 'qqq'; there are .*batch_size"):
        DlioPyTorchDataset(data_folder="d", qqq=3)
    with pytest.warns(UserWarning, match="did you mean 'num_workers'"):
        DlioPyTorchDataset(data_folder="d", pytorch_config={"num_worker": 3})


@pytest.mark.parametrize(
    "option, value",
    [("batch_size", "many"), ("batch_size", 0), ("num_workers", -1), ("return_type", "list"), ("shuffle", 3)],
)
def test_a_wrong_value_names_option_value_and_what_is_accepted(option, value):
    for arguments in ({option: value}, {"pytorch_config": {option: value}}):
        with pytest.raises(ConfigError, match=rf"pytorch_config\.{option} = {value!r}: accepted is"):
            DlioPyTorchDataset(data_folder="d", **arguments)


@pytest.mark.parametrize("arguments", [{"rank": 2, "world_size": 2}, {"rank": 1}, {"on_error": "ignore"}])
def test_impossible_shares_and_policies_are_refused_at_once(arguments):
    with pytest.raises(ValueError):
        DlioPyTorchDataset(data_folder="d", **arguments)


def test_labels_belong_to_one_field():
    with pytest.raises(ConfigError, match="return_labels"):
        DlioPyTorchDataset(data_folder="d", fields=["x", "z"], return_labels=True)


# -- ready-made DataLoaders --


def test_from_config_makes_a_real_dataloader_over_batches(folder):
    config = {"dataset": {"data_folder": str(folder)}, "reader": {"batch_size": 8, "read_threads": 4}}
    loader = DlioPyTorchDataLoader.from_config(config, pytorch_config={"drop_last": True})
    assert isinstance(loader, DataLoader)
    assert loader.num_workers == 0
    assert [tuple(batch.shape) for batch in loader] == [(8, 16, 20)] * 2
    assert len(loader) == 2
    assert loader.source.options["batch_size"] == 8


def test_from_uri_needs_a_folder_only(folder):
    assert [len(batch) for batch in DlioPyTorchDataLoader.from_uri(folder)] == [SAMPLES]
    loader = DlioPyTorchDataLoader.from_uri(f"file://{folder}", batch_size=4, shuffle=True, num_workers=1)
    assert sorted(int(x[0, 0]) for batch in loader for x in batch) == list(range(SAMPLES))
    assert loader.num_workers == 1


def test_options_of_the_dataloader_reach_it(folder):
    loader = create_pytorch_dataloader(
        {"dataset": {"data_folder": str(folder)}, "reader": {"multiprocessing_context": "forkserver"}},
        num_workers=2,
        prefetch_factor=5,
        persistent_workers=True,
        dataloader_kwargs={"timeout": 30, "batch_size": 3},
        worker_init_fn=print,
    )
    assert (loader.num_workers, loader.prefetch_factor, loader.persistent_workers) == (2, 5, True)
    assert (loader.timeout, loader.worker_init_fn, loader.source.options["batch_size"]) == (30, print, 3)
    assert loader.multiprocessing_context is multiprocessing.get_context("forkserver")
    with pytest.raises(TypeError, match="no option 'time_out'"):
        create_pytorch_dataloader({}, data_folder=folder, time_out=3)


def test_options_for_workers_do_no_harm_without_workers(folder):
    loader = create_pytorch_dataloader({}, data_folder=folder, prefetch_factor=5, persistent_workers=True)
    assert len(list(loader)) == SAMPLES


def test_memory_is_pinned_only_where_there_is_a_gpu(folder):
    assert create_pytorch_dataloader({}, data_folder=folder).pin_memory is torch.cuda.is_available()
    assert create_pytorch_dataloader({}, data_folder=folder, pin_memory=False).pin_memory is False


def test_the_loader_sets_the_epoch(folder):
    loader = DlioPyTorchDataLoader.from_uri(folder, shuffle=True)
    first, second = (next(iter(loader)) for _ in range(2))
    assert not torch.equal(first, second)
    loader.set_epoch(0)
    assert torch.equal(next(iter(loader)), first)


def test_create_pytorch_dataset_passes_everything_on(folder):
    ds = create_pytorch_dataset({}, data_folder=folder, batch_size=3)
    assert (type(ds), len(ds), ds.options["batch_size"]) == (DlioPyTorchDataset, SAMPLES, 3)


def test_the_seed_system_s_error_catches_ours(tmp_path):
    with pytest.raises(DlioDataLoaderError):
        list(DlioPyTorchDataLoader.from_uri(tmp_path / "nowhere"))


def share_of_a_rank(rank, folder, store, queue):
    torch.distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    ds = DlioPyTorchDataset(data_folder=folder)
    queue.put((rank, ds.options["rank"], ds.options["world_size"], [int(x[0, 0]) for x in ds]))
    torch.distributed.destroy_process_group()


def test_rank_and_world_size_come_from_torch_distributed(folder, tmp_path):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    ranks = [
        context.Process(target=share_of_a_rank, args=(rank, folder, tmp_path / "store", queue))
        for rank in (0, 1)
    ]
    for process in ranks:
        process.start()
    shares = sorted(queue.get(timeout=60) for _ in ranks)
    for process in ranks:
        process.join()
    assert [share[:3] for share in shares] == [(0, 0, 2), (1, 1, 2)]
    assert sorted(shares[0][3] + shares[1][3]) == list(range(SAMPLES))
