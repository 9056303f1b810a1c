"""Credentials that end in mid-epoch: renewed where that can be, else said at the batch that needs them."""

import sys

import pytest

from dlio_fast.errors import DlioFastPermissionError
from tests.remote.epochs import COUNT, ROADS, assert_whole, data_set, epoch, fill

PROCESS = """\
import json, sys, time
log, key, secret, seconds = sys.argv[1:]
with open(log, "a") as file:
    file.write("asked\\n")
until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + float(seconds)))
print(json.dumps({"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret, "Expiration": until}))
"""

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


@pytest.fixture
def profile(tmp_path, monkeypatch):
    """A function: a profile whose credentials come from a process and last for so many seconds; its log."""

    def write(store, seconds):
        (tmp_path / "process.py").write_text(PROCESS)
        log = tmp_path / "log"
        command = [sys.executable, tmp_path / "process.py", log, store.keys.access_key]
        words = " ".join(map(str, [*command, store.keys.secret_key, seconds]))
        (tmp_path / "config").write_text(f"[profile short]\ncredential_process = {words}\n")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "short")
        return log

    return write


def by_profile(store, road, **more):
    """A data set whose keys come from the profile."""
    dataset = data_set(store, road, key=None, secret=None, **more)
    assert len(dataset) == COUNT
    return dataset


@pytest.mark.parametrize("road", ROADS)
def test_credentials_that_last_for_two_seconds_serve_a_long_epoch(radosgw, new_proxy, profile, road):
    fill(radosgw)
    log = profile(radosgw, 2)
    proxy = new_proxy(radosgw)
    proxy.inject(method="GET", key="/data/", times=None, delay=0.4)
    result = epoch(by_profile(proxy.store, road), threads=1)
    assert (result.seen, result.errors) == (list(range(COUNT)), [])
    assert result.seconds > 4
    assert len(log.read_text().splitlines()) >= 3


def test_credentials_that_the_store_calls_expired_are_renewed_at_once(radosgw, new_proxy, profile):
    fill(radosgw)
    log = profile(radosgw, 3600)
    proxy = new_proxy(radosgw)
    dataset = by_profile(proxy.store, "http")
    asked = len(log.read_text().splitlines())
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n" % len(EXPIRED)
    proxy.inject(method="GET", key="/data/", raw=head + EXPIRED, skip=5)
    result = epoch(dataset)
    assert (result.seen, result.errors) == (list(range(COUNT)), [])
    assert len(log.read_text().splitlines()) > asked


@pytest.mark.parametrize("road", ROADS)
def test_a_signature_that_ends_in_mid_epoch_is_said_at_its_batch(azurite, new_proxy, road):
    """Nobody can renew a SAS that was given as a text."""
    import datetime

    from azure.storage import blob

    fill(azurite)
    proxy = new_proxy(azurite)
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=4)
    sas = blob.generate_container_sas(
        azurite.keys.account,
        azurite.container,
        account_key=azurite.keys.account_key,
        permission="rl",
        expiry=until,
    )
    connection = f"BlobEndpoint={proxy.store.account_url};SharedAccessSignature={sas}"
    dataset = data_set(proxy.store, road, connection_string=connection)
    assert len(dataset) == COUNT
    proxy.inject(method="GET", key="/data/", times=None, delay=0.8)
    result = epoch(dataset, threads=1, batch_size=1)
    assert_whole(result, proxy.store)
    assert 0 < len(result.errors) < COUNT
    assert all(isinstance(error, DlioFastPermissionError) for error in result.errors)
    assert result.seen == list(range(len(result.seen)))
