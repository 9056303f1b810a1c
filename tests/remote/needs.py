"""What the tests of this folder need besides Python packages, and what happens where it is missing.

A test whose server cannot be had is skipped, and the run's last lines say how many those were and what to
install. Where DLIO_FAST_REQUIRE_SERVERS is set (to anything but 0), it fails instead.
"""

from __future__ import annotations

import collections
import importlib.util
import os
import re
import shutil

import pytest

RADOSGW_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")

_REASON = re.compile(r"needs (?P<need>\S+ \([^\n]*\))")


class Missing(Exception):
    """A server is not here and cannot be got; says which, and how to install it."""

    def __init__(self, name: str, how: str):
        super().__init__(f"needs {name} ({how})")


def programs(name: str, how: str, *wanted: str) -> None:
    if not all(map(shutil.which, wanted)):
        raise Missing(name, how)


def modules(name: str, how: str, *wanted: str) -> None:
    if not all(map(importlib.util.find_spec, wanted)):
        raise Missing(name, how)


def required() -> bool:
    return os.environ.get("DLIO_FAST_REQUIRE_SERVERS", "0") not in ("", "0")


def give_up(missing: Missing):
    """Skip the test that asks for the server, or fail it where the servers have to be there."""
    if required():
        pytest.fail(f"{missing}; DLIO_FAST_REQUIRE_SERVERS says it has to be here", pytrace=False)
    pytest.skip(str(missing))


def not_run(skipped) -> list[str]:
    """A line for each server that is missing, from the reports of the skipped tests."""
    counts = collections.Counter(
        found["need"]
        for report in skipped
        if isinstance(report.longrepr, tuple) and (found := _REASON.search(report.longrepr[2]))
    )
    return [
        f"not run: {count} {'test needs' if count == 1 else 'tests need'} {need}"
        for need, count in sorted(counts.items())
    ]
