"""What went wrong at a store, in dlio_fast's own exceptions, with what to check."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from typing import Any

from ..errors import (
    ConfigError,
    DlioFastError,
    DlioFastFileNotFoundError,
    DlioFastPermissionError,
    DlioFastTimeoutError,
    FileChangedError,
    StoreError,
    os_error,
)

_SECRETS = re.compile(
    r"(?i)\b(sig|sas_token|accountkey|account_key|sharedaccesssignature|secret|aws_secret_access_key|"
    r"x-amz-signature|x-amz-credential|x-amz-security-token|signature|credential)"
    r"(\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^&;,\s'\")]+)"
)
_AUTHORIZATION = re.compile(r"(?i)(authorization['\"]?\s*[=:]\s*|bearer\s+)[^\r\n'\"]+")

_CHECK_KEYS = "check the key and the secret, the profile, and that they may list and read there"
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "FilesystemNotFound", "ContainerBeingDeleted")
_NO_OBJECT = ("NoSuchKey", "BlobNotFound", "ResourceNotFound", "NoSuchVersion", "PathNotFound", "404")
_CHANGED = ("PreconditionFailed", "ConditionNotMet", "412")
_EXPIRED = ("ExpiredToken", "TokenRefreshRequired", "ExpiredTokenException", "InvalidToken")
_REGION = (
    "AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException", "301", "307",
    "TemporaryRedirect", "IncorrectEndpoint",
)  # fmt: skip
_REFUSED = (
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AllAccessDisabled", "AccountProblem",
    "AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch",
    "NoAuthenticationInformation", "InvalidAuthenticationInfo", "AuthorizationProtocolMismatch",
    "PublicAccessNotPermitted", "InsufficientAccountPermissions", "Forbidden", "Unauthorized", "401", "403",
)  # fmt: skip
_NO_CREDENTIALS = (
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError",
    "SSOTokenLoadError", "UnauthorizedSSOTokenError", "SSOError", "CredentialUnavailableError",
    "ClientAuthenticationError", "RefreshWithMFAUnsupportedError", "InvalidConfigError",
    "MetadataRetrievalError", "LoginError",
)  # fmt: skip
_TLS = ("SSLError", "SSLCertVerificationError", "ClientSSLError", "CertificateError")
_TIMED_OUT = (
    "TimeoutError", "ConnectTimeoutError", "ReadTimeoutError", "ServerTimeoutError", "FSTimeoutError",
    "ServiceRequestTimeoutError", "ServiceResponseTimeoutError",
)  # fmt: skip
_UNREACHABLE = (
    "EndpointConnectionError", "ClientConnectorError", "ServiceRequestError", "gaierror",
    "ConnectionRefusedError", "ProxyConnectionError", "InvalidURL",
)  # fmt: skip


def scrubbed(text: str) -> str:
    """A message without the signatures, tokens and keys that libraries write into theirs."""
    return _SECRETS.sub(r"\1\2***", _AUTHORIZATION.sub(r"\1***", text))


@contextlib.contextmanager
def translated(address: str, endpoint: str = "") -> Iterator[None]:
    """Raise what a store's libraries raise as dlio_fast's own; see :func:`translate_error`."""
    try:
        yield
    except Exception as error:
        own = translate_error(error, address, endpoint)
        if own is error:
            raise
        # Not "from error": a traceback that shows theirs may show what they were called with.
        raise own from None


def translate_error(error: BaseException, address: str, endpoint: str = "") -> BaseException:
    """Find dlio_fast's exception for one of botocore, azure-core, aiohttp, fsspec or a file system.

    Parameters
    ----------
    error : BaseException
    address : str
        The object, folder or bucket that was asked for; becomes the exception's ``filename``.
    endpoint : str
        The server, for the message.

    Returns
    -------
    BaseException
        A new one, to be raised ``from None``; or `error` itself where it is dlio_fast's own already, or no
        matter of the store's (KeyboardInterrupt, MemoryError, TypeError).
    """
    if isinstance(error, DlioFastError) or not isinstance(error, Exception):
        return error
    if isinstance(error, (MemoryError, TypeError, AttributeError, NameError, AssertionError, RecursionError)):
        return error
    chain = list(_chain(error))
    names = {cls.__name__ for link in chain for cls in type(link).__mro__}
    code, said = _answer(chain)
    detail = scrubbed(said or f"{type(error).__name__}: {error}".strip(": "))[:500]
    at = f" at {endpoint}" if endpoint else ""
    own = _from_code(code, detail, address, at) if code else None
    if own is not None:
        return own
    if names & {*_TLS} or "CERTIFICATE_VERIFY_FAILED" in detail:
        what = "TLS failed; check http:// or https://, the host's name, and the CA (AWS_CA_BUNDLE, verify; "
        return StoreError(errno.EIO, f"{what}SSL_CERT_FILE for Azure){at}: {detail}", address)
    if names & {*_NO_CREDENTIALS} and not code:
        what = "no usable credentials (options, environment, ~/.aws or az login)"
        return DlioFastPermissionError(errno.EACCES, f"{what}: {detail}", address)
    if names & {*_TIMED_OUT}:
        return DlioFastTimeoutError(
            errno.ETIMEDOUT, f"no answer in time{at}; check the endpoint and the network: {detail}", address
        )
    if names & {*_UNREACHABLE}:
        what = f"the endpoint cannot be reached{at}; check its name and port, and the region"
        return StoreError(errno.EIO, f"{what}: {detail}", address)
    if names & {"ParamValidationError", "InvalidBucketName", "UnknownRegionError", "InvalidRegionError"}:
        return ConfigError(f"{address}: {detail}")
    return _from_os_error(error, detail, address)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        link = queue.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        context = None if link.__suppress_context__ else link.__context__
        queue += [
            link.__cause__,
            context,
            getattr(link, "inner_exception", None),
            getattr(link, "os_error", None),
        ]


def _answer(chain: list[BaseException]) -> tuple[str, str]:
    """The store's error code and message, or its HTTP status; empty where it gave no answer."""
    for link in chain:
        response = getattr(link, "response", None)
        if isinstance(response, dict) and isinstance(response.get("Error"), dict):  # botocore's ClientError
            told = response["Error"]
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
            code = str(told.get("Code") or status)
            region = told.get("Region") or response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(
                "x-amz-bucket-region"
            )
            where = f" (the bucket's region is {region})" if region and code in _REGION else ""
            return code, f"{code}: {told.get('Message') or 'no message'}{where}"
        named = getattr(link, "error_code", None)  # azure-core's HttpResponseError
        status = getattr(link, "status_code", None) or getattr(link, "status", None)  # and aiohttp's
        if named or isinstance(status, int):
            code = str(getattr(named, "value", named) or status)
            first = str(getattr(link, "message", "") or link).partition("\n")[0]
            return code, f"{code}: {first}"
    return "", ""


def _from_code(code: str, detail: str, address: str, at: str) -> Exception | None:
    if code in _NO_BUCKET:
        return DlioFastFileNotFoundError(
            errno.ENOENT, f"the bucket or container does not exist{at}: {detail}", address
        )
    if code in _NO_OBJECT:
        return DlioFastFileNotFoundError(errno.ENOENT, f"there is no such object{at}: {detail}", address)
    if code in _CHANGED:
        return FileChangedError(f"{address}: the object changed while it was read: {detail}", address)
    if code in _EXPIRED:
        return DlioFastPermissionError(
            errno.EACCES, f"the credentials have expired; renew them (log in again){at}: {detail}", address
        )
    if code in _REGION:
        what = "the bucket is in another region; set AWS_REGION or client_kwargs={'region_name': …}"
        return StoreError(errno.EIO, f"{what}{at}: {detail}", address)
    if code == "RequestTimeTooSkewed":
        return DlioFastPermissionError(errno.EACCES, f"this machine's clock is wrong{at}: {detail}", address)
    if code in _REFUSED:
        return DlioFastPermissionError(errno.EACCES, f"access refused{at}; {_CHECK_KEYS}: {detail}", address)
    return StoreError(errno.EIO, f"the store refused the request{at}: {detail}", address)


def _from_os_error(error: Exception, detail: str, address: str) -> Exception:
    if isinstance(error, OSError):
        kinds = {
            FileNotFoundError: errno.ENOENT,
            PermissionError: errno.EACCES,
            IsADirectoryError: errno.EISDIR,
        }
        code = next((number for kind, number in kinds.items() if isinstance(error, kind)), 0)
        code = code or (error.errno if isinstance(error.errno, int) else 0)
        if code and code != errno.EIO:
            return os_error(code, detail, address)
    return StoreError(errno.EIO, detail, address)
