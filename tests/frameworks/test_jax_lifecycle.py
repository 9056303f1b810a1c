"""DlioJaxDataset.device_iter: how passes end, and who may share them."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

from dlio_fast.errors import ClosedError
from dlio_fast.jax import DlioJaxDataset
from tests.frameworks.conftest import SAMPLES, payload, tasks, tasks_come_down_to
from tests.frameworks.jax_support import numbers, sharding


@pytest.mark.parametrize("axes", [None, ("d",)])
def test_breaking_off_leaves_no_thread(folder, axes):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4)
    jax.devices()  # JAX has threads of its own
    before = tasks()
    for _ in range(20):
        for _batch in ds.device_iter(axes and sharding(*axes)):
            break
    assert tasks_come_down_to(before)
    assert len(list(ds.device_iter())) == len(ds)


def test_closing_the_data_set_ends_a_running_pass(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4)
    running = ds.device_iter()
    held = next(running)
    ds.close()
    with pytest.raises(ClosedError):
        next(running)
    with pytest.raises(ClosedError):
        ds.device_iter()
    assert np.array_equal(held[1], payload(1))


def test_a_pass_can_be_closed_by_itself(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4)
    running = ds.device_iter(sharding("d"))
    held = next(running)
    running.close()
    running.close()
    with pytest.raises(ClosedError):
        next(running)
    assert np.array_equal(held[1], payload(1))
    assert len(list(ds)) == len(ds)


def test_two_passes_at_once_do_not_disturb_each_other(folder):
    ds = DlioJaxDataset(data_folder=folder, batch_size=4, shuffle=True, drop_last=True)
    epochs = [numbers(ds) for _ in range(2)]
    ds.set_epoch(0)
    first, second = ds.device_iter(sharding("d")), ds.device_iter()
    pairs = [numbers(pair) for pair in zip(first, second, strict=True)]
    assert [[a for a, _ in pairs], [b for _, b in pairs]] == epochs


@pytest.mark.parametrize("prefetch", [0, 3])
def test_threads_share_a_pass_each_batch_once(folder, prefetch):
    ds = DlioJaxDataset(data_folder=folder, batch_size=1, shuffle=True)
    for _ in range(5):
        batches = ds.device_iter(sharding(), prefetch)
        with ThreadPoolExecutor(4) as pool:
            shares = list(pool.map(lambda _: numbers(batches), range(4)))  # noqa: B023
        assert sorted(i for share in shares for (i,) in share) == list(range(SAMPLES))


AT_EXIT = """
import sys, jax
from dlio_fast.jax import DlioJaxDataset

ds = DlioJaxDataset(data_folder=sys.argv[1], batch_size=2)
held = [next(ds.device_iter()) for _ in range(3)]
plain, running = iter(ds), ds.device_iter(jax.sharding.SingleDeviceSharding(jax.devices()[0]))
held += [next(plain), next(running)]
result = jax.jit(lambda x: x + 1)(held[-1])  # nobody waits for it
"""


def test_the_interpreter_ends_quietly_with_live_passes_and_arrays(folder):
    done = subprocess.run([sys.executable, "-c", AT_EXIT, folder], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
