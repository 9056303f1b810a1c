# Stores of objects, which files are read from that are not local; see csrc/dlf_store.h.


cdef class Store:
    """A store, for this process alone. Subclasses say how objects are read."""

    cdef dlf_store *store
    cdef object __weakref__

    def __reduce__(self):
        raise TypeError("a store is not for other processes: send them its address and options")


cdef struct Callbacks:
    dlf_store base
    void *owner     # the CallbackStore


cdef struct CalledObject:
    dlf_object base
    void *address   # str


cdef class CallbackStore(Store):
    """A store that Python reads.

    Parameters
    ----------
    source : object
        ``source.open(address, cancelled) -> (size, version)``, with version 0 where the store has none, and
        ``source.read(address, offset, length, version, cancelled) -> bytes-like`` of exactly that length, both
        called by the ring's threads; ``cancelled()`` tells that nobody wants it any more, and
        ``cancelled.count_retry()`` counts a request that is made again. What they raise is to be an OSError or
        one of dlio_fast's own errors.
    """

    cdef Callbacks callbacks
    cdef object source

    def __init__(self, source):
        self.source = source
        self.callbacks.base.ops = &_callback_ops
        self.callbacks.owner = <void *> self
        self.store = &self.callbacks.base


cdef class Cancelled:
    """Tells whether who reads is to stop."""

    cdef dlf_io *io

    def __call__(self):
        return self.io == NULL or dlf_io_cancelled(self.io) != 0

    def count_retry(self):
        if self.io != NULL:
            self.io.stats.retries += 1


cdef int callback_open(dlf_store *store, dlf_io *io, const char *address, const dlf_hint *hint, dlf_object **out,
                       dlf_fault *fault) noexcept with gil:
    cdef CallbackStore owner = <CallbackStore> (<Callbacks *> store).owner
    cdef CalledObject *opened
    cdef Cancelled cancelled = Cancelled.__new__(Cancelled)
    cancelled.io = io
    try:
        name = _os.fsdecode(<bytes> address)
        size, version = hint.size, hint.version
        if hint.size == <uint64_t> -1:
            size, version = owner.source.open(name, cancelled)
        opened = <CalledObject *> calloc(1, sizeof(CalledObject))
        if opened == NULL:
            return dlf_fail(fault, -ENOMEM, 0, "out of memory")
        opened.base.store = store
        opened.base.size = size
        opened.base.version = version
        Py_INCREF(name)
        opened.address = <void *> name
        out[0] = &opened.base
        return 0
    except BaseException as error:
        return callback_failed(error, 0, "cannot be opened", fault)
    finally:
        cancelled.io = NULL


cdef int callback_read(dlf_object *opened, dlf_io *io, uint64_t offset, void *dst, size_t length,
                       dlf_fault *fault) noexcept with gil:
    cdef CallbackStore owner = <CallbackStore> (<Callbacks *> opened.store).owner
    cdef const unsigned char[::1] view
    cdef Cancelled cancelled = Cancelled.__new__(Cancelled)
    cancelled.io = io
    try:
        if not length:
            return 0
        begin = _time.monotonic_ns()
        data = owner.source.read(<object> (<CalledObject *> opened).address, offset, length, opened.version, cancelled)
        view = data
        if <size_t> view.shape[0] != length:
            return dlf_fail(fault, DLF_ECHANGED, offset, "the object is shorter than it was when it was listed")
        with nogil:
            memcpy(dst, &view[0], length)
        io.stats.reads += 1
        io.stats.bytes += length
        io.stats.latency[dlf_latency_bucket(_time.monotonic_ns() - begin)] += 1
        return 0
    except BaseException as error:
        return callback_failed(error, offset, "reading failed", fault)
    finally:
        cancelled.io = NULL


cdef void callback_close(dlf_object *opened, dlf_io *io) noexcept with gil:
    Py_DECREF(<object> (<CalledObject *> opened).address)
    free(opened)


cdef int callback_failed(error, uint64_t offset, const char *what, dlf_fault *fault) noexcept:
    """An exception as a fault; what it says goes into the detail."""
    cdef int code = DLF_ESTORE
    cdef bytes said
    for kind in _DOMAIN_ERRORS:
        if type(error) is _DOMAIN_ERRORS[kind]:
            code = kind
    if isinstance(error, _errors.ClosedError):
        code = DLF_ECANCELLED
    elif isinstance(error, MemoryError):
        code = -ENOMEM
    elif isinstance(error, OSError) and not isinstance(error, _errors.StoreError) and error.errno:
        code = -error.errno
    dlf_fail(fault, code, offset, what)
    try:
        text = getattr(error, "strerror", None) or f"{error}"
        if not isinstance(error, (OSError, _errors.DlioFastError)):
            text = f"{type(error).__name__}: {text}"
        said = text.encode("utf-8", "replace")[:DLF_DETAIL_MAX - 1]
        memcpy(fault.detail, <const char *> said, len(said))
        fault.detail[len(said)] = 0
    except BaseException:  # no memory for it
        pass
    return code


cdef dlf_store_ops _callback_ops
memset(&_callback_ops, 0, sizeof(_callback_ops))
_callback_ops.open = callback_open
_callback_ops.read = callback_read
_callback_ops.close = callback_close


cdef Store store_of(path):
    """Where a path leads: that of a RemotePath knows; None: it is local."""
    store = getattr(path, "store", None)
    return None if store is None else <Store?> store.core()


cdef dlf_store *pointer_of(Store store) noexcept:
    return NULL if store is None else store.store


def etag_version(bytes etag not None):
    """What stands for an ETag, see dlf_store_version."""
    return dlf_store_version(etag, len(etag))
