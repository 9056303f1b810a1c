"""What a test knows of an object store: how to reach it, and ways round dlio_fast to put and see objects.

The latter go through boto3 and the Azure SDK, not through fsspec, so that what dlio_fast uses starts afresh.
Their clients must not be used in a forked child.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
import os
import secrets
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Keys:
    """What opens all servers of this test run; made up for it, and easy to find in what leaks it."""

    access_key: str
    secret_key: str
    account: str
    account_key: str

    @classmethod
    def make_up(cls) -> Keys:
        import base64

        return cls(
            access_key="DLIOFASTID" + secrets.token_hex(5).upper(),
            secret_key="dliofast/SECRET+" + secrets.token_hex(12),
            account="dliofast" + secrets.token_hex(4),
            account_key=base64.b64encode(b"dlio_fast account key, " + secrets.token_bytes(41)).decode(),
        )


@dataclasses.dataclass(frozen=True)
class Store(abc.ABC):
    """One bucket (or container) of a server, empty at first and gone with the test."""

    server: str
    """radosgw, azurite or moto."""
    endpoint: str
    """scheme://host:port of the server, without the account."""
    container: str
    keys: Keys = dataclasses.field(repr=False)
    authority: Path | None = None
    """The certificate to trust (PEM), where it is https."""

    @property
    @abc.abstractmethod
    def root(self) -> str:
        """The address of the bucket, without a slash at the end."""

    @property
    @abc.abstractmethod
    def storage_options(self) -> dict[str, Any]:
        """What s3fs or adlfs need to reach it."""

    @property
    @abc.abstractmethod
    def environment(self) -> dict[str, str]:
        """The same as variables of a process."""

    @property
    @abc.abstractmethod
    def secrets(self) -> tuple[str, ...]:
        """What must appear nowhere."""

    @abc.abstractmethod
    def create(self) -> None:
        """Make the bucket."""

    @abc.abstractmethod
    def remove(self) -> None:
        """Remove it with all objects and unfinished uploads."""

    @abc.abstractmethod
    def put(self, key: str, data: bytes) -> str:
        """Write an object; returns its ETag, as the server says it (with quotation marks)."""

    @abc.abstractmethod
    def get(self, key: str) -> bytes:
        """A whole object."""

    @abc.abstractmethod
    def delete(self, key: str) -> None:
        """Delete an object that is there."""

    @abc.abstractmethod
    def list(self, prefix: str = "") -> dict[str, int]:
        """The sizes in bytes of all objects whose key starts so, in the server's order."""

    @abc.abstractmethod
    def unfinished(self) -> list[str]:
        """The keys of uploads that were begun and neither completed nor aborted."""

    @abc.abstractmethod
    def presigned(self, key: str) -> str:
        """A URL with which anybody may GET the object, for an hour."""

    def address(self, key: str) -> str:
        """The object's address, as a user writes it."""
        return f"{self.root}/{key}"

    def filesystem(self):
        """fsspec's filesystem for it, an instance of its own without a cache of listings."""
        import fsspec

        return fsspec.filesystem(
            self.root.partition(":")[0],
            **self.storage_options,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def behind(self, endpoint: str, authority: Path | None = None) -> Store:
        """The same bucket as seen through a proxy at that endpoint."""
        return dataclasses.replace(self, endpoint=endpoint, authority=authority)


class S3Store(Store):
    """A bucket; the region is us-east-1, the addresses have the bucket in their path."""

    @property
    def root(self):
        return f"s3://{self.container}"

    @property
    def storage_options(self):
        client = {"region_name": "us-east-1"}
        config: dict[str, Any] = {"s3": {"addressing_style": "path"}}
        if self.authority:
            client["verify"] = str(self.authority)
            # radosgw 16 does not take the checksums that botocore sends behind a body over TLS
            config["request_checksum_calculation"] = "when_required"
        return {
            "key": self.keys.access_key,
            "secret": self.keys.secret_key,
            "endpoint_url": self.endpoint,
            "client_kwargs": client,
            "config_kwargs": config,
        }

    @property
    def environment(self):
        variables = {
            "AWS_ACCESS_KEY_ID": self.keys.access_key,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret_key,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        if self.authority:
            variables |= {
                "AWS_CA_BUNDLE": str(self.authority),
                "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            }
        return variables

    @property
    def secrets(self):
        return (self.keys.secret_key,)

    @functools.cached_property
    def client(self):
        """boto3's."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.keys.access_key,
            aws_secret_access_key=self.keys.secret_key,
            region_name="us-east-1",
            verify=str(self.authority) if self.authority else None,
            config=Config(
                s3={"addressing_style": "path"},
                signature_version="s3v4",
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                max_pool_connections=32,
            ),
        )

    def create(self):
        self.client.create_bucket(Bucket=self.container)

    def remove(self):
        for key, upload in self._uploads():
            self.client.abort_multipart_upload(Bucket=self.container, Key=key, UploadId=upload)
        keys = list(self.list())
        for first in range(0, len(keys), 1000):
            objects = [{"Key": key} for key in keys[first : first + 1000]]
            self.client.delete_objects(Bucket=self.container, Delete={"Objects": objects, "Quiet": True})
        self.client.delete_bucket(Bucket=self.container)
        self.client.close()

    def put(self, key, data):
        return self.client.put_object(Bucket=self.container, Key=key, Body=data)["ETag"]

    def get(self, key):
        return self.client.get_object(Bucket=self.container, Key=key)["Body"].read()

    def delete(self, key):
        self.client.delete_object(Bucket=self.container, Key=key)

    def list(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.container, Prefix=prefix)
        return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", ())}

    def unfinished(self):
        return [key for key, _ in self._uploads()]

    def _uploads(self):
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.container)
        return [(item["Key"], item["UploadId"]) for page in pages for item in page.get("Uploads", ())]

    def presigned(self, key):
        target = {"Bucket": self.container, "Key": key}
        return self.client.generate_presigned_url("get_object", Params=target, ExpiresIn=3600)


class AzureStore(Store):
    """A container of an account that is the first part of the paths, as Azurite has it."""

    @property
    def root(self):
        return f"az://{self.container}"

    @property
    def account_url(self) -> str:
        return f"{self.endpoint}/{self.keys.account}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol={self.endpoint.partition(':')[0]};AccountName={self.keys.account};"
            f"AccountKey={self.keys.account_key};BlobEndpoint={self.account_url};"
        )

    @property
    def storage_options(self):
        if self.authority:
            _trust(self.authority)
        return {"connection_string": self.connection_string}

    @property
    def environment(self):
        variables = {"AZURE_STORAGE_CONNECTION_STRING": self.connection_string}
        if self.authority:
            variables |= {"SSL_CERT_FILE": str(self.authority), "REQUESTS_CA_BUNDLE": str(self.authority)}
        return variables

    @property
    def secrets(self):
        return (self.keys.account_key,)

    @functools.cached_property
    def client(self):
        """The Azure SDK's ContainerClient."""
        from azure.storage.blob import ContainerClient

        return ContainerClient.from_connection_string(
            self.connection_string,
            self.container,
            connection_verify=str(self.authority) if self.authority else True,
            use_env_settings=False,
        )

    def create(self):
        self.client.create_container()

    def remove(self):
        self.client.delete_container()
        self.client.close()

    def put(self, key, data):
        return self.client.get_blob_client(key).upload_blob(data, overwrite=True)["etag"]

    def get(self, key):
        return self.client.download_blob(key).readall()

    def delete(self, key):
        self.client.delete_blob(key)

    def list(self, prefix=""):
        return {blob.name: blob.size for blob in self.client.list_blobs(name_starts_with=prefix or None)}

    def unfinished(self):
        blobs = self.client.list_blobs(include=["uncommittedblobs"])
        return [blob.name for blob in blobs if blob.name not in self.list()]

    def presigned(self, key):
        return f"{self.account_url}/{self.container}/{_quote(key)}?{self.sas(key)}"

    def sas(self, key: str | None = None) -> str:
        """A shared access signature for reading one blob, or for reading and listing the container."""
        import datetime

        from azure.storage import blob

        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        scope = (self.keys.account, self.container)
        if key is None:
            return blob.generate_container_sas(
                *scope, account_key=self.keys.account_key, permission="rl", expiry=until
            )
        return blob.generate_blob_sas(
            *scope, key, account_key=self.keys.account_key, permission="r", expiry=until
        )


def _quote(key: str) -> str:
    import urllib.parse

    return urllib.parse.quote(key)


@functools.cache
def _trust(authority: Path) -> None:
    """Let adlfs of this process trust a certificate: it has no setting for that, but takes aiohttp's default.

    That default reads SSL_CERT_FILE when aiohttp is imported, which in this process may have been long ago;
    new processes get it from :attr:`Store.environment`.
    """
    import aiohttp.connector

    aiohttp.connector._SSL_CONTEXT_VERIFIED.load_verify_locations(os.fspath(authority))
