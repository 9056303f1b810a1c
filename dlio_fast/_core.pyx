# cython: language_level=3
# cython: boundscheck=False, wraparound=False, initializedcheck=False
"""The binding to the C core: checks arguments, releases the GIL, turns return codes into exceptions."""

cimport cython
from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EACCES, EINVAL, ENOMEM, ETIMEDOUT
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

include "binding/errors.pxi"
include "binding/buffer.pxi"
include "binding/store.pxi"
include "binding/http.pxi"
include "binding/disk_cache.pxi"
include "binding/archive.pxi"
include "binding/file.pxi"
include "binding/records.pxi"
include "binding/plan.pxi"
include "binding/ring.pxi"
include "binding/decoding.pxi"
include "binding/functions.pxi"
include "binding/write.pxi"
