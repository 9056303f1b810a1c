"""What each door of dlio_fast says of a store that cannot be used: one clear error within ten seconds."""

import socket
import subprocess
import sys
import threading
import time

import pytest

import dlio_fast as df
from dlio_fast.errors import (
    ConfigError,
    DlioFastError,
    DlioFastFileNotFoundError,
    DlioFastPermissionError,
    StoreError,
)
from tests.remote.epochs import ROADS, contents, npy

LIMIT = 10.0


def by_config(address, options):
    config = {"dataset": {"format": "npy", "data_folder": address.rpartition("/")[0]}}
    return len(df.Dataset(config, storage_options=options))


def by_torch(address, options):
    """PyTorch's workers say it, and the parent raises it."""
    from torch.utils.data import DataLoader

    from dlio_fast.torch import DlioPyTorchDataset

    dataset = DlioPyTorchDataset(
        config_dict={
            "dataset": {"format": "npy", "data_folder": address.rpartition("/")[0]},
            "storage": {"storage_options": options},
        }
    )
    before = set(threading.enumerate())
    try:
        batches = iter(DataLoader(dataset, batch_size=None, num_workers=2))
        try:
            next(batches)
        finally:
            batches._shutdown_workers()  # left to the collector, PyTorch waits five seconds for each
    finally:
        assert not [t for t in set(threading.enumerate()) - before if "Loader" in t.name]


DOORS = {
    "from_files": lambda address, options: len(
        df.Dataset.from_files(address.rpartition("/")[0], storage_options=options)
    ),
    "Dataset": by_config,
    "torch": by_torch,
    "read": lambda address, options: df.read(address, storage_options=options),
    "read_many": lambda address, options: next(df.read_many([address], storage_options=options)),
    "load": lambda address, options: df.load(address, storage_options=options),
}


SLOW = ("Dataset", "read")
"""The doors that are tried where the answer takes its time: one that lists, and one that does not."""


@pytest.fixture(params=DOORS)
def door(request):
    return DOORS[request.param]


def refusal(door, address, options):
    """The one error, in time."""
    began = time.monotonic()
    with pytest.raises(DlioFastError) as caught:
        door(address, options)
    assert time.monotonic() - began < LIMIT
    return caught.value


def broken(options, **more):
    return {**options, **more}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", ["radosgw", "azurite"])
def test_a_bucket_that_is_not_there(new_store, door, name, road):
    store = new_store(name)
    address = f"{store.root}nowhere/data/a.npy"
    error = refusal(door, address, broken(store.storage_options, road=road))
    assert isinstance(error, DlioFastFileNotFoundError)
    assert f"{store.root}nowhere" in str(error)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", ["radosgw", "azurite"])
def test_a_wrong_key(new_store, door, name, road):
    store = new_store(name)
    store.put("data/a.npy", npy(contents(0)))
    options = dict(store.storage_options)
    if "secret" in options:
        options["secret"] = "WRONG"
    else:
        options["connection_string"] = options["connection_string"].replace("AccountKey=", "AccountKey=AAAA")
    error = refusal(door, store.address("data/a.npy"), broken(options, road=road))
    assert isinstance(error, DlioFastPermissionError)
    assert "check the" in str(error)


@pytest.mark.parametrize("road", ROADS)
def test_no_credentials_at_all(radosgw, door, road):
    options = {"endpoint_url": radosgw.endpoint, "road": road}
    error = refusal(door, radosgw.address("data/a.npy"), options)
    assert isinstance(error, DlioFastPermissionError)
    assert "AWS_ACCESS_KEY_ID" in str(error) or "credentials" in str(error)


def addresses(host):
    connection = f"AccountName=a;AccountKey=QQ==;BlobEndpoint=http://{host}/a"
    yield "s3://bucket/data/a.npy", {"endpoint_url": f"http://{host}", "key": "A", "secret": "B"}
    yield "az://container/data/a.npy", {"connection_string": connection}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1:9"])
def test_an_endpoint_that_cannot_be_reached(host, name, road):
    door = DOORS[name]
    for address, options in addresses(host):
        error = refusal(door, address, broken(options, road=road))
        assert isinstance(error, OSError)
        assert "check" in str(error)


@pytest.fixture
def silent():
    """A server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", SLOW)
def test_an_endpoint_that_says_nothing(name, silent, road):
    door = DOORS[name]
    for address, options in addresses(silent):
        error = refusal(door, address, broken(options, road=road))
        assert isinstance(error, TimeoutError)
        assert "check" in str(error)


@pytest.mark.parametrize("road", ROADS)
def test_an_unknown_certificate(radosgw_tls, door, road):
    options = {**radosgw_tls.storage_options, "client_kwargs": {"region_name": "us-east-1"}, "road": road}
    error = refusal(door, radosgw_tls.address("data/a.npy"), options)
    assert isinstance(error, StoreError)
    assert "TLS" in str(error) and "check" in str(error)


def test_a_wrong_region(radosgw, new_proxy, door):
    """As Amazon says it, which neither radosgw nor moto do."""
    proxy = new_proxy(radosgw)
    body = (
        b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong</Message>"
        b"<Region>eu-west-1</Region></Error>"
    )
    answer = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n%s"
    proxy.inject(times=None, raw=answer % (len(body), body))
    error = refusal(door, proxy.store.address("data/a.npy"), proxy.store.storage_options)
    assert isinstance(error, StoreError)
    assert "region" in str(error) and "eu-west-1" in str(error)


def test_the_command_line_says_it_in_one_line(radosgw):
    import os

    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "dlio_fast", "inspect", f"{radosgw.root}nowhere/data/a.npy"],
        env={**os.environ, **radosgw.environment},
        capture_output=True,
        text=True,
    )
    assert time.monotonic() - began < LIMIT + 5  # with the interpreter's start
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert f"{radosgw.root}nowhere" in done.stderr


def test_a_file_of_certificates_that_is_not_there(radosgw_tls):
    options = {**radosgw_tls.storage_options, "client_kwargs": {"verify": "/no/such/ca.pem"}}
    with pytest.raises(ConfigError, match=r"/no/such/ca\.pem"):
        df.read(radosgw_tls.address("data/a.npy"), storage_options=options)
