"""What may happen to a request on its way: see tests/remote/proxy.py."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable

_CODES = {
    400: ("InvalidRequest", "InvalidInput"),
    403: ("AccessDenied", "AuthorizationFailure"),
    404: ("NoSuchKey", "BlobNotFound"),
    408: ("RequestTimeout", "OperationTimedOut"),
    412: ("PreconditionFailed", "ConditionNotMet"),
    429: ("TooManyRequests", "ServerBusy"),
    500: ("InternalError", "InternalError"),
    503: ("SlowDown", "ServerBusy"),
    504: ("GatewayTimeout", "OperationTimedOut"),
}


@dataclasses.dataclass(kw_only=True)
class Fault:
    """Which requests it strikes, and then what of all this happens to them. Offsets are bytes of the body."""

    # whom it strikes
    times: int | None = 1
    """So many requests; None: all."""
    skip: int = 0
    """But not the first ones."""
    every: int = 1
    """Only each so-manieth of those that are left."""
    method: str = ""
    """GET, HEAD, PUT …; empty: any."""
    key: str = ""
    """What the request's path and query have to contain."""

    before: Callable[[], object] | None = None
    """Called first of all: the place for what others do to the store meanwhile."""

    # instead of asking the server
    status: int = 0
    """Answer with this status, and an error as S3 and Azure word it."""
    retry_after: str = ""
    """That answer's Retry-After."""
    raw: bytes | None = None
    """Send these bytes and close the connection."""
    refuse: bool = False
    """Reset the connection without an answer."""

    # to what the server answers
    delay: float = 0.0
    """Seconds before the first byte of the answer; math.inf for a server that is silent."""
    headers: dict[str, str | None] = dataclasses.field(default_factory=dict)
    """Fields to replace; None drops one."""
    say_status: int = 0
    """The same answer with another status."""
    longer: int = 0
    """Claim so many bytes more in Content-Length (fewer where negative) than follow; then close, if more."""
    ignore_range: bool = False
    """Answer 200 with the whole object."""
    corrupt_at: int | None = None
    """Flip a bit of this byte."""
    reset_after: int | None = None
    """Reset the connection (RST) after so many bytes, the last of which may be lost on the way."""
    truncate_after: int | None = None
    """Close the connection in the regular way after so many bytes."""
    stall_after: int | None = None
    """Send nothing after so many bytes, and keep the connection."""
    drip: tuple[int, float] | None = None
    """Send so many bytes at a time, with so many seconds before each."""

    struck: int = 0
    """The requests that it has struck."""
    seen: int = 0

    def strikes(self, method: str, target: str) -> bool:
        """Whether it strikes this request; counts it, if so."""
        if self.method not in ("", method) or self.key not in target:
            return False
        if self.times is not None and self.struck >= self.times:
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.seen - self.skip) % self.every:
            return False
        self.struck += 1
        return True

    @property
    def end(self) -> int | None:
        """How many bytes of the body are sent; None: all."""
        ends = [self.reset_after, self.truncate_after, self.stall_after]
        return min((end for end in ends if end is not None), default=None)


NONE = Fault()

_numbers = itertools.count(1)


def answer(status: int, retry_after: str = "", *, bodiless: bool = False) -> bytes:
    """A response that reports an error as an S3 server does, with Azure's header fields beside."""
    s3_code, azure_code = _CODES.get(status, ("Error", "Error"))
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f"<Error><Code>{s3_code}</Code><Message>said by the tests' proxy</Message></Error>"
    ).encode()
    fields = {
        "Content-Type": "application/xml",
        "Content-Length": str(len(body)),
        "x-amz-request-id": f"proxy-{next(_numbers)}",
        "x-ms-error-code": azure_code,
    }
    if retry_after:
        fields["Retry-After"] = retry_after
    lines = [f"HTTP/1.1 {status} {s3_code}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + (b"" if bodiless else body)


def from_json(text: str) -> list[Fault]:
    """Faults from a JSON list of their fields."""
    return [Fault(**fields) for fields in json.loads(text)]
