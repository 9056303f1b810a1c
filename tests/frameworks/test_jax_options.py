"""DlioJaxDataset and JaxIterable: arguments, attributes, which option wins."""

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast.errors import ConfigError
from dlio_fast.jax import DlioJaxDataset, JaxIterable, create_jax_iterable
from tests.frameworks.conftest import SAMPLES
from tests.frameworks.jax_support import numbers

ANYWHERE = {"dataset": {"data_folder": "/data/set", "format": "npz"}}


def test_it_has_the_seed_system_s_attributes():
    ds = DlioJaxDataset(config_dict=ANYWHERE)
    assert (ds.data_folder, ds.backend_type, ds.format_type) == ("/data/set", "file", "npz")
    assert ds.config == df.load_config(ANYWHERE)
    assert ds.jax_config["batch_size"] == 1
    assert ds.config_info["framework"] == "jax"
    assert DlioJaxDataset("quickstart").backend_type == "directio"


def test_a_missing_data_folder_is_named():
    with pytest.raises(ConfigError, match="data_folder is required"):
        DlioJaxDataset({})


@pytest.mark.parametrize("framework", ["pytorch", "tensorflow", "jax", {"jax": {"batch_size": 7}}])
def test_a_config_for_any_framework_serves(framework):
    ds = DlioJaxDataset({**ANYWHERE, "framework": framework, "reader": {"data_loader": "pytorch"}})
    assert ds.options["batch_size"] == (7 if isinstance(framework, dict) else 1)


LAYERS = {
    "default": {"batch_size": 1, "seed": 123, "prefetch_buffer_size": 2, "writable": True},
    "reader": {"batch_size": 2, "seed": 2, "prefetch_buffer_size": 2, "writable": True},
    "profile": {"batch_size": 3, "seed": 3, "prefetch_buffer_size": 3, "writable": False},
    "section": {"batch_size": 4, "seed": 4, "prefetch_buffer_size": 4, "writable": True},
    "jax_config": {"batch_size": 5, "seed": 5, "prefetch_buffer_size": 5, "writable": False},
    "argument": {"batch_size": 6, "seed": 6, "prefetch_buffer_size": 0, "writable": True},
}


@pytest.mark.parametrize("highest", range(len(LAYERS)))
def test_argument_over_section_over_profile_over_reader_over_default(highest):
    given = dict(list(LAYERS.items())[: highest + 1])
    config = dict(ANYWHERE)
    if "reader" in given:
        config["reader"] = {"batch_size": 2, "seed": 2}
    if "profile" in given:
        config["framework_profiles"] = {"jax": given["profile"]}
    if "section" in given:
        config["jax_config"] = given["section"]
    ds = DlioJaxDataset(config_dict=config, jax_config=given.get("jax_config"), **given.get("argument", {}))
    expected = LAYERS[list(LAYERS)[highest]]
    assert {name: ds.jax_config[name] for name in expected} == expected


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(
        TypeError, match=r"DlioJaxDataset has no option 'batchsize'; did you mean 'batch_size'"
    ):
        DlioJaxDataset(data_folder="d", batchsize=3)


@pytest.mark.parametrize(
    "option, value", [("batch_size", 0), ("writable", 3), ("prefetch_buffer_size", "all"), ("shuffle", 3)]
)
def test_a_wrong_value_names_option_value_and_what_is_accepted(option, value):
    with pytest.raises(ConfigError, match=rf"jax_config\.{option} = {value!r}: accepted is"):
        DlioJaxDataset(data_folder="d", **{option: value})


def test_the_iterable_can_be_iterated_over_again_and_again(folder):
    config = {"dataset": {"data_folder": str(folder)}, "reader": {"batch_size": 8}}
    for iterable in (create_jax_iterable(config), DlioJaxDataset(config).create_iterable()):
        assert [numbers(iterable), numbers(iterable)] == [numbers(DlioJaxDataset(config))] * 2


# -- JaxIterable --


def test_an_address_is_all_that_jaxiterable_needs(folder):
    for iterable in (JaxIterable(folder), JaxIterable.from_prefix(f"file://{folder}")):
        assert numbers(iterable) == [[i] for i in range(SAMPLES)]


def test_jaxiterable_takes_what_s3dlio_s_takes(folder):
    iterable = JaxIterable.from_prefix(
        str(folder), prefetch=8, num_workers=2, batch_size=4, drop_last=True, shuffle=True, seed=3,
        auto_tune=False, reader_mode="range", part_size=1 << 20, max_inflight_parts=2, writable=False,
    )  # fmt: skip
    same = DlioJaxDataset(data_folder=folder, batch_size=4, drop_last=True, shuffle=True, seed=3)
    assert numbers(iterable) == numbers(same)
    assert iterable.stats()["threads"] == 2
    assert not next(iter(iterable)).flags.writeable
    options = {"prefetch": 4, "num_workers": 0, "batch_size": 9, "shuffle": False}
    assert [len(batch) for batch in JaxIterable(folder, loader_opts=options)] == [9, 9, 3]


def test_jaxiterable_s_arguments_win_over_its_loader_opts(folder):
    assert JaxIterable(folder, loader_opts={"batch_size": 9}, batch_size=8).options["batch_size"] == 8


def test_jaxiterable_names_an_unknown_option(folder):
    with pytest.raises(TypeError, match="JaxIterable has no option 'batchsize'"):
        JaxIterable(folder, loader_opts={"batchsize": 9})


def test_jaxiterable_has_device_arrays_too(folder):
    assert numbers(JaxIterable(folder, batch_size=8).device_iter())[0] == list(range(8))
    assert np.asarray(next(JaxIterable(folder).device_iter())).shape == (1, 16, 20)
