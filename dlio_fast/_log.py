"""What ``DLIO_FAST_LOG=debug`` does."""

from __future__ import annotations

import logging


def log_to_stderr(level: str) -> None:
    """Send the library's messages of that level ("debug", "info", "warning", ...) and above to stderr."""
    logger = logging.getLogger("dlio_fast")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("dlio_fast %(levelname)s: %(message)s"))
    logger.addHandler(handler)
    number = logging.getLevelName(level.upper())
    logger.setLevel(number if isinstance(number, int) else logging.DEBUG)
