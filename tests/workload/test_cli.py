"""The command line: what goes where, and with which exit status."""

import json
import os
import signal
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import yaml

from dlio_fast import __version__
from dlio_fast.cli import main
from dlio_fast.commands.common import cache_line, how_read
from dlio_fast.config import list_workloads, load_config
from tests.workload.files import payload_offset, tree

CONFIG = """\
framework: none
workflow: {generate_data: true}
dataset: {data_folder: FOLDER, format: npz, num_files_train: 6, record_length_bytes: 10000}
reader: {batch_size: 2}
train: {epochs: 2}
"""


@pytest.fixture
def config(tmp_path):
    """A configuration file whose data lie beside it."""
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG.replace("FOLDER", str(tmp_path / "data")))
    return str(path)


@pytest.fixture
def cli(capsys):
    """Run a command line in this process: exit status, stdout, stderr."""

    def call(*argv):
        try:
            status = main(list(map(str, argv)))
        except SystemExit as leaving:
            status = leaving.code
        out, err = capsys.readouterr()
        return status, out, err

    return call


def start(*argv, **options):
    """Start the command line as a process of its own."""
    command = [sys.executable, "-m", "dlio_fast", *map(str, argv)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


# Usage


def test_the_version(cli):
    assert cli("--version") == (0, f"dlio-fast {__version__}\n", "")


@pytest.mark.parametrize(
    "command", ["generate", "run", "validate", "inspect", "convert", "bench", "workloads"]
)
def test_every_command_explains_itself(cli, command):
    status, out, _ = cli(command, "--help")
    assert status == 0 and f"usage: dlio-fast {command}" in out and "--json" in out
    assert command in cli("--help")[1]


@pytest.mark.parametrize(
    "argv",
    [
        [], ["nonsense"], ["run"], ["inspect"], ["bench"], ["convert", "."],
        ["convert", ".", "x", "--files", "2", "--samples-per-file", "2"], ["run", "quickstart", "--nonsense"],
        ["workloads", "surplus"], ["bench", ".", "--threads", "0"], ["bench", ".", "--direct", "--buffered"],
        ["bench", ".", "--storage-option", "keyonly"], ["bench", ".", "--storage-option", "a.=b"],
        ["bench", ".", "--prefetch-bytes", "many"], ["run", "quickstart", "--max-steps", "-1"],
    ],
)  # fmt: skip
def test_bad_usage_is_one_line_and_status_2(cli, argv):
    status, out, err = cli(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("dlio-fast") and "error: " in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["validate", "quickstrat"], "did you mean quickstart"),
        (["validate", "absent.yaml"], "absent.yaml"),
        (["validate", "quickstart", "train.epochs=many"], "train.epochs"),
        (["validate", "quickstart", "train.epoch=1"], "epochs"),
        (["run", "resnet50_h100"], "tensorflow"),
        (["run", "llama3_8b"], "checkpoint"),
        (["generate", "quickstart", "--data-folder", "s3:///x"], "the bucket is missing"),
        (["run", "quickstart", "dataset.data_folder=nosuchscheme://x"], "nosuchscheme://"),
        (["bench", "nosuchscheme://x"], "nosuchscheme://"),
        (["inspect", "nosuchscheme://x"], "nosuchscheme://"),
        (["index", "nosuchscheme://x"], "nosuchscheme://"),
        (["convert", "nosuchscheme://x", "y"], "nosuchscheme://"),
        (["convert", __file__, "nosuchscheme://x"], "nosuchscheme://"),
        (["bench", "--direct", "s3://bucket/x"], "O_DIRECT"),
        (["bench", __file__, "s3://bucket/x"], "local files and objects"),
        (["bench", "s3://b/x", "--storage-option", "endpoint_ul=http://x"], "did you mean 'endpoint_url'"),
        (["convert", __file__, "y", "--source-format", "nonsense"], "nonsense"),
        (["bench", __file__, f"direct://{__file__}"], "all direct:// or none"),
    ],
)
def test_a_bad_configuration_is_status_2_and_names_the_cause(cli, argv, words):
    status, out, err = cli(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("dlio-fast: error: ") and words in err and "Traceback" not in err


@pytest.mark.parametrize("command", ["generate", "run", "validate"])
def test_overrides_are_not_said_to_be_required(cli, command):
    err = cli(command)[2]
    assert "required: CONFIG" in err and "OVERRIDE" not in err


def test_failed_work_is_status_1(cli, config, tmp_path):
    status, out, err = cli("run", config, "workflow.generate_data=false")
    assert (status, out) == (1, "")
    assert err.startswith("dlio-fast: error: ") and "dlio-fast generate" in err and err.count("\n") == 1
    assert cli("bench", tmp_path / "absent")[0] == 1


def test_the_traceback_is_there_for_those_who_ask(cli, monkeypatch):
    monkeypatch.setenv("DLIO_FAST_LOG", "debug")
    status, _, err = cli("validate", "absent.yaml")
    assert status == 2 and "Traceback" in err and err.splitlines()[-1].startswith("dlio-fast: error: ")


def test_options_may_stand_anywhere(cli, config):
    status, out, _ = cli("validate", "--json", config, "reader.batch_size=3", "--all", "train.epochs=5")
    found = json.loads(out)
    assert status == 0 and (found["reader"]["batch_size"], found["train"]["epochs"]) == (3, 5)


# workloads and validate


def test_workloads_lists_what_is_bundled(cli):
    status, out, err = cli("workloads")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == [name for name, _ in list_workloads()]
    listed = json.loads(cli("workloads", "--json")[1])
    assert {"name": "quickstart", "summary": dict(list_workloads())["quickstart"]} in listed


def test_validate_prints_what_can_be_loaded_again(cli, tmp_path):
    status, out, _ = cli("validate", "workload=unet3d_h100", "++workload.reader.batch_size=2", "~metric.au")
    assert status == 0 and yaml.safe_load(out)["reader"]["batch_size"] == 2
    (tmp_path / "again.yaml").write_text(out)
    again = load_config(tmp_path / "again.yaml")
    assert again == load_config("unet3d_h100", ["++workload.reader.batch_size=2", "~metric.au"])


def test_validate_says_what_this_version_leaves_out(cli):
    out = cli("validate", "unet3d_h100")[1]
    assert "168 + 0 npz files" in out and "# checkpoint workloads are not part of this version" in out
    assert (
        "# this version cannot read hdf5_opt"
        in cli("validate", "resnet50_h100", "dataset.format=hdf5_opt")[1]
    )


def test_an_unknown_key_is_warned_of_in_a_line(cli, config):
    status, _, err = cli("validate", config, "++reader.batch_sise=4")
    assert status == 0 and err.startswith("dlio-fast: warning: ") and "batch_size" in err
    assert err.count("\n") == 1


def test_a_folder_of_workloads_is_looked_at_first(cli, config, tmp_path):
    assert "small.yaml" in cli("validate", "small", "--config-dir", tmp_path)[1]


# generate


def test_generate_works_where_the_workflow_does_not_ask_for_it(cli, config, tmp_path):
    status, out, _ = cli("generate", config, "workflow.generate_data=false", "--threads", "2")
    assert status == 0 and "6 files" in out
    assert len(tree(tmp_path / "data")) == 6
    assert "complete" in cli("generate", config, "--skip-existing")[1]


def test_generate_tells_machines_what_it_did(cli, config, tmp_path):
    folder = tmp_path / "elsewhere"
    status, out, err = cli("generate", config, "--data-folder", folder, "--json", "--quiet")
    assert (status, err) == (0, "")
    found = json.loads(out)
    nbytes = sum(path.stat().st_size for path in folder.rglob("*.npz"))
    assert (found["files"], found["bytes"], found["folder"]) == (6, nbytes, str(folder))


# convert


def test_convert_says_what_it_did_to_people_and_to_machines(cli, config, tmp_path):
    cli("generate", config)
    argv = ("convert", tmp_path / "data", tmp_path / "npy", "--format", "npy", "--fields", "x")
    status, out, _ = cli(*argv)
    assert status == 0 and "6 samples, 6 npy files" in out and "verified" in out
    status, out, err = cli(*argv, "--no-verify", "--json", "--quiet")
    found = json.loads(out)
    assert (status, err, found["files"], found["kept"], found["verified"]) == (0, "", 0, 6, False)


def test_convert_takes_from_a_configuration_what_files_do_not_say(cli, config, tmp_path):
    cli("generate", config, "dataset.num_samples_per_file=2")
    argv = ("convert", tmp_path / "data/train", tmp_path / "npz", "--config", config, "--files", "12")
    assert cli(*argv)[0] == 0
    assert sorted(os.listdir(tmp_path / "npz")) == [f"img_{i:02d}_of_12.npz" for i in range(12)]


# run


def test_run_prints_each_epoch_and_the_total(cli, config):
    status, out, err = cli("run", config)
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[0].startswith("generate: 6 files")
    assert lines[1].startswith("epoch 1 train: 6 samples") and lines[2].startswith("epoch 2 train: 6 samples")
    assert lines[3].startswith("total: 12 samples")
    assert all(
        word in out for word in ("samples/s", "GB/s", "AU", "stall", "checksums verified", "page cache")
    )


def test_run_gives_one_json_object_and_keeps_the_lines_apart(cli, config):
    status, out, err = cli("run", config, "--json", "--max-epochs", "1", "--no-verify", "--seed", "9")
    found = json.loads(out)
    assert status == 0 and found["version"] == __version__
    assert (len(found["phases"]), found["train"]["samples"]) == (1, 6)
    assert found["settings"]["seed"] == 9 and found["settings"]["verify"] is False
    assert "epoch 1 train" in err and "checksums NOT verified" in err


def test_quiet_is_quiet(cli, config):
    assert cli("run", config, "--quiet") == (0, "", "")


def test_what_is_left_out_is_said_first(cli, config):
    out = cli("run", config, "workflow.checkpoint=true")[1]
    assert out.splitlines()[0] == "note: checkpoint workloads are not part of this version; skipped"


def test_data_from_memory_are_not_passed_off_as_the_storages_speed(cli, config):
    cli("generate", config)
    assert "the data came from memory" in cli("run", config)[1]


# inspect and bench


def test_inspect_is_a_table_for_people_and_a_tree_for_machines(cli, tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((3, 4)))
    status, out, err = cli("inspect", tmp_path / "a.npz")
    assert (status, err) == (0, "")
    assert "float64" in out and "(3, 4)" in out and "ok" in out
    (found,) = json.loads(cli("inspect", tmp_path / "a.npz", "--json")[1])
    assert found["members"][0]["shape"] == [3, 4] and found["members"][0]["crc_state"] == "ok"


def test_inspect_goes_on_after_a_bad_file_and_ends_with_status_1(cli, tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    for path in (good, bad):
        np.savez(path, x=np.zeros(100))
    raw = bytearray(bad.read_bytes())
    raw[payload_offset(bad)] ^= 1
    bad.write_bytes(raw)
    status, out, err = cli("inspect", tmp_path, bad, good)
    assert status == 1 and "mismatch" in out and f"{good}: npz" in out
    assert err.count("dlio-fast: error: ") == 2 and "name files in it" in err


def test_bench_reports_what_was_read(cli, tmp_path):
    for index in range(4):
        (tmp_path / str(index)).write_bytes(bytes(100_000))
    status, out, err = cli("bench", tmp_path, "--buffered", "--threads", "2", "--checksum", "--repeat", "3")
    assert (status, err) == (0, "")
    assert "4 files, through the page cache, 2 threads, crc32 over every byte" in out
    assert all(word in out for word in ("GB/s", "CPU-s/GB", "files/s", "p99", "page cache", "median"))
    found = json.loads(cli("bench", tmp_path, "--json", "--prefetch-bytes", "1M")[1])
    assert found["rounds"][0]["bytes"] == 400_000 and found["prefetch_bytes"] == 1 << 20


REFUSED = "through the page cache (O_DIRECT was refused: the reason)"


@pytest.mark.parametrize(
    ("direct", "nbytes", "reason", "words"),
    [
        (False, 0, None, "through the page cache"),
        (True, 100, None, "O_DIRECT"),
        (True, 0, "the reason", REFUSED),
        (True, 75, "the reason", f"O_DIRECT for 75 % of the bytes, the rest {REFUSED}"),
    ],
)
def test_how_data_were_read_is_told_from_what_happened(direct, nbytes, reason, words):
    assert how_read(direct, nbytes, 100, reason) == words


def test_the_cache_is_bypassed_only_where_it_was():
    assert cache_line(0.5, direct=True).startswith("page cache bypassed")
    assert cache_line(0.5, direct=False).startswith("page cache partly warm")
    assert cache_line(1.0, direct=True, in_memory="tmpfs") == "the data lie in memory (tmpfs), not on storage"


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no tmpfs")
def test_it_is_said_that_data_lie_in_memory(cli, config):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        out = cli("run", config, f"dataset.data_folder={folder}")[1]
        assert "the data lie in memory (tmpfs)" in out and "try direct://" not in out
        assert "the data lie in memory (tmpfs)" in cli("bench", "--direct", folder)[1]


# As a process


def test_nothing_heavy_is_imported_for_a_light_command():
    code = (
        "import sys; from dlio_fast.cli import main; main(['workloads']); "
        "sys.exit(bool({'torch', 'tqdm', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_reader_that_has_seen_enough_causes_no_noise():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "dlio_fast", "workloads"]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_a_closed_stdout_is_no_defect(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    command = f"exec '{sys.executable}' -m dlio_fast inspect '{tmp_path}/a.npy' >&-"
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_ctrl_c_ends_a_run_with_status_130(config):
    process = start("run", config, "train.computation_time=30")
    assert process.stdout.readline().startswith("generate: ")  # the first step sleeps from here on
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "dlio-fast: interrupted\n")


def test_it_works_as_a_module_from_any_folder(config, tmp_path):
    process = start("run", config, "framework=pytorch", "--json", "--quiet", cwd=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["settings"]["framework"] == "pytorch"
