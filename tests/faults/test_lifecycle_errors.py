"""Bad files in the middle of an epoch: typed errors at the batches they belong to, and the rest comes."""

import numpy as np
import pytest

from tests.faults.lifecycle import ALL, KINDS, run


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """The numbered files in DLIO's layout, four of which cannot be read, each for another reason."""
    root = tmp_path_factory.mktemp("damaged")
    (root / "train").mkdir()
    train = root / "train"
    for i in ALL:  # one sample along the last axis
        np.savez(train / f"{i:02d}.npz", x=np.full((5000, 1), i, np.uint16))
    data = (train / "05.npz").read_bytes()
    (train / "05.npz").write_bytes(data[:3000] + b"\xff" + data[3001:])
    (train / "12.npz").write_bytes(data[:3000])
    np.savez(train / "13.npz", y=np.arange(3))
    (train / "20.npz").write_bytes(b"")
    return root


BAD = """
BAD = [5, 12, 13, 20]
if "train" in os.listdir(folder):
    data = df.Dataset({"dataset": {"data_folder": folder}})

def described(error):
    '''All that there is to an error.'''
    names = ("path", "member", "offset", "errno", "strerror", "filename")
    return type(error), str(error), [getattr(error, name, None) for name in names]

def sample_error(i):
    try:
        data[i]
    except df.DlioFastError as error:
        return described(error)

EXPECTED = []
for pair in PAIRS:
    EXPECTED += [sample_error(i) for i in pair if i in BAD]
    EXPECTED += [[i for i in pair if i not in BAD]] if set(pair) - set(BAD) else []
assert len({what[0] for what in EXPECTED if isinstance(what, tuple)}) >= 3
assert any(what[2][1] and what[2][2] for what in EXPECTED if isinstance(what, tuple))

def consume(batches, of=ids):
    '''What comes, errors and batches in their order.'''
    got = []
    while True:
        try:
            got.append(of(next(batches)))
        except StopIteration:
            return got
        except df.DlioFastError as error:
            got.append(described(error))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_is_raised_at_its_batch_and_the_rest_of_the_epoch_comes(damaged, kind):
    run(
        damaged,
        BAD
        + """
import logging

logging.disable()
gc.disable()
data.close()
with nothing_left():
    made = loader(data, kind)
    for _ in range(2):
        got = consume(iter(made))
        assert got == EXPECTED, got
    stats = made.stats()
    assert (stats["samples"], stats["skipped_samples"]) == (40, 8)
    skipping = loader(data, kind, on_error="skip")
    assert all_ids(skipping) == [i for i in ALL if i not in BAD]
    assert skipping.stats()["samples"] == 20
""",
        kind=kind,
    )


TORCH = """
import warnings
warnings.simplefilter("ignore")
from torch.utils.data import DataLoader
from dlio_fast.torch import DlioPyTorchDataset, collate

def first(x):
    return [int(sample.flatten()[0]) for sample in x]

ds = DlioPyTorchDataset(data_folder=folder, batch_size=2, shuffle=False, threads=2)
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_arrive_whole_through_pytorch_s_dataloader(damaged, workers):
    """Class, message and attributes."""
    run(
        damaged,
        BAD
        + TORCH
        + """
got = consume(iter(DataLoader(ds.batches(), batch_size=None, num_workers=workers)), first)
assert got == EXPECTED or workers, got
assert sorted(map(repr, got)) == sorted(map(repr, EXPECTED)), got  # workers take turns, and errors are turns

by_index = DataLoader(ds.map_style(), batch_size=2, collate_fn=collate, num_workers=workers)
got = consume(iter(by_index), first)
errors = [what for what in EXPECTED if isinstance(what, tuple)]
del errors[2]  # 12 and 13 are one batch, which is lost as a whole
assert [what for what in got if isinstance(what, tuple)] == errors, got
assert [what for what in got if isinstance(what, list)] == [p for p in PAIRS if not set(p) & set(BAD)]
""",
        workers=workers,
    )


def test_what_arrives_from_a_worker_tells_where_it_was_raised(damaged):
    run(
        damaged,
        BAD
        + TORCH
        + """
for source in (ds, DlioPyTorchDataset(data_folder=folder + "/nowhere")):
    try:
        for batch in DataLoader(source.batches(), batch_size=None, num_workers=2):
            pass
    except df.DlioFastError as error:
        assert "in DataLoader worker process" in error.__notes__[0], error.__notes__
        assert type(error).__module__ == "dlio_fast.errors"
        raised = error
assert isinstance(raised, FileNotFoundError) and raised.errno == 2 and "nowhere" in raised.filename
""",
    )
