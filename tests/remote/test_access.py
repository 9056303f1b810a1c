"""What the first request says about a store that cannot be used."""

import socket
import threading
import time

import pytest

from dlio_fast.errors import (
    ConfigError,
    DlioFastFileNotFoundError,
    DlioFastPermissionError,
    DlioFastTimeoutError,
    FileChangedError,
    StoreError,
)
from dlio_fast.storage.access import check_access
from dlio_fast.storage.settings import settings_for
from dlio_fast.storage.store_errors import scrubbed, translate_error

LIMIT = 10.0
"""Seconds within which every answer must be there."""


def check(address, options, key=None):
    began = time.monotonic()
    try:
        check_access(settings_for(address, options), key)
    finally:
        assert time.monotonic() - began < LIMIT


def other_key(store):
    options = dict(store.storage_options)
    if "secret" in options:
        return options | {"secret": "WRONG"}
    return {"connection_string": options["connection_string"].replace("AccountKey=", "AccountKey=AAAA")}


@pytest.fixture
def silent():
    """A server that accepts connections and says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    held = []

    def accept():
        try:
            while True:
                held.append(listener.accept()[0])
        except OSError:
            pass

    thread = threading.Thread(target=accept)
    thread.start()
    yield f"127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in held:
        connection.close()


def test_a_store_that_works_passes(store):
    check(store.root, store.storage_options)
    store.put("a", b"x")
    check(store.root, store.storage_options, key="a")


def test_a_missing_bucket(store):
    with pytest.raises(DlioFastFileNotFoundError, match="does not exist") as caught:
        check(store.root + "nowhere", store.storage_options)
    assert caught.value.filename == store.root + "nowhere"


def test_a_missing_object(store):
    with pytest.raises(DlioFastFileNotFoundError):
        check(store.root, store.storage_options, key="nothing")


@pytest.mark.parametrize("name", ["radosgw", "azurite"])
def test_a_wrong_key(new_store, name):
    store = new_store(name)
    with pytest.raises(DlioFastPermissionError, match="check the key"):
        check(store.root, other_key(store))


def test_no_credentials():
    with pytest.raises(DlioFastPermissionError, match="credentials"):
        check("s3://bucket/x", {"endpoint_url": "http://127.0.0.1:9"})


@pytest.mark.parametrize("host", ["no-such-host.invalid", "127.0.0.1:9"])
def test_an_endpoint_that_cannot_be_reached(host):
    with pytest.raises(StoreError, match=f"cannot be reached at http://{host}"):
        check("s3://bucket/x", {"endpoint_url": f"http://{host}", "key": "A", "secret": "B"})
    connection = f"AccountName=a;AccountKey=QQ==;BlobEndpoint=http://{host}/a"
    with pytest.raises(StoreError, match=f"cannot be reached at http://{host}"):
        check("az://container/x", {"connection_string": connection})


def test_an_endpoint_that_says_nothing(silent):
    with pytest.raises(DlioFastTimeoutError, match=silent):
        check("s3://bucket/x", {"endpoint_url": f"http://{silent}", "key": "A", "secret": "B"})
    connection = f"AccountName=a;AccountKey=QQ==;BlobEndpoint=http://{silent}/a"
    with pytest.raises(DlioFastTimeoutError, match=silent):
        check("az://container/x", {"connection_string": connection})


def test_an_unknown_certificate(radosgw_tls, azurite_tls):
    options = dict(radosgw_tls.storage_options)
    options["client_kwargs"] = {"region_name": "us-east-1"}
    with pytest.raises(StoreError, match="TLS"):
        check(radosgw_tls.root, options)


def test_of_several_endpoints_one_that_answers_is_enough(moto):
    endpoints = f"http://127.0.0.1:9,{moto.endpoint}"
    check(moto.root, moto.storage_options | {"endpoint_url": endpoints})


def client_error(code, status=400, **more):
    from botocore.exceptions import ClientError

    response = {
        "Error": {"Code": code, "Message": "said"} | more,
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "ListObjectsV2")


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (client_error("AuthorizationHeaderMalformed", Region="eu-west-1"), StoreError, "region is eu-west-1"),
        (client_error("PermanentRedirect", 301), StoreError, "another region"),
        (client_error("ExpiredToken"), DlioFastPermissionError, "expired"),
        (client_error("RequestTimeTooSkewed", 403), DlioFastPermissionError, "clock"),
        (client_error("AccessDenied", 403), DlioFastPermissionError, "refused"),
        (client_error("NoSuchKey", 404), DlioFastFileNotFoundError, "no such object"),
        (client_error("PreconditionFailed", 412), FileChangedError, "changed"),
        (client_error("SlowDown", 503), StoreError, "SlowDown"),
        (FileNotFoundError("s3://b/k"), DlioFastFileNotFoundError, "s3://b/k"),
        (PermissionError("Forbidden"), DlioFastPermissionError, "Forbidden"),
        (TimeoutError(), DlioFastTimeoutError, "in time"),
        (RuntimeError("odd"), StoreError, "odd"),
    ],
)
def test_errors_of_the_libraries_become_dlio_fast_s(error, kind, said):
    found = translate_error(error, "s3://b/k")
    assert type(found) is kind and said in str(found)
    assert "s3://b/k" in (getattr(found, "filename", None) or found.path)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), TypeError("x"), ConfigError("x")])
def test_what_is_no_matter_of_the_store_s_stays(error):
    assert translate_error(error, "s3://b/k") is error


@pytest.mark.parametrize(
    "text",
    [
        "https://h/c/k?sv=1&sig=PLANTED%3D&se=2", "X-Amz-Signature=PLANTED", "AccountKey=PLANTED;x=1",
        "{'Authorization': 'AWS4-HMAC-SHA256 Credential=PLANTED, Signature=PLANTED'}", "secret: 'PLANTED'",
        "Authorization: Bearer PLANTED", "SharedAccessSignature=PLANTED", "x-amz-security-token: PLANTED",
    ],
)  # fmt: skip
def test_secrets_in_others_messages_are_struck_out(text):
    assert "PLANTED" not in scrubbed(text)
