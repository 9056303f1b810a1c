"""What is needed to read a bucket of an S3 store, gathered as botocore and s3fs gather it."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ..errors import ConfigError, MissingDependencyError
from .addresses import RemoteAddress
from .options import Options, as_bool, as_number, own_timeouts
from .patience import Patience, patience_of, without_own
from .source import Source, proxied

if TYPE_CHECKING:
    from .credentials import S3Credentials

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
"""s3fs's defaults, in seconds."""

_DNS_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
# https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html
_PARTITIONS = {"aws-cn": "amazonaws.com.cn", "aws-iso": "c2s.ic.gov", "aws-iso-b": "sc2s.sgov.gov"}
_HEADERS_OF_OBJECTS = ("SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5", "RequestPayer")


@dataclass(frozen=True)
class S3Settings:
    """How to reach a bucket. Holds no secret but in `options`, which are left out of its repr.

    Pickled, it is the address and the options given in code; the process that unpickles it gathers the
    rest from its own environment.

    Attributes
    ----------
    bucket : str
    endpoints : tuple of str
        One or more base addresses that serve the same bucket, such as ``https://s3.eu-west-1.amazonaws.com``,
        without the bucket.
    region : str
    addressing_style : "path" or "virtual"
        Whether the bucket is in the path or in the host's name.
    anonymous : bool
        Requests are not signed.
    ca_file : str or None
        Certificates to trust instead of the usual ones.
    verify_tls : bool
    connect_timeout, read_timeout : float
        Seconds.
    profile : str or None
        Of ``~/.aws``, where credentials are looked up.
    plain_because : str
        Why only s3fs can read with these settings; empty where the C client can, too.
    patience : Patience
    options : mapping
        The merged options, in s3fs's names.
    source : Source
    """

    bucket: str
    endpoints: tuple[str, ...]
    region: str
    addressing_style: Literal["path", "virtual"]
    anonymous: bool
    ca_file: str | None
    verify_tls: bool
    connect_timeout: float
    read_timeout: float
    profile: str | None
    custom_endpoint: bool
    plain_because: str
    patience: Patience
    options: Mapping[str, Any] = field(repr=False, hash=False)
    source: Source = field(repr=False, hash=False)

    backend = "s3"

    def __reduce__(self) -> tuple[Any, ...]:
        return self.source.resolved_again()

    def credentials(self) -> S3Credentials:
        """The provider of this process's credentials; see :class:`~.credentials.S3Credentials`."""
        from .credentials import S3Credentials

        return S3Credentials(self)

    def http_store_options(self, address: RemoteAddress) -> Options | None:
        """Keyword arguments of ``_core.HttpStore`` for the address's bucket; None: only s3fs can serve it."""
        if self.plain_because:
            return None
        split = [urlsplit(endpoint) for endpoint in self.endpoints]
        paths = {part.path.rstrip("/") for part in split}
        if len(paths) > 1:
            return None  # the path is the same for all endpoints
        hosts = [part.netloc for part in split]
        path = f"{paths.pop()}/"
        if self.addressing_style == "virtual":
            hosts = [f"{self.bucket}.{host}" for host in hosts]
        else:
            path += f"{self.bucket}/"
        return {
            "prefix": address.prefix,
            "endpoints": [f"{part.scheme}://{host}" for part, host in zip(split, hosts, strict=True)],
            "path": path,
            "auth": "anonymous" if self.anonymous else "sigv4",
            "region": self.region,
            "credentials": None if self.anonymous else self.credentials(),
            "ca_file": self._own_ca_file() or default_ca_file(),
            "verify_tls": self.verify_tls,
            **self.patience.http_options(own_timeouts(self.options.get("config_kwargs", {}))),
        }

    def _own_ca_file(self) -> str | None:
        if self.ca_file is not None and self.verify_tls and not os.path.exists(self.ca_file):
            raise ConfigError(
                f"{self.ca_file}: there is no such file of certificates (client_kwargs.verify, "
                "AWS_CA_BUNDLE, ca_bundle of the AWS profile)"
            )
        return self.ca_file

    def file_system_options(self, pool: int) -> Options:
        """s3fs's keyword arguments; `pool` is the number of requests that may be under way at once."""
        options = {name: value for name, value in self.options.items() if name not in ("profile", "session")}
        config = dict(options.get("config_kwargs", {}))
        config["max_pool_connections"] = max(int(config.get("max_pool_connections", 10)), pool)
        config["s3"] = {"addressing_style": self.addressing_style, **config.get("s3", {})}
        config["connect_timeout"], config["read_timeout"] = self.connect_timeout, self.read_timeout
        client = dict(options.get("client_kwargs", {}))
        if not client.get("region_name"):
            config["region_name"] = self.region  # in the client's, s3fs could not make a bucket in us-east-1
        client["verify"] = (self._own_ca_file() or True) if self.verify_tls else False
        # Every option of the credentials is named, so that fsspec's configuration fills none of them in.
        own = {name: options.get(name) for name in ("key", "secret", "token")}
        for name in ("profile", "session"):
            if self.options.get(name) is not None:
                own[name] = self.options[name]
        if self.custom_endpoint:
            own["endpoint_url"] = self.endpoints[0]
        return {**options, **own, "anon": self.anonymous, "config_kwargs": config, "client_kwargs": client}


def s3_settings(address: RemoteAddress, options: Options, source: Source) -> S3Settings:
    """Complete the options with what botocore finds in the environment and in ``~/.aws``.

    Endpoints, first found: `endpoint_url` (several separated by commas, or a list), ``S3_ENDPOINT_URIS``,
    ``AWS_ENDPOINT_URL_S3``, ``AWS_ENDPOINT_URL``, the profile's services section, the profile's
    ``endpoint_url``, AWS. Region: the option, ``AWS_REGION``, ``AWS_DEFAULT_REGION``, the profile,
    us-east-1.
    """
    profile = options.get("profile")
    session = botocore_session(profile)
    client, config = options.get("client_kwargs", {}), options.get("config_kwargs", {})
    scoped = _profile_config(session)
    region = (
        client.get("region_name")
        or config.get("region_name")
        or os.environ.get("AWS_REGION")
        or session.get_config_variable("region")
        or "us-east-1"
    )
    found = _configured_endpoints(options.get("endpoint_url"), session, scoped)
    secure = as_bool(options.get("use_ssl", True), "use_ssl")
    endpoints = found or (_endpoint_of_aws(session, region, secure),)
    s3_config = {**_s3_section(scoped), **(config.get("s3") or {})}
    verify = client.get("verify")
    if verify is None:
        verify = session.get_config_variable("ca_bundle") or True
    if isinstance(verify, str) and verify.strip().lower() in ("true", "false"):
        verify = as_bool(verify, "client_kwargs.verify")
    retries = (config.get("retries") or {}).get("max_attempts")
    patience = patience_of({"attempts": retries + 1, **options} if retries else options)
    return S3Settings(
        bucket=address.bucket,
        endpoints=endpoints,
        region=region,
        addressing_style=_style(s3_config.get("addressing_style"), address.bucket, bool(found), endpoints),
        anonymous=as_bool(options.get("anon", False), "anon"),
        ca_file=os.fspath(verify) if not isinstance(verify, bool) else None,
        verify_tls=bool(verify),
        connect_timeout=as_number(config.get("connect_timeout", CONNECT_TIMEOUT), "connect_timeout"),
        read_timeout=as_number(config.get("read_timeout", READ_TIMEOUT), "read_timeout"),
        profile=profile,
        custom_endpoint=bool(found),
        plain_because=patience.without_http(
            _only_s3fs(address.bucket, options, s3_config, session, endpoints)
        ),
        patience=patience,
        options={name: value for name, value in without_own(options).items() if name != "endpoint_url"},
        source=source,
    )


def botocore_session(profile: str | None) -> Any:
    """A session that reads the environment and ``~/.aws`` as every AWS tool does.

    Raises
    ------
    ConfigError
        There is no such profile.
    """
    try:
        import botocore.exceptions
        import botocore.session
    except ImportError as error:
        raise MissingDependencyError("s3:// needs s3fs: pip install dlio-fast[s3]") from error
    session = botocore.session.Session(profile=profile)
    try:
        session.get_scoped_config()
    except botocore.exceptions.ProfileNotFound:
        name = profile or session.get_config_variable("profile")
        raise ConfigError(
            f"profile {name!r} is not in ~/.aws/config or ~/.aws/credentials (option profile, AWS_PROFILE)"
        ) from None
    except botocore.exceptions.BotoCoreError as error:
        raise ConfigError(f"~/.aws cannot be read: {type(error).__name__}") from None
    return session


def _profile_config(session: Any) -> Mapping[str, Any]:
    config: Mapping[str, Any] = session.get_scoped_config()
    return config


def _s3_section(config: Mapping[str, Any]) -> Mapping[str, Any]:
    section = config.get("s3")
    return section if isinstance(section, Mapping) else {}


def _configured_endpoints(given: Any, session: Any, scoped: Mapping[str, Any]) -> tuple[str, ...]:
    # https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
    if given:
        return _split_endpoints(given, "endpoint_url")
    for name in ("S3_ENDPOINT_URIS", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        ignored = name.startswith("AWS") and session.get_config_variable("ignore_configured_endpoint_urls")
        if os.environ.get(name, "").strip() and not ignored:
            return _split_endpoints(os.environ[name], name)
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return ()
    services = session.full_config.get("services", {}).get(scoped.get("services"), {})
    for section in (_s3_section(services), scoped):
        if section.get("endpoint_url"):
            return _split_endpoints(section["endpoint_url"], "endpoint_url of the AWS profile")
    return ()


def _split_endpoints(given: Any, name: str) -> tuple[str, ...]:
    parts = given.split(",") if isinstance(given, str) else list(given)
    return tuple(dict.fromkeys(checked_endpoint(part.strip(), name) for part in parts if part.strip()))


def checked_endpoint(url: str, name: str) -> str:
    """Return an endpoint without a final ``/``; ConfigError, which does not repeat it, where it is none."""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good, parts = False, urlsplit("")
    if not good or parts.query or parts.fragment:
        raise ConfigError(f"{name}: must be http://host[:port] or https://host[:port], without a query")
    if "@" in parts.netloc:
        raise ConfigError(f"{name}: must not hold a user name or password; use key and secret")
    return url.rstrip("/")


def _endpoint_of_aws(session: Any, region: str, secure: bool) -> str:
    import botocore.exceptions

    try:
        partition = session.get_partition_for_region(region)
    except botocore.exceptions.UnknownRegionError:
        raise ConfigError(
            "region: AWS has none of that name; with another store, give endpoint_url"
        ) from None
    suffix = _PARTITIONS.get(partition, "amazonaws.com")
    return f"{'https' if secure else 'http'}://s3.{region}.{suffix}"


def _style(
    given: str | None, bucket: str, custom: bool, endpoints: tuple[str, ...]
) -> Literal["path", "virtual"]:
    # botocore's rules: with an endpoint of one's own, "auto" is the path; a bucket must fit a host's name.
    if given not in (None, "auto", "path", "virtual"):
        raise ConfigError("config_kwargs.s3.addressing_style: must be 'auto', 'path' or 'virtual'")
    if given == "path" or (custom and given != "virtual"):
        return "path"
    if not _DNS_NAME.fullmatch(bucket) or any(map(_is_ip, endpoints)):
        return "path"
    return "virtual"


def _is_ip(endpoint: str) -> bool:
    try:
        ipaddress.ip_address(urlsplit(endpoint).hostname or "")
    except ValueError:
        return False
    return True


def _only_s3fs(
    bucket: str, options: Options, s3: Mapping[str, Any], session: Any, endpoints: tuple[str, ...]
) -> str:
    config = options.get("config_kwargs", {})
    for name in ("use_dualstack_endpoint", "use_fips_endpoint"):
        if config.get(name) or session.get_config_variable(name):
            return name
    if s3.get("use_accelerate_endpoint") or s3.get("use_dualstack_endpoint"):
        return "accelerate or dual-stack endpoint"
    for name in ("requester_pays", "version_aware", "session"):
        if options.get(name):
            return name
    if any(name in (options.get("s3_additional_kwargs") or {}) for name in _HEADERS_OF_OBJECTS):
        return "s3_additional_kwargs"
    if config.get("signature_version") not in (None, "s3v4", "v4"):
        return "signature_version"
    if config.get("proxies") or any(map(proxied, endpoints)):
        return "an HTTP proxy"
    if bucket.startswith("arn:") or bucket.endswith("--x-s3"):
        return "an access point or directory bucket"
    return ""


def default_ca_file() -> str | None:
    """The certificates that botocore trusts."""
    from botocore.httpsession import where

    return str(where())
