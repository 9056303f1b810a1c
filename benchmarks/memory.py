"""Memory and start-up figures, each measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

from . import data
from .cases import DLIO_SHAPE

MIB = 1 << 20

_PEAK = """
import json, resource, sys
import numpy, dlio_fast as df
def peak():  # VmHWM, not ru_maxrss: the latter starts from the parent's
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmHWM"))
files, batch, prefetch = json.loads(sys.stdin.read())
before = peak()
dataset = df.Dataset.from_files(files, fields=["x"])
loader = df.Loader(dataset, batch_size=batch, prefetch_bytes=prefetch, shuffle=True)
size = 0
for epoch in range(2):
    for b in loader:
        size = max(size, b["x"].nbytes)
print(json.dumps({"over": peak() - before, "allowed": prefetch + 2 * size + 150 * len(files) + (64 << 20)}))
"""

_LISTING = """
import json, sys, time
import numpy as np, dlio_fast as df
from dlio_fast.storage.files import FileList
def rss():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmRSS"))
n = 1_000_000
listing = [b"img_%07d_of_1000000.npz" % i for i in range(n)]
dataset = df.Dataset.from_files(sys.argv[1] + "/x.npz")
before, begin = rss(), time.perf_counter()
files = FileList(sys.argv[1].encode() + b"/", sorted(listing))
dataset.__dict__["files"] = files
loader = df.Loader(dataset, batch_size=8, shuffle=True)
dataset.spec
iterator = iter(loader)
seconds = time.perf_counter() - begin
iterator.close()
kept = len(files.names) + files.offsets.nbytes
used = max(kept, rss() - before - (32 << 20))
print(json.dumps({"seconds": seconds, "bytes_per_file": used / n, "kept": kept / n}))
"""


def _run(program: str, *args: str, stdin: str = "") -> dict:
    done = subprocess.run(
        [sys.executable, "-c", program, *args], input=stdin, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def _goal(text: str, value: float, must: float, unit: str) -> dict:
    return {
        "text": text, "median": value, "spread": f"{value:.4g}",
        "must": round(must, 1), "reach": round(must, 1), "unit": unit,
        "less_is_better": True, "verdict": "reached" if value <= must else "MISSED",
    }  # fmt: skip


def peak_rss() -> dict:
    """Peak resident memory over the interpreter's; the consumer holds one batch and takes the next."""
    files = data.numpy_npz(200, DLIO_SHAPE)
    goals = []
    for scheme in ("", "direct://"):
        got = _run(_PEAK, stdin=json.dumps([[scheme + path for path in files], 8, 128 * MIB]))
        goals.append(
            _goal(
                f"over the interpreter's, {scheme or 'buffered'}",
                got["over"] / MIB,
                got["allowed"] / MIB,
                " MiB",
            )
        )
    return {"title": "Peak RSS, 200 × 5 MiB, batches of 8, prefetch 128 MiB", "cache": "", "goals": goals}


def listing() -> dict:
    """A million files, the listing itself simulated: from names to a running iterator."""
    one = data.numpy_npz(1, (64, 64))[0]
    folder = data.ROOT / "listing"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "img_0000000_of_1000000.npz").write_bytes(open(one, "rb").read())
    (folder / "x.npz").write_bytes(open(one, "rb").read())
    got = _run(_LISTING, str(folder))
    return {
        "title": "1,000,000 files, listing simulated", "cache": "",
        "goals": [
            _goal("from names to a running iterator", got["seconds"], 2.0, " s"),
            _goal("memory a file", got["bytes_per_file"], 150, " B"),
        ],
    }  # fmt: skip


MEMORY_CASES = {"peak_rss": peak_rss, "listing": listing}
