"""What is needed to read a container of Azure Blob Storage, gathered as adlfs gathers it."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ..errors import ConfigError
from .addresses import AZURE_SUFFIX, RemoteAddress
from .options import CREDENTIALS, Options, as_bool, as_number, own_timeouts
from .patience import Patience, patience_of, without_own
from .s3_settings import checked_endpoint
from .source import Source, proxied

if TYPE_CHECKING:
    from .azure_credentials import AzureCredentials

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
"""Seconds, as s3fs has them; the Azure SDK's 20 and 60 would leave no time to try again."""

_VARIABLES = {
    "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
    "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
    "connection_string": ("AZURE_STORAGE_CONNECTION_STRING",),
    "sas_token": ("AZURE_STORAGE_SAS_TOKEN",),
    "client_id": ("AZURE_STORAGE_CLIENT_ID",),
    "client_secret": ("AZURE_STORAGE_CLIENT_SECRET",),
    "tenant_id": ("AZURE_STORAGE_TENANT_ID",),
    "anon": ("AZURE_STORAGE_ANON",),
}
"""adlfs's variables, and those of the az command where they differ."""

# Azurite's and the old emulator's account, the same on every machine:
# https://learn.microsoft.com/azure/storage/common/storage-use-azurite#well-known-storage-account-and-key
_DEVELOPMENT = {
    "accountname": "devstoreaccount1",
    "accountkey": "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "blobendpoint": "http://127.0.0.1:10000/devstoreaccount1",
}

Auth = Literal["sharedkey", "sas", "bearer", "anonymous"]


@dataclass(frozen=True)
class AzureSettings:
    """How to reach a container. Holds no secret but in `secrets` and `options`, left out of its repr.

    Pickled, it is the address and the options given in code; the process that unpickles it gathers the
    rest from its own environment.

    Attributes
    ----------
    account, container : str
        The account may be unknown ("") where a SAS of a custom domain is used.
    endpoint : str
        Of the account's blobs, without the container: ``https://account.blob.core.windows.net``.
    auth : "sharedkey", "sas", "bearer" or "anonymous"
    known_account : str
        The account that options or environment name; see :func:`~.addresses.parse_address`.
    ca_file : str or None
        Certificates to trust; None: the system's.
    connect_timeout, read_timeout : float
        Seconds.
    plain_because : str
        Why only adlfs can read with these settings; empty where the C client can, too.
    patience : Patience
    secrets : mapping
        ``account_key``, ``sas_token``, ``credential`` or the parts of a service principal.
    options : mapping
        The merged options without credentials, in adlfs's names.
    source : Source
    """

    account: str
    container: str
    endpoint: str
    auth: Auth
    known_account: str
    ca_file: str | None
    connect_timeout: float
    read_timeout: float
    plain_because: str
    patience: Patience
    secrets: Mapping[str, Any] = field(repr=False, hash=False)
    options: Mapping[str, Any] = field(repr=False, hash=False)
    source: Source = field(repr=False, hash=False)

    backend = "az"
    verify_tls = True

    def __reduce__(self) -> tuple[Any, ...]:
        return self.source.resolved_again()

    def credentials(self) -> AzureCredentials:
        """The provider of this process's credentials; see :class:`~.azure_credentials.AzureCredentials`."""
        from .azure_credentials import AzureCredentials

        return AzureCredentials(self)

    def http_store_options(self, address: RemoteAddress) -> Options | None:
        """Keyword arguments of ``_core.HttpStore`` for the container; None: only adlfs can serve it."""
        if self.plain_because:
            return None
        parts = urlsplit(self.endpoint)
        return {
            "prefix": address.prefix,
            "endpoints": [f"{parts.scheme}://{parts.netloc}"],
            "path": f"{parts.path.rstrip('/')}/{self.container}/",
            "auth": self.auth,
            "account": self.account,
            "credentials": None if self.auth == "anonymous" else self.credentials(),
            "ca_file": self.ca_file,
            "verify_tls": True,
            **self.patience.http_options(own_timeouts(self.options)),
        }

    def file_system_options(self, pool: int) -> Options:
        """adlfs's keyword arguments.

        A connection string is made up wherever that can be: adlfs takes nothing else beside it, neither
        from the environment nor from fsspec's configuration, and it can name endpoints without TLS.
        """
        if self.auth == "bearer":
            if os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
                raise ConfigError(
                    "AZURE_STORAGE_CONNECTION_STRING must be unset where a credential is given in the "
                    "options: adlfs would use the variable"
                )
            own: Options = {"connection_string": None, "account_host": self.endpoint.partition("://")[2]}
            own |= {"credential": self.credentials().for_adlfs(), "account_key": None, "sas_token": None}
        else:
            parts = [f"BlobEndpoint={self.endpoint}"]
            if self.auth == "sharedkey":
                parts += [f"AccountName={self.account}", f"AccountKey={self.secrets['account_key']}"]
            elif self.auth == "sas":
                parts.append(f"SharedAccessSignature={self.secrets['sas_token']}")
            own = {"connection_string": ";".join(parts)} | dict.fromkeys(("credential", "account_key"))
        own |= {"connection_timeout": self.connect_timeout, "read_timeout": self.read_timeout}
        return {**self.options, **own, "account_name": self.account or None, "anon": self.auth == "anonymous"}


def known_account(options: Options) -> str:
    """The account that options or the environment name; empty: only the address can."""
    credentials = _credentials(options)
    text = credentials.get("connection_string")
    return (_account_of(text) if text else "") or options.get("account_name") or _variable("account_name")


def azure_settings(address: RemoteAddress, options: Options, source: Source) -> AzureSettings:
    """Complete the options with the environment's.

    Of several credentials, adlfs's order decides: connection string, credential, account key, SAS token,
    service principal, ``anon``, and what azure-identity's ``DefaultAzureCredential`` finds.
    """
    credentials = _credentials(options)
    parts = _connection(credentials.get("connection_string"))
    known = known_account(options)
    account = address.account or known
    if known and account != known:
        _refuse_other_account(address, known, options, credentials)
    auth, secrets = _auth(credentials, parts)
    endpoint = _endpoint(address, account, options, parts)
    if auth == "sharedkey" and not account:
        raise ConfigError("connection_string: AccountName is missing")
    if auth == "bearer" and endpoint.startswith("http://"):
        raise ConfigError(f"{endpoint}: a token is not sent without TLS; use https://")
    patience = patience_of(options)
    kept = ("account_name", "account_host", *CREDENTIALS["az"])
    return AzureSettings(
        account=account,
        container=address.bucket,
        endpoint=endpoint,
        auth=auth,
        known_account=known,
        ca_file=_default_ca_file(),
        connect_timeout=as_number(options.get("connection_timeout", CONNECT_TIMEOUT), "connection_timeout"),
        read_timeout=as_number(options.get("read_timeout", READ_TIMEOUT), "read_timeout"),
        plain_because=patience.without_http(_only_adlfs(options, endpoint)),
        patience=patience,
        secrets=secrets,
        options={name: value for name, value in without_own(options).items() if name not in kept},
        source=source,
    )


def _variable(option: str) -> str:
    return next((os.environ[name] for name in _VARIABLES[option] if os.environ.get(name)), "")


def _credentials(options: Options) -> Options:
    """Those of the options, or all of the environment's: never some of each."""
    group = CREDENTIALS["az"]
    own = {name: options[name] for name in group if options.get(name) not in (None, False)}
    if own:
        return own
    found = {name: _variable(name) for name in group if name in _VARIABLES and _variable(name)}
    if options.get("anon") is False:  # said in code, against the variable
        found.pop("anon", None)
    # adlfs takes every word but these for true.
    if str(found.get("anon", "")).lower() in ("false", "0", "f", ""):
        found.pop("anon", None)
    return found


def _connection(text: str | None) -> dict[str, str]:
    """The parts of a connection string, names in lower case.

    https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
    """
    if not text:
        return {}
    pairs = [part.partition("=") for part in text.strip().rstrip(";").split(";")]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise ConfigError("connection_string: must be name=value pairs separated by semicolons")
    parts = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if as_bool(parts.get("usedevelopmentstorage", "false"), "connection_string: UseDevelopmentStorage"):
        return _DEVELOPMENT
    if not parts.keys() & {"accountname", "blobendpoint"}:
        raise ConfigError("connection_string: neither AccountName nor BlobEndpoint is in it")
    return parts


def _account_of(text: str) -> str:
    parts = _connection(text)
    if parts.get("accountname"):
        return parts["accountname"]
    endpoint = urlsplit(parts["blobendpoint"])
    host = endpoint.hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        first, _, rest = host.partition(".")
        return first if rest.startswith("blob.") else ""
    return endpoint.path.strip("/").partition("/")[0]


def _auth(credentials: Options, parts: Mapping[str, str]) -> tuple[Auth, Options]:
    if parts:
        if parts.get("accountkey"):
            return "sharedkey", {"account_key": parts["accountkey"]}
        signature = parts.get("sharedaccesssignature", "").lstrip("?")
        return ("sas", {"sas_token": signature}) if signature else ("anonymous", {})
    given = credentials.get("credential")
    if isinstance(given, str):
        name = "sas_token" if "sig=" in given else "account_key"
        credentials = {name: given}
    elif given is not None:
        return _of_object(given)
    if credentials.get("account_key"):
        return "sharedkey", {"account_key": credentials["account_key"]}
    if credentials.get("sas_token"):
        return "sas", {"sas_token": credentials["sas_token"].lstrip("?")}
    principal = {name: credentials.get(name) for name in ("tenant_id", "client_id", "client_secret")}
    if any(principal.values()):
        missing = [name for name, value in principal.items() if not value]
        if missing:
            raise ConfigError(
                f"a service principal needs tenant_id, client_id and client_secret: no {missing[0]}"
            )
        return "bearer", principal
    return ("anonymous", {}) if credentials.get("anon") else ("bearer", {})


def _of_object(given: Any) -> tuple[Auth, Options]:
    if hasattr(given, "named_key"):  # AzureNamedKeyCredential
        return "sharedkey", {"account_key": given.named_key.key}
    if hasattr(given, "signature"):  # AzureSasCredential
        return "sas", {"sas_token": given.signature.lstrip("?")}
    if hasattr(given, "get_token"):
        return "bearer", {"credential": given}
    raise ConfigError(f"credential: {type(given).__name__} is no credential of azure-core or azure-identity")


def _endpoint(address: RemoteAddress, account: str, options: Options, parts: Mapping[str, str]) -> str:
    if parts.get("blobendpoint"):
        return checked_endpoint(parts["blobendpoint"].partition("?")[0], "connection_string: BlobEndpoint")
    if options.get("account_host"):
        return checked_endpoint(f"https://{options['account_host']}", "account_host")
    scheme = parts.get("defaultendpointsprotocol", "https")
    suffix = parts.get("endpointsuffix") or address.endpoint_suffix or AZURE_SUFFIX
    return checked_endpoint(f"{scheme}://{account}.blob.{suffix}", "the account's endpoint")


def _refuse_other_account(address: RemoteAddress, known: str, options: Options, credentials: Options) -> None:
    bound = next((n for n in ("connection_string", "account_key", "sas_token") if credentials.get(n)), None)
    if bound or options.get("account_name") or options.get("account_host"):
        where = bound or "account_name"
        raise ConfigError(
            f"{address}: the address names the account {address.account!r}, but {where} (options or "
            f"environment) is for {known!r}; leave one of them out, or give anon=True"
        )


def _only_adlfs(options: Options, endpoint: str) -> str:
    if options.get("version_aware"):
        return "version_aware"
    if options.get("location_mode", "primary") != "primary":
        return "location_mode"
    return "an HTTP proxy" if proxied(endpoint) else ""


def _default_ca_file() -> str | None:
    """What Python's, and so aiohttp's, TLS trusts: ``SSL_CERT_FILE`` or the system's file."""
    return ssl.get_default_verify_paths().cafile
