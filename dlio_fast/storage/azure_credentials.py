"""Credentials for Azure Blob Storage."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from ..errors import MissingDependencyError
from .azure_settings import AzureSettings
from .credentials import Provider

# https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory
SCOPE = "https://storage.azure.com/.default"


class AzureCredentials(Provider[AzureSettings]):
    """A callable that returns what to authorise requests with.

    Returns
    -------
    dict
        ``account_key``, ``sas_token`` (without ``?``) or ``bearer``, and ``expires``, in seconds since
        1970, or None. Empty for anonymous access.

    Raises
    ------
    DlioFastPermissionError
        azure-identity finds no token.
    """

    def found(self) -> dict[str, Any]:
        """As :class:`AzureCredentials`."""
        secrets = self._settings.secrets
        if self._settings.auth == "sharedkey":
            return {"account_key": secrets["account_key"], "expires": None}
        if self._settings.auth == "sas":
            return {"sas_token": secrets["sas_token"], "expires": sas_expiry(secrets["sas_token"])}
        if self._settings.auth == "anonymous":
            return {}
        from .store_errors import translated

        if self._source is None:
            self._source = secrets.get("credential") or _token_source("azure.identity", secrets)
        with translated(self._settings.source.address):
            token = self._source.get_token(SCOPE)
            if inspect.isawaitable(token):  # a credential of azure.identity.aio
                token = _on_loop(token)
        return {"bearer": token.token, "expires": float(token.expires_on)}

    def for_adlfs(self) -> Any:
        """The asynchronous credential that adlfs takes."""
        secrets = self._settings.secrets
        return secrets.get("credential") or _token_source("azure.identity.aio", secrets)


def _token_source(module: str, principal: Any) -> Any:
    try:
        import importlib

        identity = importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError("az:// needs azure-identity: pip install dlio-fast[azure]") from error
    if principal:
        return identity.ClientSecretCredential(**principal)
    return identity.DefaultAzureCredential()


async def _awaited(value: Any) -> Any:
    return await value


def _on_loop(value: Any) -> Any:
    from fsspec.asyn import get_loop, sync

    return sync(get_loop(), _awaited, value)


def sas_expiry(token: str) -> float | None:
    """When a shared access signature ends: its ``se``, an ISO 8601 date or time in UTC.

    https://learn.microsoft.com/rest/api/storageservices/create-service-sas#specify-the-access-policy
    """
    text = parse_qs(token).get("se", [""])[0]
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None  # in a stored access policy
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
