"""What the tests of generated files share."""

import hashlib
from pathlib import Path

import numpy as np

from dlio_fast.config import load_config


def config(**dataset):
    return load_config(
        {"dataset": {"format": "npz", "num_files_train": 3, "record_length_bytes": 10_000, **dataset}}
    )


def tree(folder):
    """Every file below a folder, as {relative path: sha256}."""
    files = (path for path in Path(folder).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def payload_offset(path):
    """Where the array of x.npy, or of an .npy file, begins."""
    with open(path, "rb") as file:
        if path.suffix == ".npz":
            local = file.read(30)
            file.seek(30 + int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"))
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        return file.tell()


def x_of(path):
    loaded = np.load(path)
    return loaded if path.suffix == ".npy" else loaded["x"]
