"""What the core signs, it signs as botocore and Azure's SDK do."""

import datetime
import socket
import threading

import pytest

from dlio_fast import _core

KEYS = [
    "plain/key.npz", "with space", "plus+and=and&", "per%cent", "per%20cent", "ünïcødé/файл/🙂", "a//b",
    "/leading",
    "trailing/", "a/../b/./c", "~tilde-._", "quote'\"()*!", "colon:semi;comma,", "question?hash#at@",
    "back\\slash",
    "k" * 1000,
]  # fmt: skip
SECRET = "dliofast/SECRET+of/the+tests"
ANSWER = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


@pytest.fixture
def heard():
    """A server that refuses everything, and the requests it got: (method, target, fields)."""
    requests = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    client = listener.accept()[0]
                except OSError:
                    return
                with client, client.makefile("rb") as stream:
                    while line := stream.readline():
                        method, target, _ = line.decode("ascii").split(" ")
                        fields = {}
                        while (line := stream.readline()) != b"\r\n":
                            name, _, value = line.decode("ascii").rstrip("\r\n").partition(": ")
                            fields[name] = value
                        stream.read(int(fields.get("content-length", 0)))
                        requests.append((method, target, fields))
                        client.sendall(ANSWER)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def ask(url, key, **settings):
    store = _core.HttpStore(prefix="x://b/", endpoints=[url], **settings)
    with pytest.raises(FileNotFoundError):
        store.read(f"x://b/{key}", pool=_core.Pool(0), size=9)
    with pytest.raises(FileNotFoundError):
        store.put(f"x://b/{key}", b"123")


@pytest.mark.parametrize("token", [None, "a/session+token=="])
@pytest.mark.parametrize("key", KEYS)
def test_s3_requests_are_signed_as_botocore_signs_them(heard, key, token):
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url, requests = heard
    given = {"access_key_id": "ID", "secret_access_key": SECRET, "session_token": token, "expires": None}
    ask(url, key, path="/bucket/", auth="sigv4", region="eu-north-1", credentials=lambda: given)
    assert [method for method, _, _ in requests] == ["GET", "PUT"]
    for method, target, fields in requests:
        signed = fields["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        request = AWSRequest(method, url + target, headers={name: fields[name] for name in signed})
        request.context["timestamp"] = fields["x-amz-date"]
        signer = auth.S3SigV4Auth(Credentials("ID", SECRET, token), "s3", "eu-north-1")
        canonical = signer.canonical_request(request)
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        assert fields["authorization"].endswith(f"Signature={signature}")
        assert fields.get("x-amz-security-token") == token
        assert SECRET not in str(fields)
        now = datetime.datetime.now(datetime.UTC)
        asked = datetime.datetime.strptime(fields["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(
            tzinfo=datetime.UTC
        )
        assert abs((now - asked).total_seconds()) < 60


@pytest.mark.parametrize("key", KEYS)
def test_the_url_of_a_key_is_botocores(heard, key):
    pytest.importorskip("botocore")
    from botocore.utils import percent_encode

    url, requests = heard
    ask(url, key, path="/bucket/")
    assert {target for _, target, _ in requests} == {"/bucket/" + percent_encode(key, safe="/~")}


@pytest.mark.parametrize("key", KEYS)
def test_azures_shared_key_is_the_sdks(heard, key):
    pytest.importorskip("azure.storage.blob")
    from azure.core.pipeline import PipelineContext, PipelineRequest
    from azure.core.pipeline.transport import HttpRequest
    from azure.storage.blob._shared.authentication import SharedKeyCredentialPolicy

    url, requests = heard
    account_key = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="
    ask(
        url, key, path="/account/container/", auth="sharedkey", account="account",
        credentials=lambda: {"account_key": account_key},
    )  # fmt: skip
    assert [method for method, _, _ in requests] == ["GET", "PUT"]
    for method, target, fields in requests:
        own = {name.title(): value for name, value in fields.items() if not name.startswith(("x-ms", "auth"))}
        own |= {name: value for name, value in fields.items() if name.startswith("x-ms")}
        request = PipelineRequest(HttpRequest(method, url + target, headers=own), PipelineContext(None))
        SharedKeyCredentialPolicy("account", account_key).on_request(request)
        assert request.http_request.headers["Authorization"] == fields["authorization"]


def test_sas_and_bearer_tokens_go_as_they_are(heard):
    url, requests = heard
    ask(url, "a b", path="/c/", auth="sas", credentials=lambda: {"sas_token": "sv=1&sig=a%2Bb"})
    ask(url, "a b", path="/c/", auth="bearer", credentials=lambda: {"bearer": "TOKEN"})
    ask(url, "a b", path="/c/", account="account")
    assert [target for _, target, _ in requests] == ["/c/a%20b?sv=1&sig=a%2Bb"] * 2 + ["/c/a%20b"] * 4
    assert [fields.get("authorization") for _, _, fields in requests] == [None] * 2 + ["Bearer TOKEN"] * 2 + [
        None
    ] * 2
    assert all("x-ms-version" in fields for _, _, fields in requests)
