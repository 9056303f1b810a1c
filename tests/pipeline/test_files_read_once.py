"""Files of many samples are read once an epoch where the order keeps their samples together."""

import numpy as np
import pytest

import dlio_fast as df

FILES, PER_FILE, SIDE = 12, 10, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """12 files of 10 samples of 16 KiB; sample i's first element is i."""
    root = tmp_path_factory.mktemp("many")
    for file in range(FILES):
        x = np.random.default_rng(file).integers(0, 9, (SIDE, SIDE, PER_FILE), np.int32)
        x[0, 0] = np.arange(file * PER_FILE, (file + 1) * PER_FILE)
        np.savez(root / f"f{file:02d}.npz", x=x)
    return root


def loader(folder, **options):
    dataset = df.Dataset.from_files(folder, sample_axis=-1)
    return df.Loader(dataset, **{"batch_size": 7, "seed": 4, "threads": 3, **options})


def ids(batches):
    return [int(x[0, 0]) for batch in batches for x in batch["x"]]


@pytest.mark.parametrize("scheme", ["", "direct://"])
@pytest.mark.parametrize("shuffle", ["off", "files", "window"])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_each_file_is_opened_once_an_epoch(folder, scheme, shuffle, batch_size):
    with loader(f"{scheme}{folder}", shuffle=shuffle, shuffle_window=600_000, batch_size=batch_size) as one:
        for epoch in (1, 2):
            assert sorted(ids(one)) == list(range(FILES * PER_FILE))
            assert one.stats()["files"] == FILES * epoch
            assert one.stats()["cache_misses"] == FILES * epoch
        assert one.stats()["bytes_read"] < 2 * 1.1 * FILES * PER_FILE * SIDE * SIDE * 4


def test_a_global_shuffle_reads_files_again_unless_all_fit(folder):
    with loader(folder, shuffle="global", batch_size=1) as one:
        ids(one)
        assert one.stats()["files"] == FILES
    with loader(folder, shuffle="global", batch_size=1, prefetch_bytes=1_000_000) as one:
        ids(one)
        assert one.stats()["files"] > 2 * FILES


@pytest.mark.parametrize("shuffle", ["off", "global", "files", "window"])
@pytest.mark.parametrize("prefetch_bytes", [0, 100_000, 500_000, None])
def test_the_order_and_the_values_do_not_depend_on_the_memory(folder, shuffle, prefetch_bytes):
    options = {"shuffle": shuffle, "shuffle_window": 600_000}
    with (
        loader(folder, **options) as much,
        loader(folder, **options, prefetch_bytes=prefetch_bytes) as little,
    ):
        for expected, batch in zip(much, little, strict=True):
            assert np.array_equal(batch["x"], expected["x"])


def test_what_is_kept_is_part_of_the_budget(folder):
    with loader(folder, shuffle="files", shuffle_window=600_000, prefetch_bytes=3_000_000) as one:
        ids(one)
        assert one.stats()["pool"]["peak"] <= 3_000_000 + 3 * 7 * SIDE * SIDE * 4
