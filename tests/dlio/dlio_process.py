"""Run the real DLIO several times: ``python dlio_process.py JOBS``, a JSON list of [folder, [override, …]].

Of each run, its folder gets what DLIO writes, and

- ``samples.npz``: what each call of a reader's ``get_sample`` held when it returned, which DLIO throws away
  then, by ``name of the file|index``;
- ``failure.txt``, where it fails.
"""

import json
import os
import sys
import traceback
from pathlib import Path

import dlio_benchmark.framework.tf_framework
import dlio_benchmark.framework.torch_framework  # noqa: F401 (both before the forks)
import numpy as np
from dlio_benchmark.main import DLIOBenchmark
from dlio_benchmark.utils.utility import DLIOMPI
from hydra import compose, initialize_config_module


def run(folder: Path, overrides: list[str]) -> dict[str, np.ndarray]:
    """Run one workload; returns the samples that its readers have read."""
    samples: dict[str, np.ndarray] = {}

    def note(frame, event, _):
        if event == "return" and frame.f_code.co_name == "get_sample" and "image" in frame.f_locals:
            variables = frame.f_locals
            name = os.path.basename(variables["filename"])
            samples[f"{name}|{variables['sample_index']}"] = np.array(variables["image"])

    config = compose("config", overrides=[f"++workload.output.folder={folder}", *overrides])
    benchmark = DLIOBenchmark(config["workload"])
    benchmark.initialize()
    sys.setprofile(note)
    try:
        benchmark.run()
    finally:
        sys.setprofile(None)
    benchmark.finalize()
    return samples


def main() -> None:
    for name, overrides in json.loads(Path(sys.argv[1]).read_text()):
        # DLIO runs once a process, and takes seconds to be imported: each run is a fork of this process.
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            continue
        folder = Path(name)
        try:
            DLIOMPI.get_instance().initialize()
            with initialize_config_module("dlio_benchmark.configs", version_base=None):
                np.savez(folder / "samples.npz", **run(folder, overrides))
        except BaseException:
            (folder / "failure.txt").write_text(traceback.format_exc())
        os._exit(0)


if __name__ == "__main__":
    main()
