"""Addresses of objects: which store, which bucket or container, and which key."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from ..config import backend_of, split_address
from ..errors import ConfigError
from .local import Address

_ACCOUNT_HOST = re.compile(r"(?P<account>[^.]+)\.(?:dfs|blob)\.(?P<suffix>[^/]+)")
AZURE_SUFFIX = "core.windows.net"


@dataclass(frozen=True)
class RemoteAddress:
    """The parts of an address.

    Attributes
    ----------
    backend : str
        "s3", "az", or the scheme of another file system of fsspec.
    prefix : str
        The address up to the key, with the final ``/``, as the user wrote it: ``s3://bucket/``.
    bucket : str
        The bucket or container; empty for other file systems.
    key : str
        What follows, taken as it stands: no percent decoding, ``?`` and ``#`` are characters like others.
    account : str
        The Azure account that the address names; empty where it names none.
    endpoint_suffix : str
        The domain of that account, such as ``core.windows.net``, where the address has it.
    """

    backend: str
    prefix: str
    bucket: str
    key: str
    account: str = ""
    endpoint_suffix: str = ""

    def __str__(self) -> str:
        return self.prefix + self.key


def parse_address(address: Address, known_account: str = "") -> RemoteAddress:
    """Take the address of an object, or of a folder of them, to pieces.

    Parameters
    ----------
    address : str or path-like
        - ``s3://bucket/key`` (also ``s3a://``);
        - ``az://container/key`` or ``az://account/container/key``, see `known_account`;
        - ``abfs[s]://container@account.dfs.core.windows.net/key``, where ``.blob.`` and other clouds'
          domains do as well;
        - ``abfs[s]://account.dfs.core.windows.net/container/key``;
        - ``azure://`` like ``az://``; all five forms go with each of these schemes;
        - ``scheme://…`` of any other file system of fsspec.
    known_account : str
        The account that options or environment name. With one known, the first part of ``az://a/b`` is
        the container, unless it is that very account's name; with none known, it is the account. Who
        has a container named like its account writes ``abfs://container@account.dfs.core.windows.net/``.

    Raises
    ------
    ConfigError
        It is no address of an object store, or lacks the bucket or container.
    """
    text = os.fsdecode(os.fspath(address))
    scheme, rest = split_address(text)
    backend = backend_of(scheme)
    if backend in ("file", "direct"):
        raise ConfigError(f"{text}: a local path, not the address of an object")
    if backend == "s3":
        bucket, _, key = rest.partition("/")
        if bucket:
            return RemoteAddress("s3", f"{text[: -len(rest)]}{bucket}/", bucket, key)
        raise ConfigError(f"{text}: the bucket is missing, as in s3://bucket/folder")
    if backend == "az":
        return _azure(text, rest, known_account)
    return RemoteAddress(scheme, text[: len(text) - len(rest)], "", rest)


def _azure(text: str, rest: str, known_account: str) -> RemoteAddress:
    first, _, below = rest.partition("/")
    container, at, host = first.rpartition("@")
    match = _ACCOUNT_HOST.fullmatch(host)
    account = suffix = ""
    if at and not match:
        raise ConfigError(f"{text}: after the @ belongs the account's host, as account.dfs.{AZURE_SUFFIX}")
    if match:
        account, suffix = match["account"], match["suffix"]
    if at:
        key = below
    elif match or (below and (not known_account or first == known_account)):
        account = account or first
        container, _, key = below.partition("/")
    else:
        container, key = first, below
    if not container:
        raise ConfigError(f"{text}: the container is missing, as in az://container/folder")
    if not (account or known_account):
        raise ConfigError(
            f"{text}: whose container? Write az://account/{container}, or name the account: account_name or "
            "connection_string in storage_options, or AZURE_STORAGE_ACCOUNT"
        )
    prefix = text[: len(text) - len(key)]
    return RemoteAddress(
        "az", prefix if prefix.endswith("/") else prefix + "/", container, key, account, suffix
    )
