"""Generated indexed binary and synthetic data sets: DLIO's layout, with the offsets that DLIO means."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.workload.generate import generate
from tests.workload.files import config, tree

FORMATS = ["indexed_binary", "mmap_indexed_binary"]


def index_of(path):
    return [np.fromfile(f"{path}{ending}", np.uint64).tolist() for ending in (".off.idx", ".sz.idx")]


@settings(deadline=None, max_examples=40)
@given(
    dtype=st.sampled_from(["uint8", "int16", "float32", "complex128", "bool"]),
    dims=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    samples=st.integers(1, 7),
    scheme=st.sampled_from(["", "direct://"]),
    name=st.sampled_from(FORMATS),
)
def test_what_is_generated_is_read_and_is_the_random_stream_of_its_file(
    tmp_path_factory, dtype, dims, samples, scheme, name
):
    folder = tmp_path_factory.mktemp("made")
    cfg = config(
        format=name, record_dims=dims, record_element_type=dtype, num_samples_per_file=samples,
        num_files_eval=1, data_folder=f"{scheme}{folder}",
    )  # fmt: skip
    generate(cfg)
    kind = {"f": "float32", "c": "float64", "b": "bool"}.get(np.dtype(dtype).kind, "bytes")
    for split, first in (("train", 0), ("valid", 3)):
        data = df.Dataset(cfg, split)
        for number, path in enumerate(data.files, first):
            expected = np.empty((samples, *dims), dtype)
            _core.fill(
                expected.reshape(-1).view(np.uint8), cfg.dataset.seed, number, 0, _core.FILL_KINDS[kind]
            )
            ids = range((number - first) * samples, (number - first + 1) * samples)
            got = data.batch(ids)["x"]
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == expected.dtype
            assert Path(path).read_bytes() == expected.tobytes()
            assert index_of(path) == [
                [i * expected[0].nbytes for i in range(samples)], [expected[0].nbytes] * samples
            ]  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_the_names_are_dlios(tmp_path, name):
    generate(config(format=name, num_files_train=2, num_files_eval=1), data_folder=tmp_path)
    assert sorted(tree(tmp_path)) == sorted(
        f"{file}.{name}{ending}"
        for file in ("train/img_0_of_2", "train/img_1_of_2", "valid/img_0_of_1")
        for ending in ("", ".off.idx", ".sz.idx")
    )


def test_offsets_go_on_beyond_the_generation_buffer(tmp_path):
    cfg = config(
        format="indexed_binary", record_length_bytes=10_000, num_samples_per_file=8,
        generation_buffer_size=30_000,
    )  # fmt: skip
    generate(cfg, data_folder=tmp_path)
    offsets, _ = index_of(tmp_path / "train/img_1_of_3.indexed_binary")
    assert offsets == [i * 10_000 for i in range(8)]


def test_each_file_has_the_size_that_dlio_draws_for_it(tmp_path):
    cfg = config(
        format="indexed_binary", record_length_bytes=2828486, record_length_bytes_stdev=71311,
        num_samples_per_file=2, data_folder=str(tmp_path),
    )  # fmt: skip
    generate(cfg)
    sizes = [index_of(path)[1] for path in sorted((tmp_path / "train").glob("*.indexed_binary"))]
    assert sizes == [[2898464] * 2, [2768640] * 2, [2820510] * 2]
    assert [x.nbytes for x in df.Dataset(cfg).batch(range(6))["x"]] == [n for pair in sizes for n in pair]


@pytest.mark.parametrize("ending", ["", ".off.idx", ".sz.idx"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_resuming_makes_a_file_anew_whose_data_or_index_is_damaged(tmp_path, ending, damage):
    cfg = config(format="indexed_binary", num_samples_per_file=4)
    generate(cfg, data_folder=tmp_path)
    before = tree(tmp_path)
    path = tmp_path / f"train/img_1_of_3.indexed_binary{ending}"
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, path.stat().st_size - 1)
    else:
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    result = generate(cfg, data_folder=tmp_path, skip_existing=True)
    assert (result.files, result.skipped) == (1, 2)
    assert tree(tmp_path) == before


def test_indexes_are_no_strangers_to_the_folder(tmp_path, recwarn):
    cfg = config(format="indexed_binary")
    generate(cfg, data_folder=tmp_path)
    generate(cfg, data_folder=tmp_path)
    assert not recwarn.list


# Synthetic


def test_synthetic_files_hold_their_number(tmp_path):
    generate(config(format="synthetic", num_files_eval=1), data_folder=tmp_path)
    contents = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.synthetic")}
    assert contents == {
        **{f"train/img_{i}_of_3.synthetic": str(i) for i in range(3)}, "valid/img_0_of_1.synthetic": "3",
    }  # fmt: skip


def test_synthetic_samples_follow_from_seed_and_number(tmp_path):
    section = dict(
        format="synthetic", record_dims=[3, 5], record_element_type="float32", num_samples_per_file=4,
        data_folder=str(tmp_path),
    )  # fmt: skip
    generate(config(**section))
    data = df.Dataset(config(**section))
    everything = data.batch(range(12))["x"]
    assert everything.shape == (12, 3, 5) and everything.dtype == np.float32
    assert len(np.unique(everything)) == everything.size
    np.testing.assert_array_equal(data.batch([7, 2, 7])["x"], everything[[7, 2, 7]])
    np.testing.assert_array_equal(df.Dataset(config(**section)).batch([5])["x"][0], everything[5])
    with df.Loader(data, batch_size=5, shuffle=True) as loader:
        got = np.concatenate([batch["x"] for batch in loader])
        assert loader.stats()["bytes_read"] == 0
    assert sorted(map(bytes, got)) == sorted(map(bytes, everything))
    assert not np.array_equal(df.Dataset(config(**section, seed=1)).batch([5])["x"][0], everything[5])


def test_synthetic_files_need_not_be_readable(tmp_path):
    (tmp_path / "f.synthetic").symlink_to("/nowhere")
    sample = df.Dataset.from_files(tmp_path)[0]["x"]
    assert sample.shape == (256, 256) and sample.dtype == np.uint8
