"""From numpy's arrays to tensors: over the same memory where a tensor can lie there, else copies."""

import numpy as np
import pytest
import torch

import dlio_fast as df
from dlio_fast.torch import DlioPyTorchDataset, collate
from tests.frameworks.conftest import payload


def test_big_endian_samples_may_be_collated_more_than_once(tmp_path):
    x = np.arange(24, dtype=">i4").reshape(2, 3, 4)
    np.save(tmp_path / "a.npy", x)
    samples = df.Dataset({"dataset": {"data_folder": str(tmp_path)}}).__getitems__([0, 1])
    for _ in range(2):
        assert torch.equal(
            collate(samples)["x"], torch.from_numpy(x.astype("i4")[..., :2].copy()).movedim(-1, 0)
        )
    assert np.array_equal(samples[1]["x"], x[..., 1])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("view", [lambda x: x[:, ::-1], lambda x: np.broadcast_to(x[:1], x.shape)])
def test_arrays_that_no_tensor_can_lie_over_are_copied(folder, view):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=3, transform=lambda batch: {"x": view(batch["x"])})
    first = next(iter(ds.batches()))
    assert np.array_equal(first.numpy(), view(np.stack([payload(i) for i in range(3)])))
