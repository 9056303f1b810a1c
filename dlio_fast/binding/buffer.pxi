# Memory: the pool, and the buffers it lends.


cdef class Pool:
    """Reusable aligned memory; see csrc/dlf_pool.h.

    Parameters
    ----------
    keep : int
        Idle buffers are kept for reuse while no more than this many bytes are mapped in all.
    pin : (int, int), optional
        Addresses of C functions ``int pin(void *, size_t, unsigned)`` and ``int unpin(void *)`` that
        page-lock a buffer's memory and undo it, as cudaHostRegister does. What they refuse stays as it is.
    """

    cdef dlf_pool *pool
    cdef unsigned generation

    def __cinit__(self, size_t keep, pin=None):
        cdef size_t pin_address, unpin_address
        cdef int rc = dlf_pool_new(keep, &self.pool)
        if rc:
            raise code_error(rc)
        if pin is not None:
            pin_address, unpin_address = pin
            dlf_pool_set_pin(self.pool, <dlf_pin_fn *> pin_address, <dlf_unpin_fn *> unpin_address)
        self.generation = dlf_fork_generation()

    def __dealloc__(self):
        # A pool inherited through fork may be locked for ever: it is left alone.
        if self.pool != NULL and self.generation == dlf_fork_generation():
            dlf_pool_unref(self.pool)

    def usable(self):
        """False after a fork: the pool is the parent's."""
        return self.generation == dlf_fork_generation()

    def set_keep(self, size_t keep):
        if self.usable():
            dlf_pool_set_keep(self.pool, keep)

    def get(self, size_t nbytes):
        """Lend a Buffer of that many bytes, whose contents are undefined."""
        cdef dlf_buf *buf
        cdef int rc
        if not self.usable():
            raise _errors.ClosedError("the pool was made before a fork")
        with nogil:
            rc = dlf_pool_get(self.pool, nbytes, &buf)
        if rc:
            raise code_error(rc)
        return wrap_buffer(buf, buf.data, nbytes)

    def stats(self):
        """Bytes mapped, idle and pinned now, buffers lent now, the most bytes ever mapped, and refused pins.

        Empty after a fork.
        """
        cdef dlf_pool_stats stats
        if not self.usable():
            return {}
        dlf_pool_get_stats(self.pool, &stats)
        return {
            "mapped": stats.mapped, "idle": stats.idle, "lent": stats.lent, "peak": stats.peak,
            "pinned": stats.pinned, "pin_failures": stats.pin_failures,
        }


cdef const char *BYTE_FORMAT = b"B"


cdef class Buffer:
    """A block of aligned, writable memory, lent by a pool until the last view of it dies.

    Supports the buffer protocol (one dimension, unsigned bytes), so ``memoryview``, ``np.asarray``,
    ``np.frombuffer``, ``bytes`` and PyArrow take it without copying.
    """

    cdef dlf_buf *buf
    cdef unsigned char *data
    cdef readonly size_t nbytes
    cdef readonly uint32_t crc32
    cdef Py_ssize_t shape
    cdef Py_ssize_t stride

    def __cinit__(self):
        self.stride = 1

    def __init__(self):
        raise TypeError("a Buffer comes from dlio_fast.read and the loaders")

    def __dealloc__(self):
        if self.buf != NULL:
            dlf_buf_unref(self.buf)

    def __len__(self):
        return self.nbytes

    def __repr__(self):
        return f"<dlio_fast.Buffer of {self.nbytes} bytes>"

    @property
    def address(self):
        """Where the first byte lies in memory."""
        return <size_t> self.data

    def __getbuffer__(self, Py_buffer *view, int flags):
        self.shape = <Py_ssize_t> self.nbytes
        view.buf = self.data
        view.obj = self
        view.len = self.shape
        view.readonly = 0
        view.itemsize = 1
        view.format = <char *> BYTE_FORMAT if flags & PyBUF_FORMAT else NULL
        view.ndim = 1
        view.shape = &self.shape if flags & PyBUF_ND else NULL
        view.strides = &self.stride if flags & PyBUF_STRIDES == PyBUF_STRIDES else NULL
        view.suboffsets = NULL
        view.internal = NULL

    def __releasebuffer__(self, Py_buffer *view):
        pass


cdef Buffer wrap_buffer(dlf_buf *buf, unsigned char *data, size_t nbytes):
    """A Buffer over nbytes at data, taking over the caller's reference to buf."""
    cdef Buffer buffer = Buffer.__new__(Buffer)
    buffer.buf = buf
    buffer.data = data
    buffer.nbytes = nbytes
    return buffer
