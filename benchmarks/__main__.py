"""``python -m benchmarks [CASE…]``: run the cases side by side; write RESULTS.md and its picture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .memory import MEMORY_CASES
from .register import CASES, make
from .results import figures, write_results
from .runner import run

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join([*CASES, *MEMORY_CASES])}")
    parser.add_argument("--rounds", type=int, help="measured rounds; default 7, cold 8")
    parser.add_argument("--print", action="store_true", help="print only, leave RESULTS.md alone")
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES) - set(MEMORY_CASES)
    if unknown:
        parser.error(f"no case {', '.join(sorted(unknown))}")

    measured = {}
    for name in args.cases or [*CASES, *MEMORY_CASES]:
        print(f"{name} …", flush=True)
        measured[name] = figures(run(make(name), args.rounds)) if name in CASES else MEMORY_CASES[name]()
        print(json.dumps(measured[name]["goals"], indent=1, ensure_ascii=False), flush=True)
    if not args.print:
        write_results(measured, HERE)


if __name__ == "__main__":
    main()
