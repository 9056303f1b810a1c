"""Page-locked memory: pools pin theirs with functions they are given; PyTorch's are those of CUDA, if any.

There is no GPU here: mlock stands in for the function of CUDA that pins.
"""

import ctypes
import logging
import multiprocessing

import pytest
import torch
from torch.utils.data import DataLoader

from dlio_fast import _core, _pinning
from dlio_fast.torch import DlioPyTorchDataLoader, DlioPyTorchDataset
from tests.frameworks.conftest import SAMPLES, numbers

libc = ctypes.CDLL(None, use_errno=True)
unpinned = []


@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
def note(address):
    unpinned.append(address)
    return 0


def address_of(function):
    return ctypes.cast(function, ctypes.c_void_p).value


def mlock():
    """Locks pages of memory, as pinning does; unmapping unlocks them."""
    return address_of(libc.mlock), address_of(note)


def refusing():
    """abs() of an address is an error to who expects 0."""
    return address_of(libc.abs), address_of(note)


def locked():
    """Bytes of this process's memory that are locked."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmLck"))


def test_a_pool_s_memory_is_locked_while_it_is_mapped():
    before = locked()
    pool = _core.Pool(1 << 20, pin=mlock())
    buffer = pool.get(40_000)
    address, mapped = buffer.address, pool.stats()["mapped"]
    assert locked() - before == pool.stats()["pinned"] == mapped >= 40_000
    del buffer
    assert pool.stats()["pinned"] == mapped  # idle, and still pinned for the next one
    pool.set_keep(0)
    assert unpinned[-1] == address
    assert locked() == before
    assert pool.stats()["pinned"] == pool.stats()["pin_failures"] == 0


def test_without_functions_nothing_is_pinned():
    before = locked()
    pool = _core.Pool(1 << 20)
    buffer = pool.get(40_000)
    assert locked() == before
    assert pool.stats()["pinned"] == pool.stats()["pin_failures"] == 0 < buffer.nbytes


def test_batches_come_from_pinned_memory(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=4)
    ds.loader.pinning = mlock
    before = locked()
    running = iter(ds.batches())
    batch = next(running)
    pool = ds.stats()["pool"]
    assert pool["pinned"] == pool["mapped"] == locked() - before > 0
    assert numbers([batch, *running]) == list(range(SAMPLES))
    del batch, running
    ds.close()
    assert locked() == before


def test_what_cannot_be_pinned_is_read_into_all_the_same(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=4)
    ds.loader.pinning = refusing
    assert numbers(ds.batches()) == list(range(SAMPLES))
    pool = ds.stats()["pool"]
    assert pool["pinned"] == 0 < pool["pin_failures"]


def cuda_pinning_in_child(queue):
    queue.put(_pinning.cuda_pinning())


def test_a_forked_process_pins_nothing():
    fork = multiprocessing.get_context("fork")
    queue = fork.Queue()
    child = fork.Process(target=cuda_pinning_in_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) is None
    child.join()


def test_functions_are_those_of_the_library_that_is_loaded():
    found = _pinning.library_addresses("libc", ("mlock", "munlock"), "/proc/self/maps")
    assert found == [address_of(libc.mlock), address_of(libc.munlock)]
    assert _pinning.library_addresses("libc", ("cudaHostRegister",), "/proc/self/maps") is None
    assert _pinning.library_addresses("libnowhere", ("mlock",), "/proc/self/maps") is None


@pytest.mark.filterwarnings("error")
def test_asking_for_pinned_memory_without_a_gpu_changes_nothing_and_is_logged(folder, caplog):
    if torch.cuda.is_available():
        assert _pinning.cuda_pinning() is not None
        return
    with caplog.at_level(logging.DEBUG, "dlio_fast"):
        loader = DlioPyTorchDataLoader.from_uri(folder, 4, pin_memory=True, num_workers=0)
        assert numbers(loader) == list(range(SAMPLES))
    assert loader.pin_memory is False and loader.source.stats()["pool"]["pinned"] == 0
    assert "pin_memory: no CUDA device" in caplog.text


def test_a_data_set_that_pins_goes_to_workers_that_do_not(folder):
    ds = DlioPyTorchDataset(data_folder=folder, batch_size=4, pin_memory=True)
    loader = DataLoader(ds.batches(), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert numbers(loader) == list(range(SAMPLES))
