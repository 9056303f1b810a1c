"""What the tests rely on their servers for."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.remote import azurite as azurite_module
from tests.remote import needs

ROOT = Path(__file__).parents[2]
DATA = hashlib.shake_256(b"objects").digest(300_000)
LARGE = DATA * 40  # more than one part of an upload, and more than one stripe of Ceph's


def test_an_object_that_was_put_is_listed_and_read(store):
    store.put("data/a.bin", DATA)
    store.put("data/b.bin", b"")
    store.put("else", b"1")
    assert store.get("data/a.bin") == DATA
    assert store.list("data/") == {"data/a.bin": len(DATA), "data/b.bin": 0}
    store.delete("data/a.bin")
    assert store.list() == {"data/b.bin": 0, "else": 1}


def test_keys_may_hold_what_urls_and_signatures_quote(store):
    keys = ["a b+c", "d/é%41", "e&f=g?h#i", "j~k!l'(m)*", "n//o"]
    for key in keys:
        store.put(key, key.encode())
    assert sorted(store.list()) == sorted(keys)
    assert [store.get(key).decode() for key in keys] == keys


def test_an_etag_changes_with_the_content(store):
    first, second = store.put("a", b"1"), store.put("a", b"2")
    assert first != second
    assert first.startswith('"') == second.startswith('"')
    assert len(first.strip('"')) > 8


def test_a_listing_has_more_than_one_page(s3_store):
    for i in range(12):
        s3_store.put(f"{i:02}", b"")
    page = s3_store.client.list_objects_v2(Bucket=s3_store.container, MaxKeys=5)
    assert page["IsTruncated"]
    assert [item["Key"] for item in page["Contents"]] == [f"{i:02}" for i in range(5)]
    assert list(s3_store.list()) == [f"{i:02}" for i in range(12)]


def test_fsspec_reaches_it_with_the_options(store):
    store.put("data/a.bin", DATA)
    filesystem = store.filesystem()
    assert filesystem.cat_file(store.address("data/a.bin")) == DATA
    assert filesystem.cat_file(store.address("data/a.bin"), start=1000, end=2000) == DATA[1000:2000]
    assert filesystem.info(store.address("data/a.bin"))["size"] == len(DATA)
    filesystem.pipe_file(store.address("data/b.bin"), DATA[:5])
    assert store.get("data/b.bin") == DATA[:5]
    assert [item["name"] for item in filesystem.ls(store.address("data"), detail=True)] == [
        f"{store.container}/data/a.bin",
        f"{store.container}/data/b.bin",
    ]


def test_fsspec_uploads_in_parts(store):
    filesystem = store.filesystem()
    with filesystem.open(store.address("large"), "wb", block_size=5 << 20) as file:
        file.write(LARGE)
    assert store.get("large") == LARGE
    assert store.unfinished() == []


def test_an_upload_that_was_begun_is_seen(s3_store, azurite):
    s3_store.client.create_multipart_upload(Bucket=s3_store.container, Key="half")
    assert (s3_store.unfinished(), s3_store.list()) == (["half"], {})
    azurite.client.get_blob_client("half").stage_block("MDAwMQ==", b"1234")
    assert (azurite.unfinished(), azurite.list()) == (["half"], {})


def test_a_process_reaches_it_with_the_variables(store):
    store.put("a.bin", DATA)
    program = "import fsspec, sys; sys.stdout.buffer.write(fsspec.open(sys.argv[1], 'rb').open().read())"
    environment = {**os.environ, **store.environment}
    command = [sys.executable, "-c", program, store.address("a.bin")]
    assert subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout == DATA


def _open(store, url, headers):
    import ssl

    context = ssl.create_default_context(cafile=store.authority) if store.authority else None
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), context=context, timeout=10)


def test_a_get_has_ranges_and_conditions(store):
    etag = store.put("a.bin", DATA)
    url = store.presigned("a.bin")
    with _open(store, url, {"Range": "bytes=1000-1999"}) as response:
        assert response.status == 206
        assert response.headers["Content-Range"] == f"bytes 1000-1999/{len(DATA)}"
        assert response.headers["ETag"].strip('"') == etag.strip('"')
        assert response.read() == DATA[1000:2000]
    with _open(store, url, {"If-Match": response.headers["ETag"]}) as response:
        assert response.read() == DATA
    with pytest.raises(urllib.error.HTTPError) as raised:
        _open(store, url, {"If-Match": '"0x1"'})
    assert raised.value.code == 412


def test_a_range_past_the_end_is_refused_or_empty(store):
    store.put("a.bin", DATA)
    past = {"Range": f"bytes={len(DATA)}-{len(DATA) + 9}"}
    if store.server == "azurite":  # unlike Azure
        with _open(store, store.presigned("a.bin"), past) as response:
            assert response.status == 206
            assert response.headers["Content-Range"] == f"bytes {len(DATA)}-{len(DATA) - 1}/{len(DATA)}"
            assert response.read() == b""
    else:
        with pytest.raises(urllib.error.HTTPError) as raised:
            _open(store, store.presigned("a.bin"), past)
        assert raised.value.code == 416


def test_a_wrong_signature_is_refused(new_store):
    for name in ("radosgw", "azurite"):  # moto takes any
        store = new_store(name)
        store.put("a.bin", DATA)
        url = re.sub(r"(Signature=|sig=)...", r"\1AAA", store.presigned("a.bin"))
        with pytest.raises(urllib.error.HTTPError) as raised:
            _open(store, url, {})
        assert raised.value.code == 403


def test_neither_a_store_nor_its_options_show_its_secrets_in_a_repr(store):
    assert all(secret and secret not in repr(store) for secret in store.secrets)
    assert any(secret in str(store.storage_options) for secret in store.secrets)


def test_unencrypted_and_unknown_clients_do_not_get_through_tls(radosgw_tls, azurite_tls):
    import ssl

    for store in (radosgw_tls, azurite_tls):
        with pytest.raises(urllib.error.URLError) as raised:
            trusts_nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            urllib.request.urlopen(store.endpoint, context=trusts_nobody, timeout=10)
        assert isinstance(raised.value.reason, ssl.SSLCertVerificationError)


PYTEST = [
    *(sys.executable, "-m", "pytest", "-q", "--rootdir", ROOT, "-c", ROOT / "pyproject.toml"),
    *("-p", "no:cacheprovider", "-p", "tests.remote.conftest"),
]

INNER = """
    import os, time

    def test_servers(servers, {stores}):
        with open(os.environ["SEEN"], "w") as out:
            print(servers.processes.folder, *servers.processes.pids(), file=out)
        os.environ.get("WAIT") and time.sleep(60)
"""


@pytest.fixture
def inner(tmp_path, radosgw, azurite, moto):  # for the skip where they are missing
    """Starts another run of pytest that uses all servers; returns it, their folder, their processes' ids."""
    seen = tmp_path / "seen"

    def start(*stores, **variables):
        (tmp_path / "test_inner.py").write_text(textwrap.dedent(INNER.format(stores=", ".join(stores))))
        process = subprocess.Popen(
            [*PYTEST, tmp_path / "test_inner.py"],
            cwd=ROOT,
            env={**os.environ, "SEEN": str(seen), **variables},
            stdout=subprocess.DEVNULL,
        )
        while not (seen.exists() and seen.read_text().endswith("\n")):
            assert process.poll() is None or seen.exists()
            time.sleep(0.01)
        folder, *pids = seen.read_text().split()
        return process, Path(folder), [int(pid) for pid in pids]

    return start


def _gone(folder: Path, pids: list[int]) -> bool:
    return not folder.exists() and not any(_lives(pid) for pid in pids)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _comes_true(condition) -> bool:
    end = time.monotonic() + 20
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_nothing_is_left_of_the_servers_after_a_run(inner):
    process, folder, pids = inner("radosgw", "radosgw_tls", "azurite", "azurite_tls", "moto")
    assert process.wait(60) == 0
    assert len(pids) == 6  # mon, osd, radosgw, azurite, azurite-tls, moto
    assert _gone(folder, pids)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_the_servers_after_a_run_that_was_stopped(inner, how):
    process, folder, pids = inner("radosgw", "moto", WAIT="1")
    assert folder.exists()
    assert all(map(_lives, pids))
    process.send_signal(how)
    assert process.wait(60) != 0
    assert _comes_true(lambda: _gone(folder, pids))


def test_a_missing_server_is_told_at_the_end_of_a_run_or_fails_it(tmp_path):
    """With a PATH that has neither Ceph nor Node."""
    (tmp_path / "test_inner.py").write_text(
        "def test_a(radosgw): pass\ndef test_b(radosgw): pass\ndef test_c(azurite): pass\n"
    )
    (tmp_path / "bin").mkdir()
    for name in ("sh", "tail", "rm", "setpriv"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")

    def run(**variables):
        unset = {"DLIO_FAST_REQUIRE_SERVERS": ""}
        environment = {**os.environ, "PATH": str(tmp_path / "bin"), **unset, **variables}
        return subprocess.run(
            [*PYTEST, tmp_path / "test_inner.py"],
            cwd=ROOT,
            env=environment,
            text=True,
            capture_output=True,
        )

    told = run()
    assert told.returncode == 0
    assert "not run: 2 tests need radosgw (apt-get install radosgw ceph-mon ceph-osd)" in told.stdout
    assert f"not run: 1 test needs azurite ({azurite_module.HOW})" in told.stdout
    assert "3 skipped" in told.stdout
    failed = run(DLIO_FAST_REQUIRE_SERVERS="1")
    assert failed.returncode == 1
    assert "needs radosgw (apt-get install radosgw ceph-mon ceph-osd)" in failed.stdout


def test_servers_are_required_where_ci_says_so(monkeypatch):
    monkeypatch.setenv("DLIO_FAST_REQUIRE_SERVERS", "1")
    assert needs.required()
    monkeypatch.setenv("DLIO_FAST_REQUIRE_SERVERS", "0")
    assert not needs.required()
