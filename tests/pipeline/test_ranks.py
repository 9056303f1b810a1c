"""Which of how many processes this one is: as given, as its framework or as its launcher says."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast._ranks import find_ranks
from dlio_fast.torch import DlioPyTorchDataset
from tests.pipeline.rank_programs import share

N = 23
TORCHRUN = {
    "RANK": "5", "WORLD_SIZE": "6", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "2",
    "GROUP_WORLD_SIZE": "3", "ROLE_RANK": "5", "ROLE_WORLD_SIZE": "6", "MASTER_ADDR": "node0",
}  # fmt: skip
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "8", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_UNIVERSE_SIZE": "8", "PMIX_RANK": "3",
}  # fmt: skip
OPEN_MPI_NAMES = "OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE"
MPICH = {"PMI_RANK": "2", "PMI_SIZE": "4", "PMI_FD": "6", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "2"}
MVAPICH2 = {"MV2_COMM_WORLD_RANK": "1", "MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_LOCAL_RANK": "1"}
# Of a job of two nodes for four tasks: what `sbatch` gives its script, which runs once, on the first node,
# and what is there on the login node within `salloc`.
SLURM_SALLOC = {
    "SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4", "SLURM_NNODES": "2",
    "SLURM_JOB_NUM_NODES": "2", "SLURM_TASKS_PER_NODE": "2(x2)",
}  # fmt: skip
SLURM_BATCH = SLURM_SALLOC | {
    "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_GTIDS": "0",
    "SLURM_TASK_PID": "4711", "ENVIRONMENT": "BATCH",
}  # fmt: skip
# What `srun` in that script adds: one program a task, and what mpirun or torchrun are started by, one a node.
SLURM_STEP = SLURM_BATCH | {
    "SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_GTIDS": "2,3",
    "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
}  # fmt: skip
SLURM_STEP_A_NODE = SLURM_STEP | {
    "SLURM_PROCID": "1", "SLURM_LOCALID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
}  # fmt: skip
# The shell that `salloc` opens on the first node where the site is set up so: a step of one task.
SLURM_INTERACTIVE = SLURM_SALLOC | {
    "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0", "SLURM_GTIDS": "0",
    "SLURM_STEP_ID": "4294967290", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_TASKS_PER_NODE": "1",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A file a sample, whose number is all that is in it."""
    folder = tmp_path_factory.mktemp("ranks")
    for i in range(N):
        np.savez(folder / f"img_{i:02d}.npz", x=np.full((2, 1), i))
    return str(folder)


def explicit(folder, world_size=2) -> list[list[int]]:
    """The shares of ranks that are told what they are."""
    return [share(folder, rank=rank, world_size=world_size)["ids"] for rank in range(world_size)]


# -- what is given --


@pytest.mark.parametrize("environ", [{}, TORCHRUN, OPEN_MPI, {"RANK": "nonsense", "WORLD_SIZE": "-1"}])
def test_arguments_win(environ):
    assert find_ranks(1, 3, environ=environ) == (1, 3, "arguments")


@pytest.mark.parametrize("environ", [{}, TORCHRUN, SLURM_STEP, {"RANK": "nonsense", "WORLD_SIZE": "-1"}])
def test_without_sharding_a_process_reads_everything(environ):
    assert find_ranks(shard=False, environ=environ) == (0, 1, "shard=False")


@pytest.mark.parametrize("given", [{"rank": 0}, {"rank": 1}, {"world_size": 1}, {"world_size": 4}])
def test_rank_and_world_size_are_given_together(given):
    with pytest.raises(ValueError, match="together, not rank .*, world_size"):
        find_ranks(**given, environ=TORCHRUN)


def test_a_rank_and_no_sharding_contradict_each_other():
    with pytest.raises(ValueError, match="shard=False reads everything"):
        find_ranks(0, 2, shard=False)


@pytest.mark.parametrize("rank, world_size", [(2, 2), (-1, 2), (0, 0), (0, -1)])
def test_impossible_arguments_are_refused(rank, world_size):
    with pytest.raises(ValueError, match=f"not rank {rank} of {world_size} .from arguments"):
        find_ranks(rank, world_size)


@pytest.mark.parametrize("rank, world_size", [(0.0, 2), ("0", 2), (0, 2.0)])
def test_ranks_are_integers(rank, world_size):
    with pytest.raises(TypeError):
        find_ranks(rank, world_size)


def test_the_loader_and_the_wrappers_take_the_same(folder, monkeypatch):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    dataset = df.Dataset.from_files(folder)
    assert (df.Loader(dataset).rank, df.Loader(dataset).world_size) == (5, 6)
    assert df.Loader(dataset).stats()["ranks_from"] == "RANK and WORLD_SIZE of the environment"
    ds = DlioPyTorchDataset({}, data_folder=folder)
    assert (ds.loader.rank, ds.options["rank"], ds.options["world_size"]) == (5, 5, 6)
    assert len(ds) == N // 6 == len(df.Loader(dataset))
    assert len(DlioPyTorchDataset({}, data_folder=folder, rank=0, world_size=1)) == N
    assert len(DlioPyTorchDataset({}, data_folder=folder, shard=False)) == N
    assert len(ds.map_style()) == N
    with pytest.raises(ValueError, match="together"):
        DlioPyTorchDataset({}, data_folder=folder, rank=0)


# -- what launchers say --


@pytest.mark.parametrize(
    "environ, rank, world_size, names",
    [
        pytest.param(TORCHRUN, 5, 6, "RANK and WORLD_SIZE", id="torchrun"),
        pytest.param(OPEN_MPI, 3, 8, OPEN_MPI_NAMES, id="mpirun"),
        pytest.param(MPICH, 2, 4, "PMI_RANK and PMI_SIZE", id="MPICH"),
        pytest.param(MVAPICH2, 1, 2, "MV2_COMM_WORLD_RANK and MV2_COMM_WORLD_SIZE", id="MVAPICH2"),
        pytest.param(SLURM_STEP, 3, 4, "SLURM_PROCID and SLURM_STEP_NUM_TASKS", id="srun"),
        pytest.param(SLURM_INTERACTIVE, 0, 1, "SLURM_PROCID and SLURM_STEP_NUM_TASKS", id="salloc's shell"),
        pytest.param(SLURM_STEP_A_NODE | TORCHRUN, 5, 6, "RANK and WORLD_SIZE", id="torchrun by srun"),
        pytest.param(SLURM_STEP_A_NODE | OPEN_MPI, 3, 8, OPEN_MPI_NAMES, id="mpirun by srun"),
        pytest.param(SLURM_STEP_A_NODE | MPICH, 2, 4, "PMI_RANK and PMI_SIZE", id="MPICH's mpiexec by srun"),
        pytest.param(OPEN_MPI | TORCHRUN, 5, 6, "RANK and WORLD_SIZE", id="torchrun by mpirun"),
    ],
)  # fmt: skip
def test_a_launched_process_has_its_launcher_s_rank(environ, rank, world_size, names):
    assert find_ranks(environ=environ) == (rank, world_size, f"{names} of the environment")


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="nothing"),
        pytest.param(SLURM_BATCH, id="sbatch"),
        pytest.param(SLURM_SALLOC, id="salloc"),
        pytest.param({"RANK": "1"}, id="a rank of nothing"),
        pytest.param({"WORLD_SIZE": "4"}, id="the size alone"),
        pytest.param({"OMPI_COMM_WORLD_RANK": "1", "PMI_SIZE": "2"}, id="halves of two"),
        pytest.param({"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}, id="a rank on its node"),
    ],
)
def test_a_process_that_nobody_has_launched_is_alone(environ):
    assert find_ranks(environ=environ) == (0, 1, "single process")


@pytest.mark.parametrize("rank, world_size", [("4", "4"), ("-1", "4"), ("0", "0"), ("one", "4"), ("0", "")])
@pytest.mark.parametrize(
    "names",
    [("RANK", "WORLD_SIZE"), ("PMI_RANK", "PMI_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")],
)
def test_impossible_numbers_in_the_environment_name_the_variables(names, rank, world_size):
    environ = dict(zip(names, (rank, world_size), strict=True))
    with pytest.raises(
        ValueError, match=f"{names[0]} and {names[1]} .*{rank!r} and {world_size!r}.*shard=False"
    ):
        find_ranks(environ=environ)


# -- the real things --


def environment(**variables) -> dict[str, str]:
    """Ours, without what would make the launchers' processes something else."""
    launched = ("RANK", "WORLD_SIZE", "OMPI_", "PMI", "MV2_", "SLURM_", "JAX_")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(launched)}
    root = Path(__file__).parents[2]
    return ours | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", **variables}


def program(name, folder, out, *arguments) -> list[str]:
    out.mkdir(exist_ok=True)
    return ["-m", "tests.pipeline.rank_programs", name, folder, str(out), *arguments]


def run(command, **variables) -> None:
    done = subprocess.run(command, env=environment(**variables), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr


def results(out, kind) -> list[dict]:
    """What the two processes found, in the order of their ranks."""
    found = [json.loads(path.read_text()) for path in out.iterdir()]
    assert len(found) == 2
    return [one[kind] for one in sorted(found, key=lambda one: next(iter(one.values()))["rank"])]


def check(found, source, folder) -> None:
    """Disjoint, complete, and as two ranks have it that are told what they are."""
    assert [(one["rank"], one["world_size"]) for one in found] == [(0, 2), (1, 2)]
    assert {one["from"] for one in found} == {source}
    shares = [one["ids"] for one in found]
    assert sorted(shares[0] + shares[1]) == list(range(N))
    assert shares == explicit(folder)


def test_mpirun_s_processes_share_the_samples_out(folder, tmp_path):
    assert shutil.which("mpirun"), "mpirun is missing: .ci/run installs openmpi-bin"
    as_root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    command = ["mpirun", "-n", "2", "--oversubscribe", "--bind-to", "none", sys.executable]
    run([*command, *program("launched", folder, tmp_path / "out")], **as_root)
    check(results(tmp_path / "out", "launched"), f"{OPEN_MPI_NAMES} of the environment", folder)
    assert all(sorted(one["ids"]) == list(range(N)) for one in results(tmp_path / "out", "alone"))


def test_two_jax_processes_share_the_samples_out(folder, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    store = str(tmp_path / "store")
    processes = [
        subprocess.Popen(
            [sys.executable, *program("jax", folder, tmp_path / "out", address, store, str(rank), "2")],
            env=environment(JAX_PLATFORMS="cpu"),
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=100)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], errors
    check(results(tmp_path / "out", "initialised"), "jax.distributed", folder)
    for one in results(tmp_path / "out", "both"):
        assert (one["rank"], one["world_size"], one["from"]) == (0, 1, "torch.distributed")
        assert sorted(one["ids"]) == list(range(N))


@pytest.fixture(scope="module")
def torchrun(folder, tmp_path_factory):
    """What the two processes found that torchrun, by its module's name, has launched."""
    out = tmp_path_factory.mktemp("torchrun") / "out"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    run([*command, *program("torch", folder, out)])
    return out


def test_torchrun_s_processes_share_the_samples_out(torchrun, folder):
    check(results(torchrun, "launched"), "RANK and WORLD_SIZE of the environment", folder)
    assert all(sorted(one["ids"]) == list(range(N)) for one in results(torchrun, "alone"))


def test_once_initialised_torch_distributed_counts_whatever_the_environment_says(torchrun, folder):
    check(results(torchrun, "initialised"), "torch.distributed", folder)


def test_arguments_win_over_torch_distributed(torchrun, folder):
    for one in results(torchrun, "explicit"):
        assert one == {"rank": 2, "world_size": 5, "from": "arguments", "ids": explicit(folder, 5)[2]}


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_the_workers_of_a_rank_read_its_share(torchrun, folder, context):
    assert [one["ids"] for one in results(torchrun, context)] == explicit(folder)


def test_a_distributed_sampler_over_the_map_style_data_set_shares_out_once(torchrun):
    first, second = (one["ids"] for one in results(torchrun, "sampler"))
    # The sampler itself makes the shares equally long: it begins anew with the first.
    assert (first, second) == (list(range(0, N, 2)), [*range(1, N, 2), 0])
