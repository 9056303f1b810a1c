"""Errors in a DataLoader's worker processes: how they arrive in the parent as they were raised.

Of an exception in a worker torch sends the class and the traceback as text, and calls the one with the other
in the parent. So the class is sent as something that, called, returns the error itself.
"""

from __future__ import annotations

import copyreg
import functools
import pickle
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from torch.utils.data import get_worker_info

from .errors import DlioFastError

P = ParamSpec("P")
R = TypeVar("R")


class _OneError(type):
    """A class of a single error, which is all that goes to another process of it."""

    pickled: bytes


class _Arrived:
    """What is called in the parent instead of the class; it looks like that to torch."""

    def __init__(self, name: str, pickled: bytes):
        self.__name__ = name
        self._pickled = pickled

    def __call__(self, trace: str) -> BaseException:
        error: BaseException = pickle.loads(self._pickled)
        error.add_note(trace)
        return error


def _reduced(one: _OneError) -> tuple[Any, ...]:
    return _Arrived, (one.__name__, one.pickled)


copyreg.pickle(_OneError, _reduced)


def arrive_whole(function: Callable[P, R]) -> Callable[P, R]:
    """Let the library's errors that a function raises in a worker keep what they are in the parent."""

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except DlioFastError as error:
            cls = type(error)
            if get_worker_info() is not None and not isinstance(cls, _OneError):
                names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
                one = _OneError(cls.__name__, (cls,), names)
                one.pickled = pickle.dumps(error)
                error.__class__ = one  # type: ignore[assignment] # a class of DlioFastErrors, which mypy cannot see
            raise

    return called
