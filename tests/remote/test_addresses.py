"""Which store, bucket and key an address means."""

import pytest

from dlio_fast.config import is_remote
from dlio_fast.errors import ConfigError
from dlio_fast.storage.addresses import parse_address

AZURE = "core.windows.net"


@pytest.mark.parametrize(
    ("address", "bucket", "key"),
    [
        ("s3://bucket/folder/file.npz", "bucket", "folder/file.npz"),
        ("S3://bucket/folder/file.npz", "bucket", "folder/file.npz"),
        ("s3a://bucket/folder/", "bucket", "folder/"),
        ("s3://bucket", "bucket", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://bucket/odd name?x=1#y%20", "bucket", "odd name?x=1#y%20"),
        ("s3://bucket//two", "bucket", "/two"),
    ],
)
def test_an_s3_address_is_a_bucket_and_a_key_taken_as_it_stands(address, bucket, key):
    found = parse_address(address)
    assert (found.backend, found.bucket, found.key) == ("s3", bucket, key)


@pytest.mark.parametrize("scheme", ["az", "abfs", "abfss", "azure"])
@pytest.mark.parametrize(
    ("rest", "known", "account", "container", "key"),
    [
        ("container/folder/x", "acct", "", "container", "folder/x"),
        ("container", "acct", "", "container", ""),
        ("container/", "acct", "", "container", ""),
        ("acct/container/folder/x", "", "acct", "container", "folder/x"),
        ("acct/container/folder/x", "acct", "acct", "container", "folder/x"),
        ("acct/container", "", "acct", "container", ""),
        ("container@acct.dfs.core.windows.net/folder/x", "", "acct", "container", "folder/x"),
        ("container@acct.blob.core.windows.net/folder/x", "other", "acct", "container", "folder/x"),
        ("container@acct.dfs.core.windows.net", "", "acct", "container", ""),
        ("acct.dfs.core.windows.net/container/folder/x", "", "acct", "container", "folder/x"),
    ],
)
def test_an_azure_address_names_the_container_and_maybe_the_account(
    scheme, rest, known, account, container, key
):
    found = parse_address(f"{scheme}://{rest}", known)
    assert (found.backend, found.account, found.bucket, found.key) == ("az", account, container, key)
    assert found.prefix.startswith(f"{scheme}://") and found.prefix.endswith("/")


def test_another_cloud_s_domain_is_kept():
    assert parse_address("abfss://c@a.dfs.core.chinacloudapi.cn/x").endpoint_suffix == "core.chinacloudapi.cn"
    assert parse_address("abfss://c@a.dfs.core.windows.net/x").endpoint_suffix == AZURE


@pytest.mark.parametrize(
    "address", ["s3://bucket/a/b", "az://acct/container/a/b", "abfss://c@acct.dfs.core.windows.net/a"]
)
def test_prefix_and_key_make_up_the_address(address):
    assert str(parse_address(address)) == address


@pytest.mark.parametrize("address", ["gs://bucket/x", "http://host:80/x?y", "memory://a/b", "gdrive://x"])
def test_every_other_scheme_is_left_to_fsspec(address):
    found = parse_address(address)
    assert (found.backend, found.bucket) == (address.partition("://")[0], "")
    assert str(found) == address


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("s3://", "bucket is missing"),
        ("s3:///key", "bucket is missing"),
        ("az://", "container is missing"),
        ("az://container", "whose container"),
        ("abfs://container@host/x", "account's host"),
        ("/data/train", "local path"),
        ("file:///data/train", "local path"),
        ("direct://data", "local path"),
    ],
)
def test_what_is_no_address_of_an_object_is_refused(address, said):
    with pytest.raises(ConfigError, match=said):
        parse_address(address)


@pytest.mark.parametrize(
    ("address", "remote"),
    [("s3://b/k", True), ("az://c/k", True), ("memory://x", True), ("/x", False), ("x", False)]
    + [("file:///x", False), ("direct://x", False), ("directio://x", False)],
)
def test_local_addresses_are_told_from_remote_ones(address, remote):
    assert is_remote(address) is remote
