"""A million files take little memory."""

import tracemalloc

import numpy as np

import dlio_fast as df
from dlio_fast.pipeline import Sampler
from dlio_fast.storage.files import FileList

COUNT = 1_000_000


def test_a_million_files_take_less_than_150_bytes_each(tmp_path):
    """Listing, and starting an epoch over them: what stays, and what the way there takes beside the names."""
    np.savez(tmp_path / "real.npz", x=np.arange(3))
    (tmp_path / "files.txt").write_bytes(b"".join(b"img_%07d_of_1000000.npz\n" % i for i in range(COUNT)))
    first = Sampler(COUNT, True, 0).ids(0, 0, 1)[0]
    (tmp_path / "real.npz").rename(tmp_path / f"img_{first:07d}_of_1000000.npz")
    (tmp_path / "img_0000000_of_1000000.npz").write_bytes(
        (tmp_path / f"img_{first:07d}_of_1000000.npz").read_bytes()
    )
    tracemalloc.start()
    dataset = df.Dataset.from_files(tmp_path / "files.txt")
    loader = df.Loader(dataset, shuffle=True)
    assert len(loader) == COUNT
    (x,) = next(iter(loader))["x"]
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    loader.close()
    assert x.tolist() == [0, 1, 2]
    assert kept < 150 * COUNT


def test_a_list_of_files_takes_their_names_and_nine_bytes_each():
    names = [b"img_%07d_of_1000000.npz" % i for i in range(COUNT)]
    tracemalloc.start()
    files = FileList(b"/data/train/", names)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(files) == COUNT
    assert files[0] == "/data/train/img_0000000_of_1000000.npz" and files[-1] == files[COUNT - 1]
    assert kept < (len(names[0]) + 9) * COUNT + 10_000
    assert peak < 150 * COUNT
