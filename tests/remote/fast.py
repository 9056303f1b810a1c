"""The core's own client, opened for a store of the tests."""

from __future__ import annotations

from typing import Any

from dlio_fast import _core
from tests.remote.stores import AzureStore, Store


def credentials(store: Store) -> dict[str, Any]:
    if isinstance(store, AzureStore):
        return {"account_key": store.keys.account_key, "expires": None}
    keys = store.keys
    return {"access_key_id": keys.access_key, "secret_access_key": keys.secret_key, "expires": None}


def open_store(store: Store, **settings: Any) -> _core.HttpStore:
    """The bucket, with patience for seconds rather than minutes."""
    azure = isinstance(store, AzureStore)
    settings = {
        "prefix": store.root + "/",
        "endpoints": [store.endpoint],
        "path": f"/{store.keys.account}/{store.container}/" if azure else f"/{store.container}/",
        "auth": "sharedkey" if azure else "sigv4",
        "account": store.keys.account if azure else None,
        "credentials": lambda: credentials(store),
        "ca_file": store.authority,
        "read_timeout": 0.5,
        **settings,
    }
    return _core.HttpStore(**settings)
