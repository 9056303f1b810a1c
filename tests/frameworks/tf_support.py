"""What the tests of the TensorFlow wrapper share."""

import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from dlio_fast.tensorflow import DlioTensorFlowDataset

ROOT = Path(__file__).parents[2]


def dataset(folder, **options):
    return DlioTensorFlowDataset(data_folder=folder, **{"batch_size": 4, **options})


def numbers(batches):
    """The first element of each sample of each batch: its number."""
    return [[int(x) for x in np.asarray(batch).reshape(len(batch), -1)[:, 0]] for batch in batches]


def address(tensor):
    """Where the values of an eager tensor lie."""
    return np.asarray(memoryview(tensor)).ctypes.data


class Noting:
    """A transform that changes nothing and notes where the arrays lie that the library delivers."""

    def __init__(self):
        self.addresses = []

    def __call__(self, fields):
        self.addresses.append(fields["x"].ctypes.data)
        return fields


def python(code, *arguments, **options):
    """Run a script with TensorFlow in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **options)
