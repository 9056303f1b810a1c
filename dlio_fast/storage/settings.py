"""Settings of the store that an address belongs to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config.data import StorageSection
from .addresses import RemoteAddress, parse_address
from .azure_settings import AzureSettings, azure_settings, known_account
from .local import Address
from .options import Options, gathered_options
from .patience import Patience, patience_of, without_own
from .s3_settings import S3Settings, s3_settings
from .source import Source


@dataclass(frozen=True)
class FsspecSettings:
    """Another file system of fsspec's: its scheme and the options for its class."""

    scheme: str
    patience: Patience
    options: Mapping[str, Any] = field(repr=False, hash=False)
    source: Source = field(repr=False, hash=False)

    plain_because = "read through fsspec"

    @property
    def backend(self) -> str:
        """The scheme."""
        return self.scheme

    def __reduce__(self) -> tuple[Any, ...]:
        return self.source.resolved_again()

    def http_store_options(self, address: RemoteAddress) -> Options | None:
        """None: fsspec reads it."""
        return None

    def file_system_options(self, pool: int) -> Options:
        """The class's keyword arguments."""
        return dict(self.options)


Settings = S3Settings | AzureSettings | FsspecSettings


def settings_for(
    address: Address,
    storage_options: Mapping[str, Any] | None = None,
    storage: StorageSection | Mapping[str, Any] | None = None,
) -> Settings:
    """Gather the settings of the store that an address belongs to; no request is made.

    Parameters
    ----------
    address : str or path-like
        See :func:`~dlio_fast.storage.addresses.parse_address`.
    storage_options : mapping, optional
        In s3fs's or adlfs's own names, or those of the file system that serves the scheme.
    storage : StorageSection or mapping, optional
        The configuration's ``storage`` section, or its ``storage_options``, with DLIO's names.

    Returns
    -------
    S3Settings, AzureSettings or FsspecSettings
        What the address itself names comes first, then `storage_options`, `storage`, fsspec's
        configuration, and the environment as botocore and adlfs read it.

    Raises
    ------
    ConfigError
        An unknown option or profile, a malformed endpoint or connection string, no account.
    MissingDependencyError
        s3fs or adlfs is not installed.
    """
    section = storage.storage_options if isinstance(storage, StorageSection) else storage
    parsed = parse_address(address, known_account="?")
    source = Source(os.fsdecode(os.fspath(address)), dict(storage_options or {}), dict(section or {}))
    options = gathered_options(parsed.backend, source.explicit, source.section)
    if parsed.backend == "s3":
        return s3_settings(parsed, options, source)
    if parsed.backend == "az":
        return azure_settings(parse_address(address, known_account(options)), options, source)
    patience = patience_of(options)
    patience.without_http("read through fsspec")
    return FsspecSettings(parsed.backend, patience, without_own(options), source)


def remote_address(address: Address, settings: Settings) -> RemoteAddress:
    """The parts of another address of the same store, read by the same rules as the settings' own."""
    return parse_address(address, settings.known_account if isinstance(settings, AzureSettings) else "")
