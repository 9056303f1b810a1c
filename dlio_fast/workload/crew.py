"""Threads that work together under a progress bar."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from .bar import Bar

_POLL_SECONDS = 0.02


def work_together(
    work: Callable[[], None],
    threads: int,
    *,
    name: str,
    stop: Callable[[], None],
    bar: Bar,
    done: Callable[[], int],
) -> None:
    """Run `work` in several threads until all of them return.

    Parameters
    ----------
    work : callable
        Takes what there is to do itself, piece by piece.
    stop : callable
        Makes running calls of `work` return or raise within a moment. Called at the first exception of one,
        which is then raised here, at Ctrl-C, and at the end.
    done : callable
        What the bar is to show.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)
            stop()

    workers = [threading.Thread(target=run, name=f"dlio-fast-{name}-{i}") for i in range(threads)]
    pause = _POLL_SECONDS / 16
    with bar:
        try:
            for worker in workers:
                worker.start()
            # Asleep, not waiting on a lock: Ctrl-C could leave that one locked for the workers.
            while any(worker.is_alive() for worker in workers):
                time.sleep(pause)
                pause = min(2 * pause, _POLL_SECONDS)
                bar.update(done() - bar.n)
        finally:
            stop()
            for worker in workers:
                if worker.ident is not None:
                    worker.join()
    if failures:
        raise failures[0]
