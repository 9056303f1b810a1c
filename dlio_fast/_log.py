"""The library's messages, and what ``DLIO_FAST_LOG=debug`` does."""

from __future__ import annotations

import logging
from typing import Any


def log_to_stderr(level: str) -> None:
    """Send the library's messages of that level ("debug", "info", "warning", ...) and above to stderr."""
    logger = logging.getLogger("dlio_fast")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("dlio_fast %(levelname)s: %(message)s"))
    logger.addHandler(handler)
    number = logging.getLevelName(level.upper())
    logger.setLevel(number if isinstance(number, int) else logging.DEBUG)


def log_fallbacks(stats: dict[str, Any]) -> None:
    """Warn where O_DIRECT was refused, given a ring's counters."""
    if stats.get("fallbacks"):
        reason = stats["fallback_reason"]
        logging.getLogger("dlio_fast").warning(
            "%d file(s) read through the page cache: %s", stats["fallbacks"], reason
        )
