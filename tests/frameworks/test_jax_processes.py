"""Two JAX processes on the CPU: each reads its share, and over both a batch is one array."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks.jax_process import PROCESSES
from tests.frameworks.jax_support import write_planes

ROOT = Path(__file__).parents[2]
CASES = {  # planes, options
    "even": (24, {"batch_size": 4, "shuffle": True, "seed": 1}),
    "uneven": (23, {"batch_size": 4}),
    "padded": (23, {"batch_size": 4, "shuffle": True, "pad": True}),
    "dropped": (23, {"batch_size": 4, "shuffle": True, "drop_last": True}),
    "by file": (24, {"batch_size": 6, "shuffle": True, "shard_strategy": "hash"}),
    "skipping": (24, {"batch_size": 4, "on_error": "skip"}),
}


@pytest.fixture(scope="module")
def got(tmp_path_factory):
    """What each process got, by case."""
    root = tmp_path_factory.mktemp("planes")
    folders = {count: str(write_planes(root / str(count), count, side=8)) for count, _ in CASES.values()}
    cases = json.dumps({name: (folders[count], options) for name, (count, options) in CASES.items()})
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    command = [sys.executable, "-m", "tests.frameworks.jax_process", address]
    processes = [
        subprocess.Popen(
            [*command, str(number), cases],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    try:
        outputs = [process.communicate(timeout=100) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], [stderr for _, stderr in outputs]
    both = [json.loads(stdout.splitlines()[-1]) for stdout, _ in outputs]
    return {name: [process[name] for process in both] for name in CASES}


def flat(batches):
    return [number for batch in batches for number in batch]


def test_each_process_finds_its_rank_by_itself(got):
    assert [each["ranks"] for each in got["even"]] == [[0, 2, "jax.distributed"], [1, 2, "jax.distributed"]]


@pytest.mark.parametrize("case", ["even", "by file"])
def test_the_processes_shares_are_disjoint_and_together_everything(got, case):
    shares = [flat(each["numpy"]) for each in got[case]]
    assert [len(share) for share in shares] == [12, 12]
    assert sorted(flat(shares)) == list(range(24))


@pytest.mark.parametrize("case", ["even", "padded", "dropped", "by file"])
def test_a_sharding_over_processes_makes_one_array_of_their_batches(got, case):
    first, second = got[case]
    for each in (first, second):
        assert "error" not in each
        assert each["own"] == each["numpy"]
    assert first["all"] == second["all"] == [a + b for a, b in zip(first["own"], second["own"], strict=True)]


def test_one_process_s_state_serves_all(got):
    assert got["even"][0]["state"] == got["even"][1]["state"]


def test_padding_and_dropping_make_even_what_is_not(got):
    assert [len(batch) for batch in got["padded"][0]["all"]] == [8, 8, 8]
    assert set(flat(got["padded"][0]["all"])) == set(range(23))
    assert [len(batch) for batch in got["dropped"][0]["all"]] == [8, 8]
    assert len(set(flat(got["dropped"][0]["all"]))) == 16


def test_uneven_shares_are_refused_on_every_process_before_one_waits_for_the_other(got):
    for each in got["uneven"]:
        assert "equally many samples on each, and 23 over 2 are not" in each["error"]
        assert "drop_last=True or pad=True" in each["error"]
        assert each["own"] == []


def test_skipping_what_fails_is_refused_as_one_process_s_batches_would_become_shorter(got):
    for each in got["skipping"]:
        assert "on_error='skip'" in each["error"]
        assert each["own"] == []
