"""Which settings follow from options, the configuration, fsspec's, the environment and ~/.aws."""

import base64
import json
import os
import pickle
import time

import pytest

from dlio_fast.config.data import StorageSection
from dlio_fast.errors import ConfigError, DlioFastPermissionError
from dlio_fast.storage.remote import remote_store
from dlio_fast.storage.settings import remote_address, settings_for

S3 = "s3://bucket/folder"
KEY = base64.b64encode(b"key").decode()
DEVELOPMENT = "UseDevelopmentStorage=true"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """No variable and no file of the machine's counts; credentials are not looked for on the network."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "S3_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr("fsspec.config.conf", {})


def environment(monkeypatch, **variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "options", "endpoints"),
    [
        ({}, {}, ("https://s3.us-east-1.amazonaws.com",)),
        ({"AWS_REGION": "eu-west-1"}, {}, ("https://s3.eu-west-1.amazonaws.com",)),
        ({"AWS_REGION": "cn-north-1"}, {}, ("https://s3.cn-north-1.amazonaws.com.cn",)),
        ({}, {"use_ssl": False}, ("http://s3.us-east-1.amazonaws.com",)),
        ({"AWS_ENDPOINT_URL": "http://a:1"}, {}, ("http://a:1",)),
        ({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": "http://b:2/"}, {}, ("http://b:2",)),
        ({"AWS_ENDPOINT_URL_S3": "http://b", "S3_ENDPOINT_URIS": "http://c, http://d"}, {}, ("http://c", "http://d")),
        ({"S3_ENDPOINT_URIS": "http://c"}, {"endpoint_url": "http://e"}, ("http://e",)),
        ({}, {"endpoint_url": "http://e,http://f"}, ("http://e", "http://f")),
        ({}, {"endpoint_url": ["http://e", "http://f"]}, ("http://e", "http://f")),
        ({}, {"client_kwargs": {"endpoint_url": "http://g"}}, ("http://g",)),
        ({}, {"client_kwargs": {"endpoint_url": "http://g"}, "endpoint_url": "http://e"}, ("http://e",)),
        ({"AWS_ENDPOINT_URL": "http://a", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, {},
         ("https://s3.us-east-1.amazonaws.com",)),
    ],
)  # fmt: skip
def test_endpoints_come_from_the_first_source_that_names_any(monkeypatch, variables, options, endpoints):
    environment(monkeypatch, **variables)
    assert settings_for(S3, options).endpoints == endpoints


@pytest.mark.parametrize(
    ("variables", "options", "region"),
    [
        ({}, {}, "us-east-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, {}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-2"}, {}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-2"}, {"client_kwargs": {"region_name": "eu-west-3"}}, "eu-west-3"),
        ({"AWS_REGION": "eu-west-2"}, {"region": "eu-west-4"}, "eu-west-4"),
    ],
)
def test_the_region(monkeypatch, variables, options, region):
    environment(monkeypatch, **variables)
    assert settings_for(S3, options).region == region


@pytest.mark.parametrize(
    ("bucket", "options", "style"),
    [
        ("bucket", {}, "virtual"),
        ("bucket.with.dots", {}, "path"),
        ("Bucket_", {}, "path"),
        ("bucket", {"endpoint_url": "http://host"}, "path"),
        ("bucket", {"config_kwargs": {"s3": {"addressing_style": "path"}}}, "path"),
        ("bucket", {"endpoint_url": "http://host", "s3_force_path_style": "false"}, "virtual"),
        ("bucket", {"endpoint_url": "http://127.0.0.1:1", "s3_force_path_style": "false"}, "path"),
        ("bucket", {"s3_force_path_style": True}, "path"),
    ],
)
def test_the_bucket_is_in_the_path_where_botocore_puts_it_there(bucket, options, style):
    assert settings_for(f"s3://{bucket}/x", options).addressing_style == style


@pytest.mark.parametrize(
    ("variables", "options", "ca_file", "verify"),
    [
        ({}, {}, None, True),
        ({"AWS_CA_BUNDLE": "/ca.pem"}, {}, "/ca.pem", True),
        ({"AWS_CA_BUNDLE": "/ca.pem"}, {"client_kwargs": {"verify": "/own.pem"}}, "/own.pem", True),
        ({"AWS_CA_BUNDLE": "/ca.pem"}, {"client_kwargs": {"verify": False}}, None, False),
    ],
)
def test_which_certificates_are_trusted(monkeypatch, variables, options, ca_file, verify):
    environment(monkeypatch, **variables)
    found = settings_for(S3, options)
    assert (found.ca_file, found.verify_tls) == (ca_file, verify)


def test_a_profile_gives_endpoint_region_style_and_keys(monkeypatch, tmp_path):
    (tmp_path / "config").write_text(
        "[profile lab]\nregion = lab-1\nendpoint_url = http://lab:9000\ns3 =\n  addressing_style = virtual\n"
        "[profile other]\nservices = mine\n[services mine]\ns3 =\n  endpoint_url = http://mine:1\n"
    )
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = A\naws_secret_access_key = B\n")
    monkeypatch.setenv("AWS_PROFILE", "lab")
    found = settings_for(S3)
    assert (found.region, found.endpoints, found.addressing_style) == (
        "lab-1",
        ("http://lab:9000",),
        "virtual",
    )
    keys = {"access_key_id": "A", "secret_access_key": "B", "session_token": None, "expires": None}
    assert found.credentials()() == keys
    assert settings_for(S3, {"profile": "other"}).endpoints == ("http://mine:1",)
    with pytest.raises(ConfigError, match="profile 'none' is not in"):
        settings_for(S3, {"profile": "none"})


def test_a_role_s_keys_come_with_the_time_at_which_they_expire(tmp_path):
    answer = {"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "B", "SessionToken": "T"}
    answer["Expiration"] = "2100-01-01T00:00:00Z"
    (tmp_path / "answer").write_text(json.dumps(answer))
    (tmp_path / "config").write_text(f"[profile role]\ncredential_process = cat {tmp_path / 'answer'}\n")
    found = settings_for(S3, {"profile": "role"}).credentials()()
    assert found["session_token"] == "T"
    assert found["expires"] == 4102444800


def test_keys_that_expire_are_asked_for_again_before_they_do(tmp_path):
    answer = {"Version": 1, "AccessKeyId": "A1", "SecretAccessKey": "B", "SessionToken": "T"}
    answer["Expiration"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60))
    (tmp_path / "answer").write_text(json.dumps(answer))
    (tmp_path / "config").write_text(f"[profile role]\ncredential_process = cat {tmp_path / 'answer'}\n")
    provider = settings_for(S3, {"profile": "role"}).credentials()
    assert provider()["access_key_id"] == "A1"
    (tmp_path / "answer").write_text(json.dumps(answer | {"AccessKeyId": "A2"}))
    assert provider()["access_key_id"] == "A2"


def test_without_credentials_the_error_says_where_they_are_looked_for():
    with pytest.raises(DlioFastPermissionError, match="AWS_ACCESS_KEY_ID"):
        settings_for(S3).credentials()()
    with pytest.raises(DlioFastPermissionError, match="together"):
        settings_for(S3, {"key": "A"}).credentials()()
    assert settings_for(S3, {"anon": True}).credentials()() == {}


def test_keys_of_two_sources_are_not_mixed(monkeypatch):
    environment(monkeypatch, AWS_ACCESS_KEY_ID="E", AWS_SECRET_ACCESS_KEY="F", AWS_SESSION_TOKEN="G")
    assert settings_for(S3).credentials()()["session_token"] == "G"
    own = settings_for(S3, {"key": "A", "secret": "B"}).credentials()()
    assert (own["access_key_id"], own["secret_access_key"], own["session_token"]) == ("A", "B", None)
    section = {"access_key_id": "C", "secret_access_key": "D"}
    assert settings_for(S3, {}, section).credentials()()["access_key_id"] == "C"
    assert settings_for(S3, {"anon": True}, section).anonymous


@pytest.mark.parametrize(
    ("value", "path_style"), [("true", True), ("false", False), (True, True), (False, False)]
)
def test_dlio_s_storage_section_is_understood(value, path_style):
    section = StorageSection.model_validate(
        {
            "storage_type": "s3",
            "storage_root": "bucket",
            "storage_options": {
                "access_key_id": "A", "secret_access_key": "B", "endpoint_url": "http://host:1",
                "region": "eu-west-1", "s3_force_path_style": value, "s3_max_attempts": "7",
                "prefetch_window": 256, "storage_library": "s3dlio",
            },
        }
    )  # fmt: skip
    found = settings_for(S3, None, section)
    assert found.credentials()()["secret_access_key"] == "B"
    assert (found.endpoints, found.region) == (("http://host:1",), "eu-west-1")
    assert (found.addressing_style == "path") is path_style
    assert found.options["config_kwargs"]["retries"]["max_attempts"] == 7
    assert settings_for(S3, {"endpoint_url": "http://code"}, section).endpoints == ("http://code",)


def test_fsspec_s_configuration_comes_under_the_explicit_options(monkeypatch):
    conf = {
        "s3": {"endpoint_url": "http://conf", "key": "A", "secret": "B"},
        "abfs": {"account_name": "acct"},
    }
    monkeypatch.setattr("fsspec.config.conf", conf)
    assert settings_for(S3).endpoints == ("http://conf",)
    assert settings_for(S3).credentials()()["access_key_id"] == "A"
    assert settings_for(S3, {"endpoint_url": "http://code"}).endpoints == ("http://code",)
    assert settings_for(S3, {"anon": True}).file_system_options(8)["key"] is None
    assert settings_for("az://container/x", {"account_key": KEY}).account == "acct"


@pytest.mark.parametrize(
    ("address", "options", "said"),
    [
        (S3, {"endpoint_ul": "x"}, "did you mean 'endpoint_url'"),
        (S3, {"secrt": "x"}, "did you mean 'secret'"),
        (S3, {"client_kwargs": {"region": "x"}}, "did you mean 'region_name'"),
        (S3, {"config_kwargs": {"max_pool_connection": 1}}, "did you mean 'max_pool_connections'"),
        (S3, {"client_kwargs": 3}, "must be a mapping"),
        (S3, {"endpoint_url": "localhost:9000"}, "http://host"),
        (S3, {"endpoint_url": "http://user:pass@host"}, "user name or password"),
        (S3, {"config_kwargs": {"s3": {"addressing_style": "host"}}}, "addressing_style"),
        ("az://a/c/x", {"acount_key": "x"}, "did you mean 'account_key'"),
        ("az://c/x", {"connection_string": "nonsense"}, "name=value"),
        ("az://c/x", {"connection_string": "EndpointSuffix=x"}, "neither AccountName nor BlobEndpoint"),
        ("az://a/c/x", {"client_id": "x"}, "no tenant_id"),
        ("memory://x", {"skip_instance_cach": True}, None),
        ("nosuchscheme://x", {"a": 1}, "knows this scheme"),
    ],
)
def test_options_that_cannot_be_used_are_refused(address, options, said):
    if said is None:
        settings_for(address, options)
        return
    with pytest.raises(ConfigError, match=said):
        settings_for(address, options)


@pytest.mark.parametrize(
    ("address", "options", "account", "endpoint", "auth"),
    [
        ("az://acct/c/x", {"account_key": KEY}, "acct", "https://acct.blob.core.windows.net", "sharedkey"),
        ("abfss://c@acct.dfs.core.windows.net/x", {"sas_token": "?sv=1&sig=s"}, "acct",
         "https://acct.blob.core.windows.net", "sas"),
        ("abfs://c@acct.dfs.core.usgovcloudapi.net/x", {"anon": True}, "acct",
         "https://acct.blob.core.usgovcloudapi.net", "anonymous"),
        ("az://c/x", {"account_name": "acct", "account_host": "host:1/acct", "anon": "true"}, "acct",
         "https://host:1/acct", "anonymous"),
        ("az://c/x", {"connection_string": DEVELOPMENT}, "devstoreaccount1",
         "http://127.0.0.1:10000/devstoreaccount1", "sharedkey"),
        ("az://c/x", {"connection_string": f"AccountName=a;AccountKey={KEY};EndpointSuffix=x.net"}, "a",
         "https://a.blob.x.net", "sharedkey"),
        ("az://c/x", {"connection_string": f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={KEY};"
                      "BlobEndpoint=http://h:1/a;"}, "a", "http://h:1/a", "sharedkey"),
        ("az://c/x", {"connection_string": "BlobEndpoint=https://a.blob.x.net;SharedAccessSignature=?sig=s"},
         "a", "https://a.blob.x.net", "sas"),
        ("az://c/x", {"connection_string": "BlobEndpoint=http://127.0.0.1:1/b;SharedAccessSignature=sig=s"},
         "b", "http://127.0.0.1:1/b", "sas"),
        ("az://acct/c/x", {"tenant_id": "t", "client_id": "c", "client_secret": "s"}, "acct",
         "https://acct.blob.core.windows.net", "bearer"),
        ("az://acct/c/x", {}, "acct", "https://acct.blob.core.windows.net", "bearer"),
    ],
)  # fmt: skip
def test_azure_accounts_endpoints_and_ways_to_sign(address, options, account, endpoint, auth):
    found = settings_for(address, options)
    assert (found.container, found.account, found.endpoint, found.auth) == ("c", account, endpoint, auth)


@pytest.mark.parametrize(
    ("variables", "auth"),
    [
        ({"AZURE_STORAGE_ACCOUNT_NAME": "a", "AZURE_STORAGE_ACCOUNT_KEY": KEY}, "sharedkey"),
        ({"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": KEY}, "sharedkey"),
        ({"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_SAS_TOKEN": "sig=s"}, "sas"),
        ({"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_ANON": "true"}, "anonymous"),
        ({"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_ANON": "false"}, "bearer"),
        ({"AZURE_STORAGE_CONNECTION_STRING": f"AccountName=a;AccountKey={KEY}"}, "sharedkey"),
    ],
)
def test_azure_variables_of_adlfs_and_of_the_az_command(monkeypatch, variables, auth):
    environment(monkeypatch, **variables)
    found = settings_for("az://container/x")
    assert (found.account, found.container, found.auth) == ("a", "container", auth)
    assert settings_for("az://a/container/x").container == "container"


def test_an_account_that_the_key_is_not_for_is_refused(monkeypatch):
    environment(monkeypatch, AZURE_STORAGE_CONNECTION_STRING=f"AccountName=a;AccountKey={KEY}")
    with pytest.raises(ConfigError, match="'b'.*'a'"):
        settings_for("abfss://c@b.dfs.core.windows.net/x")
    assert settings_for("abfss://c@b.dfs.core.windows.net/x", {"anon": True}).account == "b"


def test_a_shared_access_signature_comes_with_its_end():
    options = {"sas_token": "?sv=2024-01-01&se=2100-01-01T00%3A00%3A00Z&sig=s%2B"}
    found = settings_for("az://a/c/x", options).credentials()()
    assert found == {
        "sas_token": "sv=2024-01-01&se=2100-01-01T00%3A00%3A00Z&sig=s%2B",
        "expires": 4102444800.0,
    }
    assert settings_for("az://a/c/x", {"sas_token": "sig=s"}).credentials()()["expires"] is None


class Token:
    token = "T"
    expires_on = 7


class Credential:
    def get_token(self, scope):
        assert scope == "https://storage.azure.com/.default"
        return Token()


class AsynchronousCredential:
    async def get_token(self, scope):
        return Token()


@pytest.mark.parametrize("credential", [Credential(), AsynchronousCredential()])
def test_a_credential_object_gives_tokens(credential):
    found = settings_for("az://a/c/x", {"credential": credential}).credentials()()
    assert found == {"bearer": "T", "expires": 7.0}


@pytest.mark.parametrize(
    ("address", "options", "expected"),
    [
        ("s3://bucket/x", {"endpoint_url": "http://h:1/base"}, ("http://h:1", "/base/bucket/", "sigv4")),
        ("s3://bucket/x", {}, ("https://bucket.s3.us-east-1.amazonaws.com", "/", "sigv4")),
        ("s3://bucket/x", {"anon": True}, ("https://bucket.s3.us-east-1.amazonaws.com", "/", "anonymous")),
        ("az://c/x", {"connection_string": DEVELOPMENT},
         ("http://127.0.0.1:10000", "/devstoreaccount1/c/", "sharedkey")),
        ("abfs://c@a.dfs.core.windows.net/x", {}, ("https://a.blob.core.windows.net", "/c/", "bearer")),
    ],
)  # fmt: skip
def test_the_c_client_is_told_where_the_bucket_is(address, options, expected):
    settings = settings_for(address, options)
    found = settings.http_store_options(remote_address(address, settings))
    assert (found["endpoints"][0], found["path"], found["auth"]) == expected
    assert address.startswith(found["prefix"]) and found["prefix"].endswith("/")


@pytest.mark.parametrize(
    ("address", "options", "why"),
    [
        (S3, {"requester_pays": True}, "requester_pays"),
        (S3, {"version_aware": True}, "version_aware"),
        (S3, {"config_kwargs": {"s3": {"use_accelerate_endpoint": True}}}, "accelerate"),
        (S3, {"config_kwargs": {"use_fips_endpoint": True}}, "fips"),
        (S3, {"config_kwargs": {"signature_version": "s3"}}, "signature_version"),
        (S3, {"config_kwargs": {"proxies": {"https": "http://p"}}}, "proxy"),
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/x", {}, "access point"),
        ("az://a/c/x", {"location_mode": "secondary"}, "location_mode"),
        ("memory://x", {}, "fsspec"),
    ],
)
def test_what_the_c_client_cannot_do_is_left_to_fsspec(address, options, why):
    settings = settings_for(address, options)
    assert settings.http_store_options(remote_address(address, settings)) is None
    assert why in settings.plain_because


def test_a_proxy_is_left_to_fsspec(monkeypatch):
    environment(monkeypatch, https_proxy="http://proxy:1", no_proxy="inside.lab")
    assert "proxy" in settings_for(S3).plain_because
    assert not settings_for(S3, {"endpoint_url": "https://inside.lab"}).plain_because
    assert not settings_for(S3, {"endpoint_url": "http://other.lab"}).plain_because


def test_another_process_gathers_the_environment_s_part_anew(monkeypatch):
    environment(monkeypatch, AWS_ENDPOINT_URL="http://here")
    crossing = pickle.dumps(settings_for(S3, {"key": "A", "secret": "B"}))
    environment(monkeypatch, AWS_ENDPOINT_URL="http://there")
    there = pickle.loads(crossing)
    assert there.endpoints == ("http://there",)
    assert there.credentials()()["secret_access_key"] == "B"


def test_all_addresses_of_a_bucket_lead_to_one_store(moto):
    stores = {id(remote_store(moto.address(key), moto.storage_options)) for key in ("a", "b/c", "d")}
    assert len(stores) == 1
