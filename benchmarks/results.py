"""From measured rounds to RESULTS.md, results.json and the picture."""

from __future__ import annotations

import json
import os
import platform
import statistics
from datetime import date
from pathlib import Path

from .runner import Goal, Result, spread


def _verdict(goal: Goal, value: float) -> str:
    def meets(target: float) -> bool:
        return value <= target if goal.less_is_better else value >= target

    return "reached" if meets(goal.reach) else "met" if meets(goal.must) else "MISSED"


def _values(result: Result, goal: Goal) -> list[float]:
    if goal.measure == "rate":
        return result.gb_per_second(goal.of)
    if goal.against == "fio":  # the better engine of each round
        best = [
            max(pair)
            for pair in zip(*(result.gb_per_second(f"fio {e}") for e in ("psync", "io_uring")), strict=True)
        ]
        return [ours / limit for ours, limit in zip(result.gb_per_second(goal.of), best, strict=True)]
    return result.value(goal)


def figures(result: Result) -> dict:
    """A case's figures as plain data."""
    case = result.case
    rows = {}
    for name in case.contenders:
        rows[name] = {
            "gb_per_second": [round(v, 4) for v in result.gb_per_second(name)],
            "cpu_seconds_per_gb": [round(v, 4) for v in result.cpu_per_gb(name)],
            "seconds": [round(v, 5) for v in result.seconds[name]],
        }
        if case.items:
            rows[name]["items_per_second"] = [round(case.items / s) for s in result.seconds[name]]
    goals = []
    for goal in case.goals:
        values = _values(result, goal)
        goals.append({
            "text": goal.text, "median": round(statistics.median(values), 4), "spread": spread(values),
            "must": goal.must, "reach": goal.reach, "unit": goal.unit, "less_is_better": goal.less_is_better,
            "verdict": _verdict(goal, statistics.median(values)),
        })  # fmt: skip
    return {"title": case.title, "cache": case.cache, "contenders": rows, "goals": goals}


def write_results(measured: dict, folder: Path) -> None:
    """Merge the figures into results.json, and draw RESULTS.md and results.png from all of them."""
    store = folder / "results.json"
    everything = json.loads(store.read_text()) if store.exists() else {}
    everything.update({name: {**case, "date": date.today().isoformat()} for name, case in measured.items()})
    store.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n")
    (folder / "RESULTS.md").write_text(_markdown(everything))
    _draw(everything, folder / "results.png")


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _markdown(everything: dict) -> str:
    lines = [
        "# Results",
        "",
        f"Measured on {len(os.sched_getaffinity(0))} cores ({_cpu_model()}), a shared virtual machine:",
        "absolute figures drift, paired ratios hold. Contenders run in turn, in rotating order; figures are",
        "medians over the rounds, with the middle half in brackets. `make bench` measures anew.",
        "",
        "| case | figure | measured | must reach | reach for | |",
        "|---|---|---|---|---|---|",
    ]
    for case in everything.values():
        for goal in case["goals"]:
            sign, unit = "≤ " if goal["less_is_better"] else "", goal["unit"]
            lines.append(
                f"| {case['title']} | {goal['text']} | {goal['spread']}{unit} "
                f"| {sign}{goal['must']}{unit} | {sign}{goal['reach']}{unit} | {goal['verdict']} |"
            )
    lines += ["", "![Throughput side by side](results.png)", ""]
    for case in everything.values():
        if not case.get("contenders"):
            continue
        lines += [
            f"## {case['title']}", "", f"Cache: {case['cache']}. Measured on {case['date']}.", "",
            "| | GB/s | CPU-s/GB | seconds | items/s |", "|---|---|---|---|---|",
        ]  # fmt: skip
        for name, row in case["contenders"].items():
            items = spread(row["items_per_second"]) if "items_per_second" in row else ""
            lines.append(
                f"| {name} | {spread(row['gb_per_second'])} | {spread(row['cpu_seconds_per_gb'])} "
                f"| {spread(row['seconds'])} | {items} |"
            )
        lines.append("")
    return "\n".join(lines)


def _draw(everything: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    cases = [case for case in everything.values() if case.get("contenders") and len(case["contenders"]) > 1]
    heights = [len(case["contenders"]) + 1 for case in cases]
    figure, axes = plt.subplots(
        len(cases),
        1,
        figsize=(9, 0.34 * sum(heights) + 1),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, case in zip(axes[:, 0], cases, strict=True):
        names = list(case["contenders"])
        rows = [case["contenders"][name]["gb_per_second"] for name in names]
        medians = [statistics.median(row) for row in rows]
        errors = [[m - min(row) for m, row in zip(medians, rows, strict=True)],
                  [max(row) - m for m, row in zip(medians, rows, strict=True)]]  # fmt: skip
        peers = (
            *("fio", "numpy.load", "stock", "preadv", "DLIO", "SPDL", "tf.data", "h5py", "pyarrow"),
            *("s3fs", "adlfs", "one stream"),
        )
        colors = ["tab:gray" if any(peer in name for peer in peers) else "tab:blue" for name in names]
        axis.barh(names, medians, xerr=errors, color=colors, error_kw={"lw": 0.8, "ecolor": "black"})
        axis.invert_yaxis()
        axis.set_title(f"{case['title']}: GB/s", fontsize=9, loc="left")
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Throughput side by side (median; the line spans all rounds)", fontsize=10)
    figure.savefig(path, dpi=110)
