"""Real object stores for the tests of this folder.

`store` runs a test once with each server, `s3_store` and `azure_store` with each of their kind; `radosgw`,
`radosgw_tls`, `azurite`, `azurite_tls` and `moto` name one. All are empty buckets of the test's own
(tests/remote/stores.py). `new_store("radosgw")` makes more of them, `new_proxy(store)` stands before one
(tests/remote/proxy.py).
"""

import functools
import os

import pytest

from tests.remote import needs
from tests.remote.data_sets import generated
from tests.remote.proxy import Proxy
from tests.remote.servers import NAMES, Servers


@pytest.fixture(scope="session")
def servers():
    servers = Servers()
    yield servers
    servers.stop()


@pytest.fixture
def new_store(servers, monkeypatch):
    """A function that makes an empty bucket of the server of that name."""
    made = []

    def new(name):
        try:
            made.append(servers.new_store(name))
        except needs.Missing as missing:
            needs.give_up(missing)
        if made[-1].authority and made[-1].server == "azurite":  # adlfs has no option for it
            monkeypatch.setenv("SSL_CERT_FILE", str(made[-1].authority))
        return made[-1]

    yield new
    for store in made:
        store.remove()


@pytest.fixture(params=NAMES)
def store(request, new_store):
    return new_store(request.param)


@pytest.fixture(params=[name for name in NAMES if not name.startswith("azurite")])
def s3_store(request, new_store):
    return new_store(request.param)


@pytest.fixture(params=[name for name in NAMES if name.startswith("azurite")])
def azure_store(request, new_store):
    return new_store(request.param)


@pytest.fixture
def radosgw(new_store):
    return new_store("radosgw")


@pytest.fixture
def radosgw_tls(new_store):
    return new_store("radosgw-tls")


@pytest.fixture
def azurite(new_store):
    return new_store("azurite")


@pytest.fixture
def azurite_tls(new_store):
    return new_store("azurite-tls")


@pytest.fixture
def moto(new_store):
    return new_store("moto")


@pytest.fixture
def new_proxy(servers):
    """A function that puts a proxy before a store; tls=True: that speaks TLS to the client."""
    made = []

    def new(store, *, tls=False, **settings):
        made.append(Proxy(store, certificates=servers.certificates if tls else None, **settings))
        return made[-1]

    yield new
    for proxy in made:
        proxy.close()


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A function: the configuration of a small data set of that format, generated in a local folder."""

    @functools.cache
    def of(name):
        return generated(name, tmp_path_factory.mktemp(name))

    return of


@pytest.fixture
def cache(tmp_path):
    """A folder for the disk cache, which is not there yet."""
    return tmp_path / "cache"


@pytest.fixture(autouse=True)
def _settings_of_nobody(monkeypatch, tmp_path_factory):
    """Neither the variables nor the files that a user has for stores and proxies reach a test."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "FSSPEC_", "S3_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def pytest_terminal_summary(terminalreporter):
    for line in needs.not_run(terminalreporter.stats.get("skipped", ())):
        terminalreporter.write_line(line, yellow=True, bold=True)
