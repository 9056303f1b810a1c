"""to_dict and to_yaml lose nothing: neither values nor which keys were given."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlio_fast.config import list_workloads, load_config

NAMES = [name for name, _ in list_workloads()]
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12).filter(
    lambda text: "${" not in text and text != "???"
) | st.sampled_from(
    ["off", "1e-3", "null", "12:30", "2024-01-01", "~", "0x1f", "=", "<<", "true", "1_000", "007", "'"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words
)
free = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3)
)
seconds = st.floats(0, 10) | st.fixed_dictionaries(
    {"mean": st.floats(0, 10)}, optional={"stdev": st.floats(0, 1)}
)
shuffles = st.sampled_from(["off", "seed", "random", True, False])


def section(**keys):
    return st.fixed_dictionaries({}, optional=keys)


trees = section(
    framework=st.sampled_from(["pytorch", "jax", "none", {"pytorch": {"batch_size": 3}}, {"jax": {}}]),
    model=words
    | section(name=words, model_size=st.integers(0, 2**62), parallelism=section(tensor=st.integers(1, 8))),
    pytorch_config=section(num_workers=st.integers(0, 8), distributed=free, fields=st.lists(words) | words),
    storage=section(storage_options=st.dictionaries(words, free, max_size=3), storage_root=words),
    dataset=section(
        data_folder=words.filter(lambda word: word.strip() and "\0" not in word),
        format=st.sampled_from(["npz", "NPY", "hdf5"]),
        record_length=st.integers(1, 2**62) | st.floats(1, 1e18),
        record_dims=st.lists(st.integers(1, 9)),
        parquet=section(
            columns=st.lists(st.fixed_dictionaries({"name": words}, optional={"read": st.booleans()}))
        ),
    ),
    reader=section(
        file_shuffle=shuffles, prefetch=st.integers(0, 9), preprocess_time=seconds, shuffle=st.booleans()
    ),
    train=section(computation_time=seconds, computation_time_stdev=st.floats(0, 1)),
    metric=section(au=st.floats(0, 100)),
    checkpoint=section(compression=words) | st.none(),
    hydra=st.dictionaries(words, free, max_size=2),
)


def assert_same(twin, config):
    assert twin == config
    assert twin.to_dict() == config.to_dict()
    assert twin.model_dump() == config.model_dump()


@settings(max_examples=300, deadline=None)
@given(trees, st.booleans())
def test_any_configuration_survives_dict_json_and_yaml(tmp_path_factory, tree, wrapped):
    config = load_config({"workload": tree} if wrapped else tree)
    assert_same(load_config(config.to_dict()), config)
    assert_same(load_config({"workload": config.to_dict()}), config)
    folder = tmp_path_factory.mktemp("round", numbered=True)
    (folder / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    assert_same(load_config(folder / "config.yaml"), config)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    assert_same(load_config(folder / "config.json"), config)


@pytest.mark.parametrize("name", NAMES)
def test_every_bundled_workload_survives(name, tmp_path):
    config = load_config(name)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert_same(load_config(tmp_path / "config.yaml"), config)
    assert_same(load_config(config.to_dict()), config)


@pytest.mark.parametrize("name", NAMES)
def test_every_bundled_workload_survives_pydantics_full_dump(name):
    config = load_config(name)
    assert load_config(config.model_dump(mode="json")).model_dump() == config.model_dump()


def test_only_given_keys_are_written():
    config = load_config({"workload": {"reader": {"batch_size": 1}}})
    assert config.to_dict() == {"reader": {"batch_size": 1}}
    assert config.to_yaml() == "reader:\n  batch_size: 1\n"
