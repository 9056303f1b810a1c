"""The servers of one test run: each starts when the first test asks for it, and serves all that follow."""

from __future__ import annotations

import functools
import secrets

from tests.remote import azurite, moto, needs, radosgw
from tests.remote.certificates import Certificates, make_certificates
from tests.remote.processes import Processes, on_free_ports
from tests.remote.stores import AzureStore, Keys, S3Store, Store

NAMES = ("radosgw", "radosgw-tls", "azurite", "azurite-tls", "moto")


def _once(start):
    """A property that starts a server; where that failed, it is not tried again for every test."""
    failed = {}

    def started(self):
        if self in failed:
            raise failed[self]
        try:
            return start(self)
        except Exception as error:
            failed[self] = error
            raise

    return functools.cached_property(started)


class Servers:
    """Starts what is asked for; :meth:`stop` ends and removes all of it."""

    def __init__(self):
        self.processes = Processes()
        self.keys = Keys.make_up()

    @functools.cached_property
    def certificates(self) -> Certificates:
        needs.modules("cryptography", "pip install cryptography", "cryptography")
        return make_certificates(self.processes.folder)

    def new_store(self, name: str) -> Store:
        """A new bucket of one of :data:`NAMES`, for :meth:`Store.remove` to remove. Raises needs.Missing."""
        kind, _, tls = name.partition("-")
        endpoint = getattr(self, f"_{kind}{'_tls' if tls else ''}")
        container = f"test-{secrets.token_hex(6)}"
        authority = self.certificates.authority if tls else None
        store_of = AzureStore if kind == "azurite" else S3Store
        store = store_of(kind, endpoint, container, self.keys, authority)
        store.create()
        return store

    def stop(self) -> None:
        self.processes.stop()

    @_once
    def _radosgw_ports(self) -> tuple[int, int]:
        radosgw.check_it_is_here()
        needs.modules("boto3", "pip install boto3", "boto3")
        keys = self.keys.access_key, self.keys.secret_key

        def start(*ports):
            radosgw.start(self.processes, self.certificates, *keys, ports)
            return ports[:2]

        return on_free_ports(start, ports=3)

    @property
    def _radosgw(self) -> str:
        return f"http://127.0.0.1:{self._radosgw_ports[0]}"

    @property
    def _radosgw_tls(self) -> str:
        return f"https://127.0.0.1:{self._radosgw_ports[1]}"

    @_once
    def _azurite(self) -> str:
        return f"http://127.0.0.1:{self._start_azurite(None)}"

    @_once
    def _azurite_tls(self) -> str:
        return f"https://127.0.0.1:{self._start_azurite(self.certificates)}"

    def _start_azurite(self, tls: Certificates | None) -> int:
        needs.modules("azure-storage-blob", "pip install adlfs", "azure", "azure.storage.blob")
        program = azurite.check_it_is_here()

        def start(port):
            azurite.start(self.processes, program, {self.keys.account: self.keys.account_key}, port, tls)
            return port

        return on_free_ports(start, ports=1)

    @_once
    def _moto(self) -> str:
        moto.check_it_is_here()

        def start(port):
            moto.start(self.processes, port)
            return port

        return f"http://127.0.0.1:{on_free_ports(start, ports=1)}"
