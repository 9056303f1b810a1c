"""What the tests of generated files share."""

import hashlib
import zipfile
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


def but_for_zip_versions(path):
    """A file's bytes but for what Python before 3.11.4 wrote otherwise: versions, ZIP64's second sizes."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            entry = archive.start_dir
            for member in archive.infolist():
                local = member.header_offset
                data[local + 4 : local + 6] = b"--"
                data[local + 18 : local + 26] = b"--------"
                data[entry + 4 : entry + 8] = b"----"
                entry = data.find(b"PK\x01\x02", entry + 4)
    return bytes(data)


def x_of(path):
    loaded = np.load(path)
    return loaded if path.suffix == ".npy" else loaded["x"]
