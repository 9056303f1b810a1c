"""Runs of small workloads: what they do, and that what they report is what happened."""

import json
import os
import time

import numpy as np
import pytest

from dlio_fast.config import load_config
from dlio_fast.errors import ChecksumError, ConfigError, DlioFastFileNotFoundError
from dlio_fast.workload.generate import GenerateResult, generate
from dlio_fast.workload.run import Phase, check_runnable, run
from tests.workload.files import payload_offset

FILES, SAMPLE = 10, 10_000


def workload(folder, *overrides):
    """10 files of one sample, batches of 4: 3 steps an epoch."""
    tree = {
        "framework": "none",
        "workflow": {"generate_data": True},
        "dataset": {
            "data_folder": str(folder),
            "format": "npz",
            "num_files_train": FILES,
            "record_length_bytes": SAMPLE,
        },
        "reader": {"batch_size": 4, "batch_size_eval": 1},
    }
    return load_config(tree, overrides)


def sizes(folder):
    return sum(path.stat().st_size for path in folder.rglob("*.npz"))


# Training


@pytest.mark.parametrize("framework", ["none", "pytorch"])
def test_every_sample_is_read_once_an_epoch(tmp_path, framework):
    result = run(workload(tmp_path, f"framework={framework}", "train.epochs=3"), progress=False)
    assert [(phase.epoch, phase.kind) for phase in result.phases] == [
        (1, "train"),
        (2, "train"),
        (3, "train"),
    ]
    for phase in result.phases:
        assert (phase.metrics.steps, phase.metrics.samples) == (3, FILES)
    assert result.settings["framework"] == framework
    assert result.total()["samples"] == 3 * FILES


@pytest.mark.parametrize("framework", ["none", "pytorch"])
def test_bytes_are_those_that_were_read(tmp_path, framework):
    generate(workload(tmp_path))
    result = run(workload(tmp_path, f"framework={framework}"), progress=False)
    nbytes = result.phases[0].metrics.bytes_read
    assert FILES * SAMPLE <= nbytes <= sizes(tmp_path) + FILES * 4096
    assert nbytes == result.reading["bytes_read"]
    over_time = sum(result.series["gb_per_second"]) * result.series["interval_seconds"] * 1e9
    assert over_time == pytest.approx(nbytes)


def test_time_is_waiting_or_computing(tmp_path):
    cfg = workload(tmp_path, "train.computation_time=0.02", "train.epochs=2")
    for phase in run(cfg, progress=False).phases:
        metrics = phase.metrics
        assert metrics.compute_seconds >= 3 * 0.02
        assert metrics.stall_seconds + metrics.compute_seconds <= metrics.seconds
        assert metrics.stall_seconds >= metrics.first_batch_seconds > 0
        assert metrics.au_percent <= metrics.au_from_stall_percent <= 100


def test_computation_times_are_drawn_again_with_the_same_seed(tmp_path, monkeypatch):
    slept, sleep = [], time.sleep
    monkeypatch.setattr(
        time, "sleep", lambda seconds: slept.append(seconds) if seconds >= 1 else sleep(seconds)
    )
    cfg = workload(tmp_path, "train.computation_time={type: uniform, min: 1, max: 2}", "train.epochs=2")
    run(cfg, progress=False)
    run(cfg, progress=False)
    first, again = slept[:6], slept[6:]
    assert first == again
    assert len(set(first)) == 6, "steps and epochs differ"
    assert all(1 <= seconds <= 2 for seconds in first)


def test_a_short_run_is_measured_too(tmp_path):
    result = run(workload(tmp_path, "dataset.num_files_train=1"), progress=False)
    assert result.phases[0].metrics.au_percent is None, "the only step is left out"
    assert result.total()["au_met"] is None


def test_au_is_judged_against_its_goal(tmp_path):
    cfg = workload(tmp_path, "train.computation_time=0.03", "train.epochs=2", "metric.au=0.01")
    assert run(cfg, progress=False).total()["au_met"] is True
    assert run(workload(tmp_path, "metric.au=0.99"), progress=False).total()["au_met"] is False


# Limits


def test_an_epoch_ends_after_total_training_steps(tmp_path):
    result = run(workload(tmp_path, "train.total_training_steps=2", "train.epochs=2"), progress=False)
    assert [phase.metrics.steps for phase in result.phases] == [2, 2]
    assert [phase.metrics.samples for phase in result.phases] == [8, 8]


@pytest.mark.parametrize("framework", ["none", "pytorch"])
def test_limits_of_the_call_win_where_they_are_lower(tmp_path, framework):
    cfg = workload(tmp_path, "train.epochs=5", "train.total_training_steps=2", f"framework={framework}")
    result = run(cfg, max_epochs=2, max_steps=1, progress=False)
    assert [phase.metrics.steps for phase in result.phases] == [1, 1]
    result = run(cfg, max_epochs=9, max_steps=9, progress=False)
    assert [phase.metrics.steps for phase in result.phases] == [2] * 5


# Evaluation


def test_evaluation_follows_the_epochs_that_the_config_says(tmp_path):
    cfg = workload(
        tmp_path,
        "workflow.evaluation=true",
        "dataset.num_files_eval=3",
        "train.epochs=6",
        "evaluation.eval_after_epoch=2",
        "evaluation.epochs_between_evals=3",
        "evaluation.eval_time=0.001",
    )
    result = run(cfg, progress=False)
    assert [phase.epoch for phase in result.phases_of("eval")] == [2, 5]
    for phase in result.phases_of("eval"):
        assert (phase.metrics.steps, phase.metrics.samples) == (3, 3)
        assert phase.metrics.compute_seconds >= 0.003
    assert result.total("eval")["samples"] == 6
    assert result.to_dict()["eval"]["epochs"] == 2


# Generation


def test_data_are_generated_first_and_only_what_is_missing(tmp_path):
    parts = []
    run(workload(tmp_path), on_done=parts.append, progress=False)
    assert [type(part) for part in parts] == [GenerateResult, Phase]
    (tmp_path / "train/img_03_of_10.npz").unlink()
    result = run(workload(tmp_path), progress=False)
    assert (result.generated.files, result.generated.skipped) == (1, FILES - 1)


def test_generation_alone_is_a_run(tmp_path):
    result = run(workload(tmp_path, "workflow.train=false"), progress=False)
    assert result.generated.files == FILES and result.phases == []
    json.dumps(result.to_dict(), allow_nan=False)


def test_without_data_the_error_says_how_to_make_them(tmp_path):
    with pytest.raises(DlioFastFileNotFoundError, match="dlio-fast generate"):
        run(workload(tmp_path, "workflow.generate_data=false"))
    (tmp_path / "train").mkdir()
    with pytest.raises(DlioFastFileNotFoundError, match="dlio-fast generate"):
        run(workload(tmp_path, "workflow.generate_data=false", "~dataset.num_files_train"))


@pytest.mark.parametrize("framework", ["none", "pytorch"])
def test_training_without_a_single_batch_is_refused(tmp_path, framework):
    cfg = workload(tmp_path, f"framework={framework}", "reader.batch_size=11", "reader.drop_last=true")
    with pytest.raises(ConfigError, match=r"10 samples .* batch of 11 .*drop_last"):
        run(cfg, progress=False)
    with pytest.raises(ConfigError, match="total_training_steps"):
        run(workload(tmp_path, "train.total_training_steps=0"), progress=False)


def test_without_epochs_it_is_said_that_nothing_is_trained(tmp_path):
    result = run(workload(tmp_path, "train.epochs=0"), progress=False)
    assert result.phases == [] and "train.epochs is 0" in result.notes[0]


def test_an_evaluation_without_files_is_refused_before_anything_is_done(tmp_path):
    cfg = workload(tmp_path / "data", "workflow.evaluation=true", "dataset.num_files_eval=0")
    with pytest.raises(ConfigError, match="num_files_eval"):
        run(cfg, progress=False)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("wanted", ["~dataset.num_files_train", "dataset.num_files_eval=3"])
def test_evaluation_files_are_looked_for_before_the_training(tmp_path, wanted):
    generate(workload(tmp_path))
    cfg = workload(tmp_path, "workflow.evaluation=true", "workflow.generate_data=false", wanted)
    parts = []
    with pytest.raises(DlioFastFileNotFoundError, match="dlio-fast generate"):
        run(cfg, on_done=parts.append, progress=False)
    assert parts == []


# Damage


def damage(folder):
    path = folder / "train/img_04_of_10.npz"
    raw = bytearray(path.read_bytes())
    raw[payload_offset(path) + 5000] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("framework", ["none", "pytorch"])
def test_checksums_are_verified_unless_told_otherwise(tmp_path, framework):
    cfg = workload(tmp_path, "workflow.generate_data=false", f"framework={framework}")
    generate(cfg)
    damage(tmp_path)
    with pytest.raises(ChecksumError, match=r"img_04_of_10\.npz"):
        run(cfg, progress=False)
    result = run(cfg, verify=False, progress=False)
    assert result.settings["verify"] is False and result.phases[0].metrics.samples == FILES


# What cannot be run, or not in full


def test_a_framework_that_is_not_there_yet_is_refused_before_anything_happens(tmp_path):
    for framework in ("tensorflow", "jax"):
        with pytest.raises(
            ConfigError, match=f"{framework!r} is not supported by this version; pytorch and none"
        ):
            run(workload(tmp_path / "data", f"framework={framework}"))
    assert not (tmp_path / "data").exists()


def test_so_is_a_format(tmp_path):
    with pytest.raises(ConfigError, match="hdf5_opt"):
        run(workload(tmp_path / "data", "dataset.format=hdf5_opt"))
    assert not (tmp_path / "data").exists()


def test_a_workflow_without_anything_to_do_is_refused():
    with pytest.raises(ConfigError, match="nothing to run: checkpoint"):
        run(load_config("llama3_8b"))


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("workflow.checkpoint=true", "checkpoint"),
        ("workflow.profiling=true", "profiling"),
        ("reader.preprocess_time=0.1", "preprocess_time"),
        ("dataset.record_length_bytes_resize=4096", "resized"),
        ("reader.transformed_record_dims=[2, 2]", "resized"),
        ("reader.read_type=memory", "memory"),
        ("reader.data_loader=dali", "dali"),
        ("reader.reader_classname=a.b", "reader_classname"),
        ("dataset.keep_files=false", "keep_files"),
        ("output.folder=results", "output.folder"),
        ("reader.read_threads=4", "reader.read_threads"),
        ("reader.prefetch_size=4", "reader.prefetch_size"),
        ("reader.transfer_size=4096", "reader.transfer_size"),
        ("reader.shuffle_size=4", "reader.shuffle_size"),
    ],
)
def test_keys_without_effect_are_named(tmp_path, override, word):
    assert check_runnable(workload(tmp_path)) == []
    (note,) = check_runnable(workload(tmp_path, override))
    assert word in note


def test_tuning_keys_without_effect_share_a_note(tmp_path):
    (note,) = check_runnable(workload(tmp_path, "reader.read_threads=4", "reader.prefetch_size=4"))
    assert "reader.read_threads, reader.prefetch_size" in note


# The report


@pytest.mark.parametrize(
    "overrides", [(), ("dataset.format=npy",), ("dataset.record_length_bytes_stdev=3000",)]
)
def test_the_result_is_plain_json(tmp_path, overrides):
    result = run(workload(tmp_path, *overrides), progress=False)
    tree = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert tree.keys() == {"settings", "notes", "generate", "phases", "train", "eval", "reading", "series"}
    assert (
        tree["settings"].items() >= {"files": FILES, "batch_size": 4, "verify": True, "direct": False}.items()
    )
    assert tree["phases"][0]["batch_wait"].keys() == {"p50", "p95", "p99", "max"}
    assert np.isfinite(tree["train"]["samples_per_second"])


def test_settings_of_the_call_are_in_force(tmp_path):
    result = run(workload(tmp_path), threads=3, prefetch_bytes=1 << 20, progress=False)
    assert (result.settings["threads"], result.settings["prefetch_bytes"]) == (3, 1 << 20)


def test_direct_data_are_read_past_the_page_cache_or_the_reason_is_told(tmp_path):
    result = run(workload(f"direct://{tmp_path}"), progress=False)
    assert result.settings["direct"]
    reading = result.reading
    assert reading["direct_bytes"] == reading["bytes_read"] or reading["fallback_reason"]


@pytest.mark.parametrize("framework", ["none", "pytorch"])
def test_no_thread_and_no_descriptor_is_left(tmp_path, framework):
    cfg = workload(tmp_path, f"framework={framework}")
    run(cfg, progress=False)  # whatever is started once, is started now
    threads, descriptors = os.listdir("/proc/self/task"), os.listdir("/proc/self/fd")
    run(cfg, progress=False)
    run(cfg, max_steps=1, progress=False)
    assert len(os.listdir("/proc/self/task")) == len(threads)
    assert len(os.listdir("/proc/self/fd")) == len(descriptors)
