"""Where settings come from: all of them that crosses a process."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Source:
    """An address and the options given with it, in code and in the configuration."""

    address: str = field(compare=False)  # of the first who asked; the store is the same for all
    explicit: Mapping[str, Any] = field(default_factory=dict, repr=False)
    section: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def resolved_again(self) -> tuple[Any, ...]:
        """What :meth:`object.__reduce__` returns of settings: gather them anew in the other process."""
        from .settings import settings_for

        return settings_for, (self.address, dict(self.explicit), dict(self.section))


def proxied(endpoint: str) -> bool:
    """Tell whether ``HTTP_PROXY`` and the like stand between this machine and an endpoint."""
    parts = urlsplit(endpoint)
    proxies = urllib.request.getproxies()
    if parts.scheme not in proxies and "all" not in proxies:
        return False
    return not urllib.request.proxy_bypass(parts.netloc)
