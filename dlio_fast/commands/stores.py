"""``--storage-option``, for the commands that take addresses of stores."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from typing import Any

from ..config.keys import merged

ROADS = {"http": "HTTP", "fsspec": "fsspec"}
"""How objects are read, for people."""

_SECRET = re.compile(r"secret|token|password|connection_string|account_key|credential|sas", re.IGNORECASE)
_WORDS = {"true": True, "false": False}
_TEXTS = (
    "key", "secret", "token", "username", "password", "profile", "account_name", "account_key", "sas_token",
    "connection_string", "client_id", "client_secret", "tenant_id",
)  # fmt: skip


def add_storage_argument(parser: argparse.ArgumentParser) -> None:
    """Add --storage-option, any number of them."""
    parser.add_argument(
        "--storage-option",
        dest="storage_options",
        type=option,
        action=_Merge,
        default={},
        metavar="KEY=VALUE",
        help="for s3://, az:// and the like, as s3fs or adlfs call it: endpoint_url=…, "
        "client_kwargs.region_name=…; may be repeated. Other users of this machine see it in the list of "
        "processes: secrets had better be in the environment",
    )


def option(text: str) -> dict[str, Any]:
    """Parse KEY=VALUE, with dots in the key for what lies in another one.

    Errors do not repeat the value.
    """
    name, equals, value = text.partition("=")
    parts = name.strip().split(".")
    if not equals or not all(parts):
        raise argparse.ArgumentTypeError("KEY=VALUE is wanted")
    result: Any = _value(parts[-1], value)
    for part in reversed(parts):
        result = {part: result}
    found: dict[str, Any] = result
    return found


def _value(name: str, text: str) -> Any:
    if name in _TEXTS:
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if text.isdecimal() and text.isascii():
        return int(text)
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{name}: the value is not JSON") from None
    return text


def without_secrets(tree: Any, inside: bool = False) -> Any:
    """Return a configuration's tree with ``***`` for what opens stores, in any ``storage_options``."""
    if not isinstance(tree, Mapping):
        return tree
    return {
        name: "***"
        if inside and not isinstance(value, Mapping) and value is not None and _SECRET.search(name)
        else without_secrets(value, inside or name == "storage_options")
        for name, value in tree.items()
    }


class _Merge(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, *_: Any
    ) -> None:
        setattr(namespace, self.dest, merged(getattr(namespace, self.dest), values))
