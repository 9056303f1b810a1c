"""A ring that keeps files delivers what one that does not delivers, and opens each file once."""

from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.pipeline.batch import batch_arrays

KINDS = {"stored": np.savez, "deflated": np.savez_compressed, "npy": np.save}
ENOUGH = 64 << 20


def write(folder: Path, n_files: int, per_file: int, *, kind="stored", axis=-1, order="C", ragged=False):
    """Files of per_file samples each, along axis; returns their data set."""
    values = np.random.default_rng(1)
    for i in range(n_files):
        shape = [3 + (ragged and i), 4]
        shape.insert(2 if axis == -1 else 0, per_file)
        x = np.asarray(values.integers(0, 9, shape), order=order)
        path = folder / f"{i:03d}.{'npy' if kind == 'npy' else 'npz'}"
        if kind == "npy":
            np.save(path, x)
        else:
            KINDS[kind](path, x=x, label=values.random(per_file, np.float32))
    return df.Dataset.from_files(folder, sample_axis=axis)


def delivered(data: df.Dataset, ring: _core.Ring, plan: _core.Plan, batches: list[list[int]]):
    """For each batch its sample ids, its arrays' dtypes, shapes and bytes, and its failures."""
    results, waiting = [], deque(batches)
    pending = 0
    while waiting or pending:
        if waiting and ring.submit_batch(plan, np.array(waiting[0], np.int64)):
            waiting.popleft()
            pending += 1
            continue
        batch = ring.next_batch(plan)
        pending -= 1
        failures = [(type(error), str(error), lost) for error, lost in batch.failures()]
        batch.compact()
        arrays = {
            name: [(x.dtype.str, x.shape, x.tobytes()) for x in field]
            for name, field in batch_arrays(batch, data.spec).items()
        }
        results.append((batch.samples(), arrays, failures))
    return results


def read(data, batches, *, cache_bytes, threads=2, budget=ENOUGH, verify=True):
    """What is delivered, and the ring's counters at the end."""
    ring = _core.Ring(threads, budget, _core.Pool(ENOUGH), cache_bytes)
    try:
        return delivered(data, ring, data.plan(verify=verify), batches), ring.stats()
    finally:
        ring.close()


def split(ids, size: int) -> list[list[int]]:
    return [list(map(int, ids[i : i + size])) for i in range(0, len(ids), size)]


@settings(max_examples=150)
@given(st.data())
def test_random_batches_are_the_same_with_and_without_the_cache(data):
    n_files, per_file = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 6))
    with TemporaryDirectory() as folder:
        dataset = write(
            Path(folder), n_files, per_file,
            kind=data.draw(st.sampled_from(list(KINDS))), axis=data.draw(st.sampled_from([0, -1])),
            order=data.draw(st.sampled_from("CF")), ragged=data.draw(st.booleans()),
        )  # fmt: skip
        assert len(dataset) == n_files * per_file
        for damaged in data.draw(st.sets(st.integers(0, n_files - 1), max_size=2)):
            path = sorted(Path(folder).iterdir())[damaged]
            content = bytearray(path.read_bytes())
            content[data.draw(st.integers(0, len(content) - 1))] ^= 0xFF
            path.write_bytes(content[: data.draw(st.integers(0, len(content)))] or b"x")
        samples = st.integers(0, len(dataset) - 1)
        batches = data.draw(st.lists(st.lists(samples, min_size=1, max_size=8), min_size=1, max_size=8))
        settings = {
            "threads": data.draw(st.integers(1, 4)),
            "budget": data.draw(st.sampled_from([0, 10_000, ENOUGH])),
            "verify": data.draw(st.booleans()),
        }
        plain, _ = read(dataset, batches, cache_bytes=0, **settings)
        cache_bytes = 4096 * data.draw(st.integers(1, 20))
        cached, counters = read(dataset, batches, cache_bytes=cache_bytes, **settings)
        assert cached == plain
        assert counters["cache_peak_bytes"] <= cache_bytes


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_opens_every_file_once(tmp_path, kind, shuffle):
    data = write(tmp_path, 12, 7, kind=kind)
    ids = np.random.default_rng(3).permutation(len(data)) if shuffle else np.arange(len(data))
    batches = split(ids, 4)
    plain, without = read(data, batches, cache_bytes=0)
    cached, counters = read(data, batches, cache_bytes=12 * data.plan().file_bytes())
    assert cached == plain
    assert without["files"] > 12 and counters["files"] == 12
    assert counters["bytes_read"] < without["bytes_read"]
    assert counters["cache_misses"] == 12
    assert counters["cache_hits"] == without["files"] - 12
    assert counters["cache_bytes"] == 0  # nobody wants them any more


def test_neighbouring_batches_need_room_for_few_files(tmp_path):
    data = write(tmp_path, 30, 7)
    _, counters = read(
        data, split(np.arange(len(data)), 4), cache_bytes=4 * data.plan().file_bytes(), threads=2
    )
    assert counters["files"] == 30


def test_files_take_what_the_plan_says(tmp_path):
    data = write(tmp_path, 3, 7)
    per_file = data.plan().file_bytes()
    assert per_file == 4096 + 4096  # x and label, each a block
    _, counters = read(data, [[0], [7], [14]], cache_bytes=ENOUGH)
    assert counters["cache_bytes"] == counters["cache_peak_bytes"] == 3 * per_file
    _, counters = read(data, [[0], [7], [14]], cache_bytes=per_file - 1)
    assert (counters["cache_peak_bytes"], counters["cache_misses"]) == (0, 3)


def test_plans_that_share_a_ring_share_no_files(tmp_path):
    for name, value in ("a", 1), ("b", 2):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "f.npz", x=np.full((4, 6), value))
    both = [df.Dataset.from_files(tmp_path / name, sample_axis=-1) for name in "ab"]
    plans = [data.plan() for data in both]
    ring = _core.Ring(1, ENOUGH, _core.Pool(ENOUGH), ENOUGH)
    for _ in range(3):
        for value, (data, plan) in enumerate(zip(both, plans, strict=True), 1):
            assert ring.submit_batch(plan, np.array([0], np.int64))
            assert (batch_arrays(ring.next_batch(plan), data.spec)["x"] == value).all()
    ring.close()


def test_nothing_is_kept_without_a_cache_or_after_the_end(tmp_path):
    data = write(tmp_path, 3, 7)
    _, counters = read(data, [[0], [1]], cache_bytes=0)
    assert [counters[f"cache_{name}"] for name in ("hits", "misses", "bytes", "peak_bytes")] == [0] * 4
    pool, plan = _core.Pool(ENOUGH), data.plan()
    ring = _core.Ring(1, ENOUGH, pool, ENOUGH)
    delivered(data, ring, plan, [[0], [7]])
    assert ring.stats()["cache_bytes"] == 2 * plan.file_bytes()
    assert pool.stats()["lent"] == 4
    ring.close()
    assert (ring.stats()["cache_bytes"], ring.stats()["cache_misses"]) == (0, 2)
    assert pool.stats()["lent"] == 0
