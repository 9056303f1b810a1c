"""A planted secret appears in nothing that is shown, and crosses no process but in options given in code."""

import base64
import logging
import pickle
import traceback

import pytest

from dlio_fast.config.data import StorageSection
from dlio_fast.errors import ConfigError, DlioFastError
from dlio_fast.storage.access import check_access
from dlio_fast.storage.listing import list_remote
from dlio_fast.storage.listing_cache import ListingCache
from dlio_fast.storage.settings import remote_address, settings_for

SECRET = base64.b64encode(b"planted secret of dlio_fast").decode()
SAS = f"sv=2024-01-01&sig={SECRET}"
DEAD = "http://127.0.0.1:9"
CONNECTION = f"BlobEndpoint={DEAD}/a;AccountName=a;AccountKey={SECRET}"

GIVEN = [
    ("s3://bucket/x", {"key": "A", "secret": SECRET, "token": SECRET, "endpoint_url": DEAD}),
    ("s3://bucket/x", {"client_kwargs": {"aws_secret_access_key": SECRET, "aws_access_key_id": "A"},
                       "endpoint_url": DEAD}),
    ("s3://bucket/x", {"access_key_id": "A", "secret_access_key": SECRET, "endpoint_url": DEAD}),
    ("az://container/x", {"connection_string": CONNECTION}),
    ("az://container/x", {"connection_string": f"BlobEndpoint={DEAD}/a;SharedAccessSignature={SAS}"}),
    ("az://a/container/x", {"account_key": SECRET, "account_host": "127.0.0.1:9"}),
    ("az://a/container/x", {"sas_token": SAS, "account_host": "127.0.0.1:9"}),
]  # fmt: skip

ENVIRONMENT = [
    ("s3://bucket/x", {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_ENDPOINT_URL": DEAD}),
    ("az://container/x", {"AZURE_STORAGE_CONNECTION_STRING": CONNECTION}),
    ("az://a/container/x", {"AZURE_STORAGE_KEY": SECRET}),
    ("az://a/container/x", {"AZURE_STORAGE_SAS_TOKEN": SAS}),
]


@pytest.mark.parametrize(("address", "options"), GIVEN)
def test_nothing_that_is_shown_holds_it(address, options, caplog, capfd):
    caplog.set_level(logging.DEBUG, "dlio_fast")
    settings = settings_for(address, options)
    provider = settings.credentials()
    assert SECRET in str(provider())
    store = settings.http_store_options(remote_address(address, settings))
    shown = [repr(settings), str(settings), repr(settings.source), repr(provider), str(store)]
    for work in (lambda: check_access(settings), lambda: list_remote(address, [".npz"], options)):
        with pytest.raises(DlioFastError) as caught:
            work()
        shown += [str(caught.value), repr(caught.value), "".join(traceback.format_exception(caught.value))]
        shown.append(str(pickle.dumps(caught.value)))
    shown += [record.getMessage() for record in caplog.records if record.name.startswith("dlio_fast")]
    shown += capfd.readouterr()
    assert not [text for text in shown if SECRET in text]


@pytest.mark.parametrize(("address", "variables"), ENVIRONMENT)
def test_what_the_environment_holds_crosses_no_process(monkeypatch, address, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = settings_for(address)
    provider = settings.credentials()
    assert SECRET in str(provider())
    for thing in (settings, provider):
        assert SECRET.encode() not in pickle.dumps(thing)
        assert SECRET not in repr(thing)
    assert SECRET in str(pickle.loads(pickle.dumps(provider))())


@pytest.mark.parametrize(
    "options",
    [
        {"secert": SECRET}, {"client_kwargs": SECRET}, {"endpoint_url": f"http://A:{SECRET}@host"},
        {"use_ssl": SECRET}, {"endpoint_url": SECRET}, {"config_kwargs": {"read_timeout": SECRET}},
    ],
)  # fmt: skip
def test_a_refused_option_s_value_is_not_repeated(options):
    with pytest.raises(ConfigError) as caught:
        settings_for("s3://bucket/x", options)
    assert SECRET not in str(caught.value)


def test_a_refused_connection_string_is_not_repeated():
    with pytest.raises(ConfigError) as caught:
        settings_for("az://container/x", {"connection_string": f"AccountKey{SECRET}"})
    assert SECRET not in str(caught.value)


def test_the_configuration_s_section_does_not_show_it():
    section = StorageSection.model_validate(
        {"storage_options": {"secret_access_key": SECRET, "access_key_id": "A"}}
    )
    assert SECRET not in repr(settings_for("s3://bucket/x", None, section))


def test_a_kept_listing_does_not_hold_it(moto, tmp_path):
    moto.put("data/a.npz", b"")
    list_remote(moto.address("data"), [".npz"], moto.storage_options, cache=ListingCache(tmp_path, 1e6))
    (kept,) = tmp_path.iterdir()
    assert not [secret for secret in moto.secrets if secret.encode() in kept.read_bytes()]
