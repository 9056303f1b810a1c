"""A tf.data source over a Python iterator: what ``Dataset.from_generator`` is, at a third of its cost a pass.

``from_generator`` puts its source inside a ``flat_map`` and looks at every array again in Python. Here is
the source alone, of public operations. Like there, an array that is aligned as TensorFlow wants it becomes
a tensor over the same memory, and any other is copied.
"""

from __future__ import annotations

import atexit
import ctypes
import itertools
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from ._typing import Array


class Elements(Protocol):
    """What the source reads from: an iterator that can be told to end early."""

    def __next__(self) -> list[Array]: ...
    def close(self) -> None: ...


class _Running:
    """The iterations in use, by number: all that TensorFlow can hold on to is a number."""

    def __init__(self, begin: Callable[[], Elements]):
        self._begin = begin
        self._numbers = itertools.count()
        self._elements: dict[int, Elements] = {}
        self._exiting = False
        _all.add(self)

    def begin(self) -> np.int64:
        number = next(self._numbers)
        self._elements[number] = self._begin()
        return np.int64(number)

    def next(self, number: np.int64) -> list[Array]:
        if self._exiting:
            self._elements.pop(int(number), None)
            raise StopIteration  # which is how TensorFlow learns of the end
        return next(self._elements[int(number)])

    def end(self, number: np.int64) -> np.int64:
        elements = self._elements.pop(int(number), None)
        if elements is not None:
            elements.close()
        return number

    def exit(self) -> bool:
        """End all iterations; tell whether TensorFlow has yet to hear of it."""
        self._exiting = True
        for elements in list(self._elements.values()):
            elements.close()
        return bool(self._elements)


_all: weakref.WeakSet[_Running] = weakref.WeakSet()

LAST_CALL, LONGEST_CALL = 0.1, 10.0
"""Seconds to wait at exit for a thread that is about to ask for an element, and for one that has asked."""


@atexit.register
def _exit() -> None:
    """Let no thread of TensorFlow's be in Python, or wait to be, when the interpreter goes.

    An iterator that lives till then waits for its threads, and a thread that wants the interpreter's lock
    then never gets it: the process would not end.
    """
    begun = time.monotonic()
    unheard = any([running.exit() for running in list(_all)])
    while (unheard or foreign_threads()) and time.monotonic() - begun < LONGEST_CALL:
        time.sleep(0.001)  # lets go of the lock
        # A thread that has taken all that it wants ahead does not call again, and never hears.
        unheard = time.monotonic() - begun < LAST_CALL and any([running.exit() for running in list(_all)])


def foreign_threads() -> int:
    """Return how many threads are in Python, or wait for its lock, without being Python's own."""
    python = ctypes.pythonapi
    for function in (
        python.PyInterpreterState_Get,
        python.PyInterpreterState_ThreadHead,
        python.PyThreadState_Next,
    ):
        function.restype = ctypes.c_void_p
    state = python.PyInterpreterState_ThreadHead(ctypes.c_void_p(python.PyInterpreterState_Get()))
    states = 0
    while state:
        states += 1
        state = python.PyThreadState_Next(ctypes.c_void_p(state))
    return max(0, states - threading.active_count())


def dataset_over(
    begin: Callable[[], Elements], specs: Sequence[tf.TensorSpec], structure: Any
) -> tf.data.Dataset:
    """Return a tf.data.Dataset whose elements come from Python.

    Parameters
    ----------
    begin : callable
        Begins an iteration. Its elements are lists of arrays as `specs` say; an exception becomes a
        tf.errors.OpError at its place, and the iteration can go on after it.
    specs : sequence of TensorSpec
    structure : nested structure of TensorSpec
        What an element looks like; flattened, it is `specs`.
    """
    running = _Running(begin)
    number = tf.TensorSpec((), tf.int64)

    def begin_() -> tf.Tensor:
        return tf.numpy_function(running.begin, [], tf.int64)

    def next_(number: tf.Tensor) -> list[tf.Tensor]:
        tensors = tf.numpy_function(running.next, [number], [spec.dtype for spec in specs])
        for tensor, spec in zip(tensors, specs, strict=True):
            tensor.set_shape(spec.shape)
        return list(tensors)

    def end(number: tf.Tensor) -> tf.Tensor:
        return tf.numpy_function(running.end, [number], tf.int64)

    functions = [
        tf.function(function, autograph=False).get_concrete_function(*arguments)
        for function, arguments in ((begin_, []), (next_, [number]), (end, [number]))
    ]
    variant = tf.raw_ops.GeneratorDataset(
        init_func_other_args=[],
        next_func_other_args=[],
        finalize_func_other_args=[],
        init_func=functions[0],
        next_func=functions[1],
        finalize_func=functions[2],
        output_types=[spec.dtype for spec in specs],
        output_shapes=[spec.shape for spec in specs],
    )
    dataset = tf.data.experimental.from_variant(variant, structure)
    dataset._dlio_fast_functions = functions  # TensorFlow finds them by name, and only while they live
    return dataset
