"""Thread and memory defaults follow what this process may use, not what the machine has."""

import os
import resource

import pytest

from dlio_fast._limits import cpu_count, default_threads, memory_limit

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.fixture
def machine(tmp_path):
    """A root folder whose /proc and /sys can be written: ``machine({path: contents})``."""

    def write(files):
        for path, contents in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(contents)
        return tmp_path

    return write


@pytest.fixture
def two_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 7})


def test_the_affinity_mask_counts():
    saved = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(saved)})
        assert cpu_count() == 1
    finally:
        os.sched_setaffinity(0, saved)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000\n", 2), ("100000 100000\n", 1), ("150000 100000\n", 2), ("1000 100000\n", 1), ("", 2)],
)
def test_a_version_2_quota_counts_rounded_up(machine, two_processors, quota, expected):
    root = machine({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": quota})
    assert cpu_count(root) == expected


def test_the_quota_of_an_ancestor_counts(machine, two_processors):
    root = machine({
        "proc/self/cgroup": "0::/a/b\n",
        "sys/fs/cgroup/cpu.max": "max 100000",
        "sys/fs/cgroup/a/cpu.max": "50000 100000",
        "sys/fs/cgroup/a/b/cpu.max": "max 100000",
    })  # fmt: skip
    assert cpu_count(root) == 1


@pytest.mark.parametrize(("quota", "expected"), [("-1", 2), ("100000", 1)])
def test_a_version_1_quota_counts(machine, two_processors, quota, expected):
    root = machine({
        "proc/self/cgroup": "4:cpu,cpuacct:/job\n",
        "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": quota,
        "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
    })  # fmt: skip
    assert cpu_count(root) == expected


def test_in_a_container_the_path_of_the_host_is_not_needed(machine, two_processors):
    root = machine({"proc/self/cgroup": "0::/../host/path\n", "sys/fs/cgroup/cpu.max": "100000 100000"})
    assert cpu_count(root) == 1


def test_without_cgroups_the_affinity_decides(tmp_path, two_processors):
    assert cpu_count(tmp_path) == 2
    assert memory_limit(tmp_path) == PHYSICAL


def test_memory_limits_of_both_versions_count(machine):
    root = machine({"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/memory.max": "123456789\n"})
    assert memory_limit(root) == 123456789
    root = machine({"proc/self/cgroup": "3:memory:/job\n"})
    machine({"sys/fs/cgroup/memory/job/memory.limit_in_bytes": "23456789\n"})
    assert memory_limit(root) == 23456789


def test_a_limit_beyond_the_machine_is_none(machine):
    root = machine({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": str(2**63 - 4096)})
    assert memory_limit(root) == PHYSICAL


def test_the_address_space_limit_counts(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (PHYSICAL - 4096, hard))
        assert memory_limit(tmp_path) == PHYSICAL - 4096
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def test_waiting_for_a_device_takes_more_threads_than_copying(two_processors):
    assert default_threads(direct=False) == min(2, cpu_count())
    assert default_threads(direct=True) >= 8
