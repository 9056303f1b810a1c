"""Progress bars."""

from __future__ import annotations

from tqdm import tqdm


class Bar(tqdm):
    """A bar on stderr; unlike tqdm's own it leaves no thread behind.

    Parameters
    ----------
    show : bool, optional
        Default: if stderr is a terminal.
    """

    monitor_interval = 0

    def __init__(self, *, show: bool | None = None, **options):
        super().__init__(disable=None if show is None else not show, **options)
