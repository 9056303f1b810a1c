"""Credentials for S3, asked for again before they expire; they stay in the process that found them."""

from __future__ import annotations

import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import DlioFastPermissionError
from .s3_settings import S3Settings, botocore_session

if TYPE_CHECKING:
    from .azure_settings import AzureSettings

SettingsT = TypeVar("SettingsT", bound="S3Settings | AzureSettings")

RENEWED_BEFORE = 310.0
"""Seconds before their end, within which credentials are asked for again as a matter of course: see
csrc/dlf_secret.c."""

ASK_AGAIN = 60.0
"""Seconds after which renewable credentials of unknown expiry are asked for again."""


class Provider(Generic[SettingsT]):
    """Calls :meth:`found` on one thread at a time, in the process that asks.

    Pickled, and after a fork, it is its settings: what another process had looked up is not used.
    """

    def __init__(self, settings: SettingsT):
        self._settings: SettingsT = settings
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._source: Any = None
        self._lasts = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._settings,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} for {self._settings.source.address}>"

    def __call__(self) -> dict[str, Any]:
        """Return the credentials that hold now; safe from any thread."""
        if self._pid != os.getpid():  # the lock may be held for ever by a thread of the parent's
            self._forget()
        with self._lock:
            return self.found()

    def found(self) -> dict[str, Any]:
        """Return the credentials; called under the lock."""
        raise NotImplementedError


class S3Credentials(Provider[S3Settings]):
    """A callable that returns the keys to sign requests with.

    Returns
    -------
    dict
        ``access_key_id``, ``secret_access_key``, ``session_token`` (or None) and ``expires``, in seconds
        since 1970, or None where they do not expire. Empty for anonymous access.

    Raises
    ------
    DlioFastPermissionError
        There are none; says where they are looked for.
    """

    def found(self) -> dict[str, Any]:
        """As :class:`S3Credentials`."""
        options = self._settings.options
        if self._settings.anonymous:
            return {}
        if options.get("key") and options.get("secret"):
            return _keys(options["key"], options["secret"], options.get("token"), None)
        if options.get("key") or options.get("secret"):
            raise self._missing("key and secret must be given together")
        # Asked again although they last: the store takes them no more. They may have been replaced in ~/.aws.
        if self._source is None or self._lasts > time.time() + RENEWED_BEFORE:
            self._source = self._look_up()
        frozen = self._source.get_frozen_credentials()  # renews them by itself, in time
        expires = _expiry(self._source)
        self._lasts = math.inf if expires is None else expires
        return _keys(frozen.access_key, frozen.secret_key, frozen.token, expires)

    def _look_up(self) -> Any:
        session = self._settings.options.get("session") or botocore_session(self._settings.profile)
        from .store_errors import translated

        with translated(self._settings.source.address):
            found = session.get_credentials()
        if found is None:
            raise self._missing("no credentials were found")
        return found

    def _missing(self, what: str) -> OSError:
        return DlioFastPermissionError(
            13,
            f"{what}: give key and secret or profile in storage_options, AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, a profile in ~/.aws, or anon=True for public data",
            self._settings.source.address,
        )


def _keys(key: str, secret: str, token: str | None, expires: float | None) -> dict[str, Any]:
    return {
        "access_key_id": key,
        "secret_access_key": secret,
        "session_token": token or None,
        "expires": expires,
    }


def _expiry(credentials: Any) -> float | None:
    from botocore.credentials import RefreshableCredentials

    if not isinstance(credentials, RefreshableCredentials):
        return None
    known = getattr(credentials, "_expiry_time", None)  # botocore shows it nowhere else
    return known.timestamp() if known is not None else time.time() + ASK_AGAIN
