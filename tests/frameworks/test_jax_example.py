"""examples/train_jax.py, run as its users run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPOCHS, STEPS = 4, 32


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """Its output: the heading of each part, with the lines below it."""
    done = subprocess.run(
        [sys.executable, ROOT / "examples/train_jax.py"],
        cwd=tmp_path_factory.mktemp("example"), env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    parts = re.split(r"^(?! )(.*)\n", done.stdout, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def epochs(text):
    """(epoch, steps, mean loss) of each whole or resumed epoch."""
    found = re.findall(r"epoch (\d+): (\d+) steps, mean loss ([\d.]+)", text)
    return [(int(epoch), int(steps), float(loss)) for epoch, steps, loss in found]


def test_over_four_devices_the_loss_goes_down(printed):
    trained = epochs(printed["training over 4 devices, without interruption:"])
    assert [(epoch, steps) for epoch, steps, _ in trained] == [(epoch, STEPS) for epoch in range(EPOCHS)]
    losses = [loss for _, _, loss in trained]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 2


def test_a_training_that_is_interrupted_in_mid_epoch_ends_as_one_that_is_not(printed):
    whole = epochs(printed["training over 4 devices, without interruption:"])
    interrupted = printed["the same, interrupted in mid-epoch:"]
    ((epoch, before),) = re.findall(r"epoch (\d+): stopped after (\d+) steps", interrupted)
    (first, after, _), *rest = epochs(printed["and resumed:"])
    assert int(before) > 0 < after and int(before) + after == STEPS
    assert int(epoch) == first > 0
    assert epochs(interrupted) == whole[:first]
    assert rest == whole[first + 1 :] != []
    assert "the resumed training ended with exactly the same parameters" in printed
