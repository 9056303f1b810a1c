"""DlioJaxDataset.data_source: single samples in a pipeline of Grain's."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import grain
import numpy as np
import pytest

from dlio_fast.errors import ChecksumError, SampleError
from dlio_fast.jax import DlioJaxDataset
from tests.frameworks.conftest import RAGGED_SIDES, SAMPLES, payload
from tests.frameworks.jax_support import damaged_copy, numbers


@pytest.fixture
def source(folder):
    return DlioJaxDataset(data_folder=folder).data_source()


def test_it_is_what_grain_calls_a_random_access_data_source(source):
    assert isinstance(source, grain.sources.RandomAccessDataSource)
    assert len(source) == SAMPLES
    assert all(np.array_equal(source[i], payload(i)) for i in (0, 7, SAMPLES - 1, 3))
    with pytest.raises(SampleError, match=f"sample {SAMPLES} is out of range"):
        source[SAMPLES]


def test_its_samples_have_the_structure_of_the_data_set_s_batches(folder):
    assert list(DlioJaxDataset(data_folder=folder, fields=["y", "x"]).data_source()[4]) == ["y", "x"]
    x, y = DlioJaxDataset(data_folder=folder, return_labels=True).data_source()[4]
    assert (x[0, 0], y) == (4, 4) and y.shape == ()


def test_its_samples_are_in_native_byte_order(tmp_path):
    x = np.arange(24, dtype=">i4").reshape(2, 3, 4)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(4, dtype=">i8"))
    sample, label = DlioJaxDataset(data_folder=tmp_path, return_labels=True).data_source()[3]
    assert sample.dtype.isnative and np.array_equal(sample, x[..., 3])
    assert label.dtype.isnative and label == 3


def test_a_shuffled_and_batched_pipeline_delivers_every_sample_once(source):
    pipeline = grain.MapDataset.source(source).shuffle(seed=1).batch(4)
    epoch = [pipeline[i] for i in range(len(pipeline))]
    assert [len(batch) for batch in epoch] == [4, 4, 4, 4, 4, 1]
    assert sorted(sum(numbers(epoch), [])) == list(range(SAMPLES))
    assert all(np.array_equal(x, payload(x[0, 0])) for batch in epoch for x in batch)


def test_its_threads_deliver_the_same(source):
    pipeline = grain.MapDataset.source(source).shuffle(seed=1).repeat(2).batch(4)
    threaded = pipeline.to_iter_dataset(grain.ReadOptions(num_threads=8, prefetch_buffer_size=16))
    assert numbers(threaded) == numbers(pipeline[i] for i in range(len(pipeline)))


def test_a_pipeline_goes_on_from_its_state(source):
    pipeline = grain.MapDataset.source(source).shuffle(seed=1).batch(4).to_iter_dataset()
    expected = numbers(pipeline)
    batches = iter(pipeline)
    for seen in range(len(expected)):
        state = batches.get_state()
        resumed = iter(pipeline)
        resumed.set_state(state)
        assert numbers(resumed) == expected[seen:]
        next(batches)


def test_the_samples_of_ranks_are_shared_out_by_grain(folder):
    shares = []
    for rank in range(2):
        source = DlioJaxDataset(data_folder=folder, rank=rank, world_size=2).data_source()
        pipeline = grain.MapDataset.source(source).shuffle(seed=1)[rank::2].batch(4)
        shares.append(sum(numbers(pipeline[i] for i in range(len(pipeline))), []))
    assert [len(share) for share in shares] == [11, 10]
    assert sorted(sum(shares, [])) == list(range(SAMPLES))


WORKERS = """
import json, sys
import absl.flags, grain
from dlio_fast.jax import DlioJaxDataset

if __name__ == "__main__":
    absl.flags.FLAGS(sys.argv[:1])  # of which Grain's workers have some
    source = DlioJaxDataset(data_folder=sys.argv[1]).data_source()
    source[0]  # starts a thread, which the workers must do without
    pipeline = grain.MapDataset.source(source).shuffle(seed=1).batch(4).to_iter_dataset()
    pipeline = pipeline.mp_prefetch(grain.MultiprocessingOptions(num_workers=2))
    batches = iter(pipeline)
    first = [next(batches)[:, 0, 0].tolist() for _ in range(2)]
    state = batches.get_state()
    rest = [batch[:, 0, 0].tolist() for batch in batches]
    again = iter(pipeline)
    again.set_state(state)
    assert [batch[:, 0, 0].tolist() for batch in again] == rest
    print(json.dumps(first + rest))
"""


def test_its_worker_processes_deliver_every_sample_once(folder, tmp_path):
    program = tmp_path / "workers.py"
    program.write_text(WORKERS)
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, program, folder], stdout=subprocess.PIPE, text=True, env=environ, check=True
    )
    assert sorted(sum(json.loads(done.stdout), [])) == list(range(SAMPLES))


def test_the_data_loader_checks_its_checkpoints_by_the_source_s_name(folder, source):
    def loader(of):
        sampler = grain.samplers.IndexSampler(len(of), num_epochs=1, shuffle=True, seed=3)
        return iter(grain.DataLoader(data_source=of, sampler=sampler, worker_count=0))

    batches = loader(source)
    held = [next(batches) for _ in range(5)]
    state = batches.get_state()
    rest = [x[0, 0] for x in batches]
    assert sorted([*rest, *(x[0, 0] for x in held)]) == list(range(SAMPLES))
    resumed = loader(DlioJaxDataset(data_folder=folder).data_source())
    resumed.set_state(state)
    assert [x[0, 0] for x in resumed] == rest
    with pytest.raises(ValueError, match="DlioDataSource"):
        loader(DlioJaxDataset(data_folder=folder, fields=["y"]).data_source()).set_state(state)


def test_it_can_be_pickled(source):
    source[0]
    other = pickle.loads(pickle.dumps(source))
    assert np.array_equal(other[5], payload(5))
    assert repr(other) == repr(source)


def test_samples_may_differ_in_shape(ragged_folder):
    source = DlioJaxDataset(data_folder=ragged_folder).data_source()
    assert [source[i].shape for i in range(len(source))] == [(side, side) for side in RAGGED_SIDES]
    assert [x.shape for x in source._getitems([3, 1])] == [(RAGGED_SIDES[i],) * 2 for i in (3, 1)]


def test_a_damaged_file_is_named(folder, tmp_path):
    source = DlioJaxDataset(data_folder=damaged_copy(folder, tmp_path)).data_source()
    pipeline = grain.MapDataset.source(source).batch(3)
    with pytest.raises(ChecksumError) as caught:
        pipeline[2]
    assert Path(caught.value.path).name == "img_2_of_7.npz"
    assert numbers([pipeline[3]]) == [[9, 10, 11]]
