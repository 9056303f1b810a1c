"""Where configurations come from, and what is said about what is wrong with them."""

import copy
import json
import pathlib
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest

from dlio_fast.config import Config, ConfigWarning, load_config
from dlio_fast.errors import ConfigError

TREE = {"dataset": {"format": "npz", "num_files_train": 3}, "reader": {"batch_size": 2}}


def message_of(source, overrides=(), **options):
    with pytest.raises(ConfigError) as caught:
        load_config(source, overrides, **options)
    return str(caught.value)


# -- sources ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json"])
def test_a_file_or_a_dict_with_or_without_the_workload_level(tmp_path, wrapped, suffix):
    tree = {"workload": TREE} if wrapped else TREE
    path = tmp_path / f"config{suffix}"
    path.write_text(json.dumps(tree))
    expected = load_config(tree)
    assert expected.dataset.num_files_train == 3
    assert load_config(path) == load_config(str(path)) == expected
    assert load_config(expected) == expected
    assert load_config(path).source == str(path)


def test_the_dict_given_is_not_changed_and_not_kept():
    tree = copy.deepcopy(TREE)
    tree["storage"] = {"storage_options": {"client_kwargs": {"region": "eu"}}}
    before = copy.deepcopy(tree)
    config = load_config(tree, ["++workload.storage.storage_options.client_kwargs.region=us"])
    assert tree == before
    tree["reader"]["batch_size"] = 99
    assert config.reader.batch_size == 2


def test_a_name_is_a_bundled_workload_and_config_dir_comes_first(tmp_path):
    assert load_config("quickstart").dataset.num_files_train == 64
    (tmp_path / "bert_v100.yaml").write_text("model: {name: second}")
    assert load_config("bert_v100", config_dir=tmp_path).model.name == "second"
    (tmp_path / "workload").mkdir()
    (tmp_path / "workload" / "bert_v100.yaml").write_text("model: {name: first}")
    assert load_config("bert_v100", config_dir=str(tmp_path)).model.name == "first"
    assert load_config("quickstart", config_dir=tmp_path).model.name == "quickstart"


def test_a_name_does_not_pick_up_a_file_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "quickstart").write_text("not: it")
    monkeypatch.chdir(tmp_path)
    assert load_config("quickstart").model.name == "quickstart"


def test_what_hydra_dumps_loads(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(
        "workload:\n  dataset: {format: npy}\nhydra:\n  run: {dir: '${now:%Y}'}\ndefaults: [_self_]\n"
    )
    config = load_config(path)
    assert config.dataset.format == "npy"
    assert config.hydra == {"run": {"dir": "${now:%Y}"}}


def test_an_empty_file_is_all_defaults(tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    assert load_config(tmp_path / "empty.yaml") == load_config({}) == load_config({"workload": None})


def test_empty_sections_are_sections():
    assert load_config({"reader": None, "dataset": {"hdf5": None}}).to_dict() == {
        "reader": {},
        "dataset": {"hdf5": {}},
    }


@pytest.mark.parametrize("source", [3, ["a"], b"x"])
def test_a_source_of_another_type(source):
    assert "a path, a workload's name or a dict" in message_of(source)


def test_missing_things_are_named(tmp_path):
    assert "no configuration file 'nowhere/x.yaml'" in message_of("nowhere/x.yaml")
    assert "did you mean unet3d_h100" in message_of("unet3d_h10")
    assert "did you mean" not in message_of("zzzzzz")
    assert "no folder" in message_of("quickstart", config_dir=tmp_path / "none")
    assert str(tmp_path) in message_of(tmp_path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: 1\nb: [1\n", "line 3, column 1"),
        ("a: 1\na: 2\n", "line 2, column 1: not valid YAML: key 'a' is given twice"),
        ("a:\n\t- 1\n", "line 2, column 1"),
        ("a: *b\n", "line 1, column 4"),
        ("a: !!python/object:os.system x\n", "line 1"),
        ("- 1\n", "a mapping of sections, not list"),
        ("workload: 3\n", "a mapping of sections, not int"),
        ("on: 1\n", "key True is not a string (YAML reads the bare words"),
        ("dataset: {1: 2}\n", "key 1 below dataset is not a string"),
        ("a: &a [*a]\n", "contains itself"),
        ("[" * 100_000, "nested too deeply"),
        ("a: \x07\n", "not valid YAML"),
    ],
)
def test_unusable_yaml_names_file_and_place(tmp_path, text, place):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    message = message_of(path)
    assert str(path) in message
    assert place in message


def test_an_alias_bomb_is_refused_quickly(tmp_path):
    levels = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 40)]
    (tmp_path / "bomb.yaml").write_text("\n".join(levels))
    assert "too large" in message_of(tmp_path / "bomb.yaml")


@pytest.mark.parametrize("text", ['{"a": }', '{"a": 1, "a": 2}', "[" * 100_000])
def test_unusable_json(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    assert str(tmp_path / "bad.json") in message_of(tmp_path / "bad.json")


def test_a_file_that_is_no_text(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00\x80")
    assert "not UTF-8" in message_of(tmp_path / "x.yaml")


def test_yaml_is_read_as_hydra_reads_it(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "\ufefftrain: {computation_time: 1e-3}\nmodel: {name: 2024-01-01}\nbase: &b {batch_size: 3}\n"
        "reader: {<<: *b, file_shuffle: off, sample_shuffle: on, read_threads: '4'}\n",
        encoding="utf-8",
    )
    with pytest.warns(ConfigWarning, match="unknown key workload.base"):
        config = load_config(path)
    assert config.train.computation_time.mean == 0.001
    assert config.model.name == "2024-01-01"
    assert config.reader.to_dict() == {
        "read_threads": 4, "batch_size": 3, "file_shuffle": "off", "sample_shuffle": "seed",
    }  # fmt: skip


# -- wrong values ----------------------------------------------------------------------------------------


def test_all_errors_come_at_once_with_file_key_value_and_what_is_accepted(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "workload:\n  dataset: {num_files_train: abc, format: zip, record_dims: [1, 0]}\n"
        "  train: {epochs: -1}\n"
    )
    lines = message_of(path, ["++workload.reader.batch_size=many"]).splitlines()
    assert f"{path}: workload.dataset.num_files_train = 'abc': accepted is an integer" in lines
    assert any("workload.dataset.format = 'zip': accepted is 'tfrecord', 'hdf5'" in line for line in lines)
    assert f"{path}: workload.dataset.record_dims.1 = 0: accepted is a number >= 1" in lines
    assert f"{path}: workload.train.epochs = -1: accepted is a number >= 0" in lines
    override = "override '++workload.reader.batch_size=many'"
    assert f"{override}: workload.reader.batch_size = 'many': accepted is an integer" in lines
    assert len(lines) == 5


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"dataset": 3}, "workload.dataset = 3: accepted is a section"),
        (
            {"dataset": {"num_files_train": True}},
            "num_files_train = True: accepted is a number, not a boolean",
        ),
        ({"dataset": {"num_files_train": 1.5}}, "num_files_train = 1.5: accepted is an integer"),
        ({"dataset": {"num_files_train": None}}, "num_files_train = None: accepted is an integer"),
        ({"dataset": {"num_files_train": 2**70}}, "num_files_train"),
        ({"dataset": {"record_dims": 3}}, "record_dims = 3: accepted is a list"),
        (
            {"dataset": {"record_length_bytes": "many"}},
            "record_length_bytes = 'many': accepted is a number from 1",
        ),
        ({"dataset": {"record_length_bytes": 0}}, "record_length_bytes = 0: accepted is a number from 1"),
        ({"dataset": {"record_length_bytes": float("nan")}}, "record_length_bytes = nan"),
        ({"dataset": {"record_length_bytes": True}}, "record_length_bytes = True"),
        (
            {"dataset": {"record_element_type": "float12"}},
            "'float12': accepted is the name of a numpy number type",
        ),
        (
            {"dataset": {"record_element_type": "object"}},
            "'object': accepted is the name of a numpy number type",
        ),
        ({"dataset": {"data_folder": 3}}, "data_folder = 3: accepted is a string"),
        ({"dataset": {"data_folder": "???"}}, "workload.dataset.data_folder: must be given"),
        ({"dataset": {"data_folder": "${oc.env:X}/a"}}, "interpolations are not supported"),
        ({"dataset": {"parquet": {"columns": [{"dtype": "int8"}]}}}, "columns.0.name"),
        ({"reader": {"file_shuffle": "yes"}}, "file_shuffle = 'yes': accepted is 'off', 'seed' or 'random'"),
        ({"reader": {"read_type": False}}, "read_type = False: accepted is 'memory' or 'on_demand'"),
        ({"reader": {"pin_memory": "perhaps"}}, "pin_memory = 'perhaps': accepted is true or false"),
        ({"storage": {"storage_options": "x"}}, "storage_options = 'x': accepted is a mapping"),
        ({"metric": {"au": 101}}, "au = 101: accepted is a number <= 100"),
        ({"framework": "mxnet"}, "framework = 'mxnet': accepted is 'pytorch', 'tensorflow', 'jax' or 'none'"),
        (
            {"dataset": {"record_dims": [1], "record_length_bytes_stdev": 1}},
            "record_length_bytes_stdev must be 0",
        ),
        (
            {"dataset": {"record_dims": [1, 2, 3], "format": "png"}},
            "png format does not support more than 2 dimensions, but got 3 dimensions.",
        ),
        ({"dataset": {"record_dims": [7, 3], "hdf5": {"num_dset_per_record": 2}}}, "num_dset_per_record = 2"),
        ({"dataset": {"hdf5": {"num_dset_per_record": 2}}}, "num_dset_per_record = 2 needs record_dims"),
        (
            {"model": {"num_layers": 2, "parallelism": {"pipeline": 4}}},
            "num_layers = 2 must not be less than parallelism.pipeline = 4",
        ),
        ({"model": {"parallelism": {"pipeline": 4, "zero_stage": 3}}}, "must be 1 with zero_stage 3"),
        ({"checkpoint": {"num_checkpoints_write": 1, "num_checkpoints_read": 2}}, "must not exceed"),
        ({"checkpoint": {"ksm": {}}}, "randomize_tensor: false"),
        ({"checkpoint": {"mode": "subset"}}, "subset needs model.parallelism.data"),
    ],
)
def test_a_wrong_value_says_what_is_accepted(tree, message):
    found = message_of(tree)
    assert message in found
    assert found.startswith("dict: workload")
    assert "\n" not in found


def test_a_mismatch_of_framework_and_loader_is_no_error():
    config = load_config(
        {"framework": "pytorch", "reader": {"data_loader": "tensorflow"}, "dataset": {"format": "tfrecord"}}
    )
    assert (config.framework, config.reader.data_loader) == ("pytorch", "tensorflow")


# -- unknown keys ----------------------------------------------------------------------------------------


def test_each_unknown_key_warns_once_with_place_and_nearest_name(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "workload:\n  reader: {batch_sise: 3, batch_size: 2}\n  metrik: {au: 1, x: 2}\n  zzz: 1\n"
        "  dataset: {parquet: {columns: [{name: a, dtipe: int8}]}}\n"
    )
    with pytest.warns(ConfigWarning) as caught:
        config = load_config(path, ["++workload.dataset.formatt=npz"])
    texts = [str(item.message) for item in caught]
    assert sorted(texts) == sorted(
        [
            f"{path}: unknown key workload.reader.batch_sise is ignored; did you mean 'batch_size'?",
            f"{path}: unknown key workload.metrik is ignored; did you mean 'metric'?",
            f"{path}: unknown key workload.zzz is ignored",
            f"{path}: unknown key workload.dataset.parquet.columns.0.dtipe is ignored; did you mean 'dtype'?",
            "override '++workload.dataset.formatt=npz': unknown key workload.dataset.formatt is ignored; "
            "did you mean 'format'?",
        ]
    )
    assert {item.filename for item in caught} == {__file__}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config.reader.batch_size == 2
        assert load_config(config.to_dict()) == config


def test_an_unknown_key_can_be_deleted_to_silence_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_config({"zzz": 1}, ["~workload.zzz"])


# -- the result ------------------------------------------------------------------------------------------


def test_the_result_cannot_be_changed():
    config = load_config("unet3d_h100", ["++storage.storage_options={client_kwargs: {region: eu}, l: [1]}"])
    with pytest.raises(ValueError, match="frozen"):
        config.reader = None
    with pytest.raises(ValueError, match="frozen"):
        config.reader.batch_size = 3
    options = config.storage.storage_options
    for change in (
        lambda: options.__setitem__("a", 1),
        lambda: options["client_kwargs"].update(region="us"),
        lambda: options.pop("l"),
        lambda: options["l"].append(2),
    ):
        with pytest.raises((TypeError, AttributeError)):
            change()
    assert options == {"client_kwargs": {"region": "eu"}, "l": (1,)}


def test_it_can_be_pickled_copied_and_hashed():
    config = load_config("unet3d_h100", ["++storage.storage_options={client_kwargs: {region: eu}}"])
    for twin in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config)):
        assert isinstance(twin, Config)
        assert twin == config
        assert hash(twin) == hash(config)
        assert twin.source == config.source
        assert twin.is_set("reader.batch_size")
        assert not twin.is_set("reader.pin_memory")
    assert load_config("unet3d_a100") != config


def test_given_is_told_from_absent():
    config = load_config({"dataset": {"record_length": 5, "num_files_train": 8}, "checkpoint": {}})
    assert config.is_set("dataset.num_files_train")  # though it is the default
    assert config.is_set("workload.dataset.record_length_bytes")
    assert config.is_set("dataset.record_length")
    assert config.is_set("checkpoint")
    for key in (
        "dataset.format",
        "dataset.data_folder",
        "dataset.num_samples_per_file",
        "train.epochs",
        "hydra",
    ):
        assert not config.is_set(key)
    assert not config.is_set("checkpoint.ksm.await_time")
    assert load_config({}, ["++dataset.format=npz"]).is_set("dataset.format")
    with pytest.raises(KeyError, match="dataset.colour"):
        config.is_set("dataset.colour")


def test_import_pulls_in_no_framework_and_not_hydra():
    code = (
        "import sys, dlio_fast.config; print([name for name in"
        " ('torch', 'tensorflow', 'jax', 'hydra', 'omegaconf', 'fsspec', 'h5py') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_keys_beside_workload_are_dropped_with_a_warning_each():
    tree = {"workload": {"reader": {"batch_size": 3}}, "trian": {"epochs": 7}, "reader": {}}
    with pytest.warns(ConfigWarning) as caught:
        config = load_config({**tree, "hydra": {}, "defaults": []})
    assert config.reader.batch_size == 3
    assert sorted(str(item.message).split(" is ")[0] for item in caught) == [
        "dict: key reader beside workload",
        "dict: key trian beside workload",
    ]
    assert {item.filename for item in caught} == {__file__}


def test_a_dict_may_hold_paths_and_arrays():
    tree = {"dataset": {"data_folder": pathlib.Path("/x"), "record_dims": np.array([3, 4])}}
    config = load_config(tree)
    assert (config.dataset.data_folder, config.dataset.record_dims) == ("/x", (3, 4))
    assert load_config(config.to_dict()) == config
    assert "record_dims" in message_of({"dataset": {"record_dims": np.array(3)}})
