"""A first request to a store, so that what is wrong is said before any worker starts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from .azure_settings import AzureSettings
from .filesystems import new_filesystem
from .s3_settings import S3Settings
from .settings import Settings
from .store_errors import translate_error

TIME_LIMIT = 6.0
"""Seconds, for everything: finding credentials, resolving, connecting, and the store's answer."""


def check_access(settings: Settings, key: str | None = None) -> Settings:
    """Ask a store for the first name in the bucket, or for one object's metadata.

    Parameters
    ----------
    settings : Settings
        Of several endpoints, one that answers is enough.
    key : str, optional
        An object to ask for, for users who may read but not list.

    Returns
    -------
    Settings
        The same, with an endpoint in the first place that answers: s3fs knows only one.

    Raises
    ------
    DlioFastFileNotFoundError
        There is no such bucket, container or object.
    DlioFastPermissionError
        No credentials, or refused ones.
    DlioFastTimeoutError
        No answer within 6 seconds.
    StoreError
        The endpoint cannot be resolved or reached, TLS fails, or the bucket is in another region.
    """
    if isinstance(settings, AzureSettings):
        endpoints: tuple[str, ...] = (settings.endpoint,)
    elif isinstance(settings, S3Settings):
        endpoints = settings.endpoints
    else:
        return settings  # other file systems know no cheap question in common
    from fsspec.asyn import get_loop, sync

    failures: list[Exception | None] = sync(get_loop(), _check_all, settings, endpoints, key) or []
    if failures and failures[0] is not None and None not in failures:
        raise failures[0] from None
    if isinstance(settings, S3Settings) and failures and failures[0] is not None:
        alive = endpoints[failures.index(None)]
        return replace(settings, endpoints=(alive, *(e for e in endpoints if e != alive)))
    return settings


async def _check_all(
    settings: S3Settings | AzureSettings, endpoints: tuple[str, ...], key: str | None
) -> list[BaseException | None]:
    return await asyncio.gather(*(_check_endpoint(settings, endpoint, key) for endpoint in endpoints))


async def _check_endpoint(
    settings: S3Settings | AzureSettings, endpoint: str, key: str | None
) -> BaseException | None:
    """What is wrong with an endpoint; None: nothing."""
    try:
        if isinstance(settings, AzureSettings):
            fs = new_filesystem(settings)
            async with fs.service_client:  # which adlfs never closes
                await asyncio.wait_for(_ask_azure(fs, settings, key), TIME_LIMIT)
        else:
            settings = replace(settings, endpoints=(endpoint,))
            fs = new_filesystem(settings, config_kwargs=_impatient(settings))
            await asyncio.wait_for(_ask_s3(fs, settings, key), TIME_LIMIT)
    except Exception as error:
        return translate_error(error, settings.source.address, endpoint)
    return None


def _impatient(settings: S3Settings) -> dict[str, Any]:
    config: dict[str, Any] = settings.file_system_options(1)["config_kwargs"]
    config["connect_timeout"] = min(config["connect_timeout"], 3)
    config["read_timeout"] = min(config["read_timeout"], 5)
    return {**config, "retries": {"total_max_attempts": 1}}


async def _ask_s3(fs: Any, settings: S3Settings, key: str | None) -> None:
    client = await fs.set_session()
    try:
        if key:
            await client.head_object(Bucket=settings.bucket, Key=key)
        else:
            await client.list_objects_v2(Bucket=settings.bucket, MaxKeys=1)
    finally:
        await client.close()


async def _ask_azure(fs: Any, settings: AzureSettings, key: str | None) -> None:
    patience = {"connection_timeout": 3, "read_timeout": 5, "retry_total": 0}
    container = fs.service_client.get_container_client(settings.container)
    if key:
        await container.get_blob_client(key).get_blob_properties(**patience)
        return
    async for _ in container.list_blobs(results_per_page=1, **patience).by_page():
        return
