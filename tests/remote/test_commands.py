"""The command line with addresses of stores."""

import json
import time

import numpy as np
import pytest
import yaml

import dlio_fast as df
from dlio_fast.cli import main
from dlio_fast.errors import UnsupportedError
from dlio_fast.storage.remote import remote_path
from dlio_fast.workload.generate import generate


@pytest.fixture(params=["radosgw", "azurite"])
def real_store(request, new_store):
    return new_store(request.param)


@pytest.fixture
def cli(capfd):
    """A function: run the command line in this process -> (exit status, stdout, stderr)."""

    def call(*argv):
        capfd.readouterr()
        try:
            status = main(list(map(str, argv)))
        except SystemExit as leaving:
            status = leaving.code
        return status, *capfd.readouterr()

    return call


def flat(options, above=""):
    for name, value in options.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}={value}"


def given(store):
    """The options of the command line that stand for those of a store."""
    return [word for text in flat(store.storage_options) for word in ("--storage-option", text)]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    tree = {
        "dataset": {"format": "npz", "num_files_train": 6, "record_length_bytes": 20_000},
        "reader": {"batch_size": 2}, "train": {"epochs": 1},
        "workflow": {"generate_data": True, "train": True}, "framework": "none",
    }  # fmt: skip
    path.write_text(yaml.safe_dump(tree))
    return path


def test_generate_inspect_bench_and_index_take_addresses(cli, config, real_store):
    options, folder = given(real_store), f"{real_store.root}/data"
    argv = ("generate", config, "dataset.format=tfrecord", "--data-folder", folder)
    status, out, err = cli(*argv, *options)
    assert (status, err) == (0, "") and "generate: 6 files, " in out and "upload" in out
    assert "6 files checked" in cli(*argv, "--skip-existing", *options)[1]

    status, out, _ = cli("inspect", f"{folder}/train/img_0_of_6.tfrecord", "--json", *options)
    assert (status, json.loads(out)[0]["samples"]) == (0, 1)

    for key in real_store.list("data/index/"):
        real_store.delete(key)
    status, out, _ = cli("index", folder, "--json", *options)
    assert status == 0 and [entry["records"] for entry in json.loads(out)] == [1] * 6
    assert len(real_store.list("data/index/train/")) == 6

    status, out, _ = cli("bench", folder, "--json", *options)
    assert (status, json.loads(out)["files"]) == (0, 12)


def test_convert_takes_and_gives_addresses(cli, config, real_store, tmp_path):
    options, root = given(real_store), real_store.root
    cli("generate", config, "--data-folder", tmp_path / "npz")
    steps = (
        (tmp_path / "npz", f"{root}/npy", "--format", "npy", "--fields", "x"),
        (f"{root}/npy", f"{root}/npz", "--format", "npz"),
        (f"{root}/npz", tmp_path / "back"),
    )
    for step in steps:
        status, out, err = cli("convert", *step, *options)
        assert (status, err) == (0, "") and "6 samples" in out and "verified" in out
    for step in steps[:2]:
        assert "6 complete ones kept" in cli("convert", *step, *options)[1]
    for path in (tmp_path / "npz/train").iterdir():
        expected, found = np.load(path)["x"], np.load(tmp_path / "back/train" / path.name)
        np.testing.assert_array_equal(next(iter(found.values())), expected)
    assert "convert to another folder" in cli("convert", f"{root}/npz", f"{root}/npz", *options)[2]


def test_run_takes_its_store_from_the_environment_or_the_storage_section(
    cli, config, real_store, monkeypatch
):
    if real_store.root.startswith("s3"):
        options = real_store.storage_options
        named = {
            "access_key_id": options["key"], "secret_access_key": options["secret"], "region": "us-east-1",
            "endpoint_url": options["endpoint_url"], "s3_force_path_style": True,
        }  # fmt: skip
        section = {"storage_type": "s3", "storage_root": real_store.container, "storage_options": named}
    else:
        section = {"storage_root": real_store.root, "storage_options": real_store.storage_options}
    tree = yaml.safe_load(config.read_text())
    tree["storage"] = section
    tree["dataset"]["data_folder"] = "data"
    config.write_text(yaml.safe_dump(tree))
    status, out, err = cli("run", config)
    assert (status, err) == (0, "")
    assert "generate: 6 files" in out and "total: 6 samples" in out and "6 objects of" in out
    assert len(real_store.list("data/train/")) == 6

    del tree["storage"]
    tree["dataset"]["data_folder"] = f"{real_store.root}/data"
    config.write_text(yaml.safe_dump(tree))
    for name, value in real_store.environment.items():
        monkeypatch.setenv(name, value)
    status, out, _ = cli("run", config, "--json", "framework=pytorch", "--quiet")
    found = json.loads(out)
    assert (status, found["train"]["samples"], found["generate"]["skipped"]) == (0, 6, 6)
    assert found["settings"]["in_memory"] is None and found["phases"][0]["resident_before"] is None


def test_secrets_appear_nowhere(cli, config, real_store, tmp_path, monkeypatch):
    monkeypatch.setenv("DLIO_FAST_LOG", "debug")
    options, folder = given(real_store), f"{real_store.root}/data"
    section = tmp_path / "section.yaml"
    tree = yaml.safe_load(config.read_text())
    tree["storage"] = {"storage_root": real_store.root, "storage_options": real_store.storage_options}
    section.write_text(yaml.safe_dump(tree))
    absent = f"{real_store.root}-absent/x"
    commands = [
        ["generate", config, "--data-folder", folder, *options],
        ["generate", config, "--data-folder", absent, *options],
        ["bench", folder, *options],
        ["bench", folder, "--json", *options],
        ["bench", absent, *options],
        ["inspect", f"{folder}/train/img_0_of_6.npz", "--json", *options],
        ["inspect", f"{folder}/absent.npz", *options],
        ["convert", folder, f"{real_store.root}/y", "--format", "npy", "--fields", "x", "--json", *options],
        ["convert", absent, "y", *options],
        ["index", folder, *options],
        ["run", section, "--json", "dataset.data_folder=data"],
        ["run", section, "dataset.data_folder=data", "reader.batch_size=100", "workflow.generate_data=false"],
        ["run", section, "storage.storage_options.nonsense=3"],
        ["validate", section], ["validate", section, "--json"], ["validate", section, "--all"],
        ["bench", folder, *options, "--nonsense"],
        ["bench", folder, *(f"--storage-options={text}" for text in options[1::2])],
        ["bench", folder, *options, "--storage-option", f"nonsense={real_store.secrets[0]}"],
        ["bench", folder, *options, "--storage-option", real_store.secrets[0].replace("=", "")],
    ]  # fmt: skip
    seen = [cli(*command) for command in commands]
    assert {status for status, _, _ in seen} == {0, 1, 2}
    for command, (_, out, err) in zip(commands, seen, strict=True):
        for secret in (*real_store.secrets, real_store.secrets[0].replace("=", "")):
            assert secret not in out + err, command
    assert "***" in seen[13][1]
    assert all(secret not in repr(df.load_config(section)) for secret in real_store.secrets)


def test_what_a_store_refuses_is_one_line_within_ten_seconds(cli, config, radosgw):
    options, folder = given(radosgw), f"{radosgw.root}/data"
    cases = (
        (["--storage-option", "secret=wrong"], "access refused"),
        (["--storage-option", "endpoint_url=http://127.0.0.1:9"], "cannot be reached"),
        (["--storage-option", "endpoint_url=http://nowhere.invalid"], "cannot be reached"),
    )
    for more, said in cases:
        for command in (
            ["bench", folder], ["inspect", f"{folder}/x.npz"], ["convert", folder, "y"], ["index", folder],
            ["generate", config, "--data-folder", folder],
        ):  # fmt: skip
            began = time.monotonic()
            status, out, err = cli(*command, *options, *more)
            assert status == 1 and out == "" and said in err and "Traceback" not in err, (command, err)
            assert err.count("\n") == 1
            assert time.monotonic() - began < 10


def test_what_only_local_files_can_do_is_refused(cli, config, radosgw):
    options, folder = given(radosgw), f"{radosgw.root}/data"
    status, _, err = cli("bench", "--direct", folder, *options)
    assert status == 2 and "O_DIRECT" in err
    generate(df.load_config(config), data_folder=folder, storage_options=radosgw.storage_options)
    path = remote_path(f"{folder}/train/img_0_of_6.npz", radosgw.storage_options)
    with pytest.raises(UnsupportedError, match="mmap"):
        df.load(path, mmap=True)
    odirect = cli("validate", config, "reader.odirect=true", f"dataset.data_folder={folder}")[1]
    assert "reader.odirect: objects of a store have no page cache" in odirect
