"""What this process may use of the machine: processors and memory, as affinity, cgroups and rlimits say."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

# A device keeps fast only with several requests under way, whatever the number of processors.
DIRECT_THREADS = 8
REMOTE_THREADS = 16
MOST_THREADS = 64


def default_threads(direct: bool, remote: bool = False) -> int:
    """Return how many threads to read or write files with.

    Through the page cache they mostly copy and checksum: as many as there are processors. Past it they
    mostly wait for the device: at least eight. Those for objects of a store mostly wait for the network: at
    least sixteen.
    """
    least = REMOTE_THREADS if remote else DIRECT_THREADS if direct else 1
    return min(max(cpu_count(), least), MOST_THREADS)


def cpu_count(root: str | Path = "/") -> int:
    """Return how many processors this process may keep busy: at least 1.

    The smaller of the affinity mask and the cgroup's quota, rounded up. `root` is where ``proc`` and ``sys``
    are mounted.
    """
    count = len(os.sched_getaffinity(0))
    for folder in _cgroup_folders(Path(root), "cpu"):
        count = min(count, _quota(folder) or count)
    return max(count, 1)


def memory_limit(root: str | Path = "/") -> int:
    """Return how many bytes of memory this process may use at most.

    The smallest of the machine's memory, the cgroup's limit and the soft address-space limit (``ulimit -v``).
    """
    limit = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if address_space != resource.RLIM_INFINITY:
        limit = min(limit, address_space)
    for folder in _cgroup_folders(Path(root), "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = min(limit, _number(_words(folder / name)) or limit)
    return limit


def _quota(folder: Path) -> int | None:
    """Return a cgroup's processor quota rounded up to whole processors, None where it has none."""
    quota, period, *_ = _words(folder / "cpu.max") or (
        *_words(folder / "cpu.cfs_quota_us"),
        *_words(folder / "cpu.cfs_period_us"),
        "", "",
    )  # fmt: skip
    share, whole = _number([quota]), _number([period])
    return -(-share // whole) if share and whole else None


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and of its ancestors, version 2 and version 1.

    Inside a container the path in ``/proc/self/cgroup`` may be the host's, which is not there; the ancestors
    end at the mount point, which is.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        folder = Path(os.path.normpath("/" + path.lstrip("/")).lstrip("/"))
        base = mount / controller if controllers else mount
        for ancestor in (folder, *folder.parents):
            yield base / ancestor


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _number(words: list[str]) -> int | None:
    """Return the first word as a positive number; None for "max", -1 and nothing at all."""
    return int(words[0]) if words and words[0].isdigit() and words[0] != "0" else None
