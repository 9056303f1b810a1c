"""Overrides do to a configuration what Hydra would do."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlio_fast.config import load_config
from dlio_fast.errors import ConfigError


@pytest.mark.parametrize("key", ["workload.reader.batch_size", "reader.batch_size"])
@pytest.mark.parametrize("sign", ["", "++"])
def test_a_key_is_changed_with_or_without_the_workload_prefix(sign, key):
    assert load_config("unet3d_h100", [f"{sign}{key}=2"]).reader.batch_size == 2


def test_a_plain_override_may_give_what_the_file_does_not():
    config = load_config({}, ["workload.dataset.num_files_train=5", "storage.storage_options.anon=true"])
    assert config.dataset.num_files_train == 5
    assert config.storage.storage_options == {"anon": True}


def test_a_plain_override_of_an_unknown_key_names_the_nearest():
    with pytest.raises(
        ConfigError, match=r"no key workload\.dataset\.num_file_train; did you mean 'num_files_train'"
    ):
        load_config({}, ["dataset.num_file_train=5"])


def test_plus_adds_and_refuses_what_is_given():
    assert load_config({}, ["+workload.dataset.num_files_train=5"]).dataset.num_files_train == 5
    with pytest.raises(ConfigError, match="is given already"):
        load_config({"dataset": {"num_files_train": 1}}, ["+dataset.num_files_train=5"])


def test_tilde_deletes_and_refuses_what_is_not_given():
    source = {"dataset": {"num_files_train": 1, "format": "npy"}}
    config = load_config(source, ["~workload.dataset.num_files_train"])
    assert not config.is_set("dataset.num_files_train")
    assert config.is_set("dataset.format")
    assert not load_config(source, ["~dataset"]).is_set("dataset")
    assert not load_config(source, ["~dataset.format=npy"]).is_set("dataset.format")
    for text in ("~dataset.num_files_eval", "~dataset.format=npz", "~train"):
        with pytest.raises(ConfigError, match="cannot delete"):
            load_config(source, [text])


def test_lists_dicts_and_nested_keys():
    config = load_config(
        "unet3d_h100",
        [
            "++workload.dataset.record_length_bytes_stdev=0",
            "++workload.dataset.record_dims=[6,7,3]",
            "++workload.train.computation_time={type: uniform, min: 1, max: 2}",
            "++workload.checkpoint.ksm={}",
            "++workload.checkpoint.randomize_tensor=False",
            "++workload.profiling.iostat_devices=[sda,sdb]",
            "++workload.train.epochs=null",
            "++workload.train.epochs=3",
            "++workload.dataset.file_prefix='007'",
        ],
    )
    assert config.dataset.record_dims == (6, 7, 3)
    assert config.train.computation_time.to_dict() == {"type": "uniform", "min": 1, "max": 2}
    assert config.checkpoint.ksm.await_time == 200
    assert config.profiling.iostat_devices == ("sda", "sdb")
    assert config.train.epochs == 3
    assert config.dataset.file_prefix == "007"


def test_a_key_below_a_number_makes_a_section_of_it():
    config = load_config("unet3d_h100", [
        "++workload.train.computation_time.type=uniform",
        "++workload.train.computation_time.min=1",
        "++workload.train.computation_time.max=2",
    ])  # fmt: skip
    assert config.train.computation_time.to_dict() == {"type": "uniform", "min": 1, "max": 2}


def test_later_overrides_win():
    assert load_config({}, ["reader.batch_size=2", "++reader.batch_size=3"]).reader.batch_size == 3


def test_overrides_reach_keys_under_their_other_names():
    source = {"data_reader": {"batch_size": 9, "read_threads": 3}, "checkpointing": {"folder": "a"}}
    config = load_config(
        source, ["reader.batch_size=2", "data_reader.prefetch=7", "checkpoint.checkpoint_folder=b"]
    )
    assert config.reader.to_dict() == {"read_threads": 3, "batch_size": 2, "prefetch_size": 7}
    assert config.checkpoint.checkpoint_folder == "b"
    config = load_config({"framework": {"pytorch": {"batch_size": 2}}}, ["framework.pytorch.num_workers=3"])
    assert config.pytorch_config.to_dict() == {"batch_size": 2, "num_workers": 3}
    config = load_config({"model": {"model_size": 7}}, ["~model.model_size"])
    assert not config.is_set("model.model_size_bytes")


def test_workload_replaces_the_source():
    config = load_config("unet3d_h100", ["++workload.reader.batch_size=3", "workload=cosmoflow_h100"])
    assert (config.model.name, config.reader.batch_size) == ("cosmoflow", 3)
    assert load_config(None, ["workload=bert_v100"]).model.name == "bert"
    assert load_config(None).model.name == "default"


@pytest.mark.parametrize(
    "text", ["+workload=bert_v100", "++workload=bert_v100", "~workload", "workload=", "workload=[1]"]
)
def test_only_plain_workload_chooses_one(text):
    with pytest.raises(ConfigError, match="workload=NAME"):
        load_config({}, [text])


def test_hydra_settings_are_kept_aside():
    config = load_config(
        "unet3d_h100",
        ["++hydra.run.dir=/results/x", "++hydra.output_subdir=dlio_config", "hydra/job_logging=disabled"],
    )
    assert config.hydra == {"run": {"dir": "/results/x"}, "output_subdir": "dlio_config"}
    assert "hydra" not in config.workflow.to_dict()


def test_what_mlpstorage_passes_loads(tmp_path):
    (tmp_path / "workload").mkdir()
    (tmp_path / "workload" / "unet3d_h100.yaml").write_text(
        "model: {name: mine}\ndataset: {num_files_train: 4}\n"
    )
    config = load_config(
        None,
        [
            "workload=unet3d_h100",
            "++hydra.run.dir=/r",
            "++hydra.output_subdir=dlio_config",
            "++workload.dataset.num_files_train=56000",
            "++workload.dataset.data_folder=/mnt/data/unet3d",
        ],
        config_dir=tmp_path,
    )
    assert (config.model.name, config.dataset.num_files_train) == ("mine", 56000)
    assert config.dataset.data_folder == "/mnt/data/unet3d"


def test_all_malformed_overrides_are_in_one_message():
    with pytest.raises(ConfigError) as caught:
        load_config({}, ["a b", "reader.batch_size=2", "x=1,2"])
    assert "'a b'" in str(caught.value)
    assert "'x=1,2'" in str(caught.value)
    with pytest.raises(ConfigError, match="list of strings"):
        load_config({}, "reader.batch_size=2")


def test_other_config_groups_and_interpolations_are_refused():
    with pytest.raises(ConfigError, match="no config group 'db/mysql'"):
        load_config({}, ["db/mysql=x"])
    with pytest.raises(ConfigError, match="interpolations are not supported"):
        load_config({}, ["dataset.data_folder=${oc.env:HOME}"])


# -- against Hydra ---------------------------------------------------------------------------------------

SINGLE = ["1", "x", "null", "'quoted'", "1e-3"]
# A list in the place of a mapping, or the reverse, is left to the schema's types here; Hydra refuses it.
VALUES = {
    "anon": SINGLE,
    "list": [*SINGLE, "[1,2]", "[]", "[{a: 1}]"],
    "client_kwargs": [*SINGLE, "{}", "{region: eu}", "{deep: {er: 2}, region: 3}"],
    "client_kwargs.region": SINGLE,
    "client_kwargs.deep.er": SINGLE,
}


@st.composite
def overrides(draw):
    sign, key = draw(st.sampled_from(["", "+", "++", "++", "~"])), draw(st.sampled_from(list(VALUES)))
    value = draw(st.sampled_from(VALUES[key]))
    return f"{sign}{key}" if sign == "~" and value == "x" else f"{sign}{key}={value}"


trees = st.fixed_dictionaries(
    {},
    optional={
        "anon": st.sampled_from([True, None, 1]),
        "list": st.just([1, 2, 3]),
        "client_kwargs": st.sampled_from(
            [{}, {"region": "us"}, {"region": {"a": 1}, "deep": {"er": 1, "est": 2}}]
        ),
    },
)


@settings(max_examples=500, deadline=None)
@given(trees, st.lists(overrides(), min_size=1, max_size=4))
def test_any_sequence_of_overrides_gives_what_hydra_gives(tree, texts):
    omegaconf = pytest.importorskip("omegaconf")
    loader = pytest.importorskip("hydra._internal.config_loader_impl").ConfigLoaderImpl
    parser = pytest.importorskip("hydra.core.override_parser.overrides_parser").OverridesParser.create()
    prefix = "workload.storage.storage_options."
    texts = [text[: len(text) - len(text.lstrip("+~"))] + prefix + text.lstrip("+~") for text in texts]
    source = {"workload": {"storage": {"storage_options": tree}}}
    # A plain override here may also give what is not there, which Hydra spells ++.
    hydra_texts = [text if text[0] in "+~" else f"++{text}" for text in texts]
    config = omegaconf.OmegaConf.create(copy.deepcopy(source))
    try:
        loader._apply_overrides_to_config(parser.parse_overrides(hydra_texts), config)
        container = omegaconf.OmegaConf.to_container(config)
        theirs = container["workload"]["storage"]["storage_options"]
    except Exception:
        theirs = "refused"
    try:
        ours = load_config(source, texts).to_dict()["storage"]["storage_options"]
    except ConfigError:
        ours = "refused"
    assert ours == theirs


def test_null_switches_an_optional_section_off():
    tree = {"checkpoint": {"ksm": {}, "randomize_tensor": False}}
    assert load_config(tree).checkpoint.ksm is not None
    assert load_config(tree, ["checkpoint.ksm=null"]).checkpoint.ksm is None
