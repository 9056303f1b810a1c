"""Progress bars."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm


class Bar(tqdm):  # type: ignore[type-arg,misc,unused-ignore]  # generic in its stubs alone
    """A bar on stderr; unlike tqdm's own it leaves no thread behind.

    Parameters
    ----------
    show : bool, optional
        Default: if stderr is a terminal.
    """

    monitor_interval = 0

    def __init__(self, *, show: bool | None = None, **options: Any):
        super().__init__(disable=None if show is None else not show, **options)
