"""The examples, run as their users run them: the loss goes down, and a resumed training ends the same."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax"])
def test_a_training_that_is_interrupted_in_mid_epoch_ends_as_one_that_is_not(framework, tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / f"examples/train_{framework}.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = re.findall(r"epoch (\d+): (\d+) steps, mean loss ([\d.]+)", done.stdout)
    epochs = [(int(epoch), int(steps), float(loss)) for epoch, steps, loss in found]
    count = max(epoch for epoch, _, _ in epochs) + 1
    whole = epochs[:count]
    assert [epoch for epoch, _, _ in whole] == list(range(count))
    assert whole[-1][2] < whole[0][2] / 2  # the loss

    ((stopped, before),) = re.findall(r"epoch (\d+): stopped after (\d+) steps", done.stdout)
    (first, after, _), *rest = epochs[count + int(stopped) :]
    assert first == int(stopped) > 0 and int(before) + after == whole[first][1]
    assert rest == whole[first + 1 :] != []
    assert "the resumed training ended with exactly the same parameters" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"data"}
