"""dlio_fast's own options of a store: by which road objects are read, and how long failures are borne."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from ..errors import ConfigError
from .options import OWN_OPTIONS, Options, as_bool, as_number

Road = Literal["http", "fsspec", ""]

READ_TIMEOUT = 10.0
ATTEMPTS = 10
RETRY_TIMEOUT = 45.0


@dataclass(frozen=True)
class Patience:
    """How a store is read.

    Attributes
    ----------
    road : "http", "fsspec" or ""
        The core's own client or fsspec's file system; "": the former wherever it can.
    attempts : int
        Requests without progress before one is given up.
    retry_timeout : float
        Seconds without progress before one is given up.
    verify_md5 : bool
        Compare whole objects with the MD5 that the store keeps of them, where it keeps no other checksum.
    """

    road: Road = ""
    attempts: int = ATTEMPTS
    retry_timeout: float = RETRY_TIMEOUT
    verify_md5: bool = False

    def http_options(self, timeouts: Mapping[str, float]) -> Options:
        """``_core.HttpStore``'s arguments: after a time without a byte another attempt still has time."""
        read = min(timeouts.get("read_timeout", READ_TIMEOUT), self.retry_timeout / 3)
        retrying = {"retry_timeout": self.retry_timeout, "attempts": self.attempts}
        return {**timeouts, "read_timeout": read, **retrying, "verify_md5": self.verify_md5}

    def without_http(self, because: str) -> str:
        """Why objects are read through fsspec: `because`, or the user's wish; "": they need not be.

        Raises
        ------
        ConfigError
            The user wishes the other road.
        """
        if because and self.road == "http":
            raise ConfigError(f"road 'http': not possible with these settings: {because}")
        return because or ("the option road" if self.road == "fsspec" else "")


def patience_of(options: Mapping[str, Any]) -> Patience:
    """Read dlio_fast's own options; ConfigError where they make no sense."""
    road: Any = options.get("road") or ""
    if road not in ("http", "fsspec", ""):
        raise ConfigError("road: must be 'http' or 'fsspec'")
    attempts = as_number(options.get("attempts", ATTEMPTS), "attempts")
    seconds = as_number(options.get("retry_timeout", RETRY_TIMEOUT), "retry_timeout")
    if attempts < 1 or attempts != int(attempts) or attempts > 1000:
        raise ConfigError("attempts: must be a whole number from 1 to 1000")
    if not 0 < seconds <= 3600:
        raise ConfigError("retry_timeout: must be a number of seconds, at most 3600")
    md5 = as_bool(options.get("verify_md5", False), "verify_md5")
    return Patience(cast(Road, road), int(attempts), seconds, md5)


def without_own(options: Mapping[str, Any]) -> Options:
    """The options that s3fs, adlfs or another file system takes."""
    return {name: value for name, value in options.items() if name not in OWN_OPTIONS}
