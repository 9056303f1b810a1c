"""Ctrl-C, close() and the end of workers while requests are under way: at once, and nothing is left."""

import json
import math
import subprocess
import sys
import threading
import time

import pytest

import dlio_fast as df
from tests.faults.test_interrupts import PROLOGUE
from tests.remote.epochs import COUNT, ROADS, data_set, epoch, fill, key

PROMPT = 1.0


@pytest.fixture(params=["radosgw", "azurite"])
def proxy(request, new_store, new_proxy):
    store = new_store(request.param)
    fill(store)
    return new_proxy(store)


READS = {
    "read": "df.read(root + '/data/004.npy', storage_options=options)",
    "read_many": "list(df.read_many([root + '/data/004.npy'] * 3, storage_options=options))",
    "sample": "dataset[4]",
    "loader": "list(df.Loader(dataset, batch_size=2, threads=2))",
    "list": "len(df.Dataset.from_files(root + '/data', format='npy', storage_options=options))",
}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", READS)
def test_ctrl_c_ends_a_stalled_read_within_a_second(proxy, road, name):
    options = {**proxy.store.storage_options, "road": road}
    program = f"""
root, options = json.loads(sys.argv[1])
dataset = df.Dataset.from_files(root + '/data', format='npy', storage_options=options, ragged=True)
len(dataset)
dataset[0]
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(interrupted(lambda: {READS[name]}, 0.7)))
sys.stdout.flush()
"""
    with subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + program, json.dumps([proxy.store.root, options])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout.readline() == "ready\n"
        proxy.inject(times=None, delay=math.inf)
        began = time.monotonic()
        out, _ = child.communicate("\n", timeout=60)
    seconds = json.loads(out)
    assert seconds is not None, "the read was through before Ctrl-C"
    assert seconds < PROMPT
    assert time.monotonic() - began < 5  # and the process ends
    assert proxy.wait_for_connections(0)


@pytest.mark.parametrize("road", ROADS)
def test_close_does_not_wait_for_requests_under_way(proxy, road):
    dataset = data_set(proxy.store, road)
    assert len(dataset) == COUNT
    for i in range(1, COUNT):
        proxy.inject(method="GET", key=key(i), times=None, stall_after=100)
    loader = df.Loader(dataset, batch_size=1, threads=4)
    batches = iter(loader)
    next(batches)
    assert proxy.wait_for_requests(len(proxy.requests))
    began = time.monotonic()
    loader.close()
    assert time.monotonic() - began < PROMPT
    proxy.clear()
    result = epoch(dataset)
    assert (result.seen, result.errors) == (list(range(COUNT)), [])
    if road == "http":  # two ranges a thread, at most, whose connections are kept
        assert any(proxy.wait_for_connections(n, 0.5) for n in range(9))


@pytest.mark.parametrize("road", ROADS)
def test_close_by_another_thread_wakes_who_waits_for_a_batch(proxy, road):
    dataset = data_set(proxy.store, road)
    assert len(dataset) == COUNT
    proxy.inject(method="GET", key="/data/", times=None, delay=math.inf)
    loader = df.Loader(dataset, batch_size=2, threads=2)
    seen = len(proxy.requests)
    failed = []

    def wait():
        try:
            list(loader)
        except df.errors.ClosedError as error:
            failed.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert proxy.wait_for_requests(seen + 1)
    began = time.monotonic()
    loader.close()
    thread.join()
    assert time.monotonic() - began < PROMPT
    assert len(failed) == 1


def test_torch_workers_end_with_requests_under_way(proxy):
    import torch

    from dlio_fast.torch import DlioPyTorchDataset

    config = {
        "dataset": {"format": "npy", "data_folder": f"{proxy.store.root}/data"},
        "storage": {"storage_options": proxy.store.storage_options},
    }
    dataset = DlioPyTorchDataset(config_dict=config)
    assert len(dataset) > 0
    proxy.inject(method="GET", key=key(3), times=None, delay=math.inf)
    batches = iter(torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2))
    next(batches)
    workers = batches._workers
    began = time.monotonic()
    del batches
    assert time.monotonic() - began < 10
    assert not any(worker.is_alive() for worker in workers)
