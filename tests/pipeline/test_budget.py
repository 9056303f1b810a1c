"""How much a loader reads ahead."""

import numpy as np
import pytest

import dlio_fast as df


def write(folder, count, save, shape=(256, 256)):
    values = np.random.default_rng(1)
    for i in range(count):
        save(folder / f"f{i}.npz", x=values.integers(0, 16, shape, dtype=np.uint8))
    return df.Dataset.from_files(folder)


def test_the_spec_counts_the_memory_that_deflated_files_take_beside_their_samples(tmp_path):
    dataset = write(tmp_path, 1, np.savez_compressed)
    packed = (tmp_path / "f0.npz").stat().st_size
    assert packed - 400 < dataset.spec.scratch_bytes < packed


def test_the_spec_counts_arrays_that_samples_are_copied_out_of(tmp_path):
    np.savez(tmp_path / "f0.npz", x=np.zeros((256, 256, 4), np.uint8))
    whole = df.Dataset.from_files(tmp_path)
    apart = df.Dataset.from_files(tmp_path, sample_axis=-1)
    assert (whole.spec.scratch_bytes, apart.spec.scratch_bytes) == (0, 256 * 256 * 4)


def test_stored_files_take_their_batches_only(tmp_path):
    assert write(tmp_path, 1, np.savez).spec.scratch_bytes == 0


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("prefetch_bytes", [1, 70_000, 200_000, None])
def test_what_is_in_flight_stays_within_the_budget_unless_one_batch_exceeds_it(
    tmp_path, save, prefetch_bytes
):
    loader = df.Loader(write(tmp_path, 12, save), threads=4, prefetch_bytes=prefetch_bytes)
    assert sum(len(batch["x"]) for batch in loader) == 12
    one_batch = 256 * 256 + loader.dataset.spec.scratch_bytes
    assert loader.stats()["peak_bytes_in_flight"] <= max(loader.prefetch_bytes, one_batch + 2 * 16384)


@pytest.mark.parametrize("prefetch_bytes", [-1, -5])
def test_a_negative_budget_is_refused(tmp_path, prefetch_bytes):
    with pytest.raises(ValueError, match="prefetch_bytes"):
        df.Loader(write(tmp_path, 1, np.savez), prefetch_bytes=prefetch_bytes)
