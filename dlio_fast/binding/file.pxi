# A file, read at offsets.


# What it reads with points into the store.
@cython.no_gc_clear
cdef class File:
    """An open file that is read at offsets, in the calling thread. Not for use by two threads at once.

    Parameters
    ----------
    path : str or path-like
    pool : Pool
        Where the memory comes from.
    direct : bool
        Bypass the page cache.

    Attributes
    ----------
    size : int
        Bytes, when it was opened.
    """

    cdef dlf_file file
    cdef dlf_io own
    cdef dlf_io *io
    cdef dlf_pool *pool
    cdef object kept
    cdef Store store
    cdef bint opened
    cdef readonly object path

    def __init__(self, path, Pool pool not None, *, bint direct=False):
        cdef dlf_fault fault
        cdef bytes encoded = c_path(path)
        cdef const char *c_encoded = encoded
        cdef int rc
        if self.opened or self.io != NULL:
            raise ValueError("the file is open")
        self.path = path if isinstance(path, str) else _os.fsdecode(encoded)
        self.kept = pool
        self.pool = pool.pool
        self.store = store_of(path)
        rc = dlf_io_init(&self.own, NULL)
        if rc:
            raise code_error(rc)
        self.io = &self.own
        self.own.interrupted = interrupted
        dlf_io_use(self.io, pointer_of(self.store))
        dlf_fault_clear(&fault)
        with nogil:
            rc = dlf_file_open(&self.file, self.io, c_encoded, DLF_OPEN_DIRECT if direct else 0, &fault)
        self.has_opened(rc, &fault)

    cdef int open_of_task(self, dlf_task *task, path) except -1:
        """Open the file of a task, with the worker's belongings."""
        cdef dlf_fault fault
        cdef int rc
        self.path = path
        self.pool = task.memory.pool
        self.io = &task.worker.io
        dlf_fault_clear(&fault)
        with nogil:
            rc = dlf_plan_open(task.plan, task.file, self.io, &self.file, &fault)
        return self.has_opened(rc, &fault)

    cdef int has_opened(self, int rc, dlf_fault *fault) except -1:
        if rc:
            raise_pending()
            raise fault_error(self.path, fault)
        self.opened = True
        return 0

    def __dealloc__(self):
        self.release()

    cdef void release(self) noexcept:
        if self.opened:
            dlf_file_close(&self.file)
            self.opened = False
        if self.io == &self.own:
            dlf_io_free(&self.own)
        self.io = NULL

    cdef int check_open(self) except -1:
        if not self.opened:
            raise _errors.ClosedError(f"{self.path}: the file is closed")
        return 0

    @property
    def size(self):
        return self.file.size

    def read(self, uint64_t offset=0, length=None):
        """A range, by default the rest of the file, as a Buffer; TruncatedError where it lies outside."""
        cdef dlf_fault fault
        cdef dlf_buf *buf
        cdef int rc = 0
        self.check_open()
        cdef uint64_t rest = self.file.size - offset if offset <= self.file.size else 0
        cdef uint64_t n = rest if length is None else length
        if offset > self.file.size or n > rest:
            raise _errors.TruncatedError(
                f"{self.path}: bytes {offset} to {offset + n} are asked for, the file has {self.file.size}",
                self.path, None, offset)
        dlf_fault_clear(&fault)
        with nogil:
            rc = dlf_pool_get(self.pool, n, &buf)
            if rc == 0:
                rc = dlf_file_read(&self.file, self.io, offset, buf.data, n, NULL, &fault)
                if rc:
                    dlf_buf_unref(buf)
        if rc:
            raise_pending()
            raise fault_error(self.path, &fault) if fault.code else code_error(rc)
        return wrap_buffer(buf, buf.data, n)

    def read_ranges(self, ranges):
        """Ranges, (offset, length) each, as one Buffer and where in it each begins.

        Read without a stop for Python in between. Past the page cache they lie so that they need no copy.
        """
        cdef size_t count = len(ranges), i, place = 0
        cdef uint64_t[:, ::1] wanted = _np.empty((count, 3), _np.uint64)
        cdef uint64_t offset, length, step = self.file.align if self.file.direct else 64
        cdef dlf_fault fault
        cdef dlf_buf *buf
        cdef int rc
        self.check_open()
        for i in range(count):
            offset, length = ranges[i]
            if offset > self.file.size or length > self.file.size - offset:
                raise _errors.TruncatedError(
                    f"{self.path}: bytes {offset} to {offset + length} are asked for, the file has "
                    f"{self.file.size}", self.path, None, offset)
            place = (place + step - 1) // step * step
            if self.file.direct:
                place += offset % step
            wanted[i, 0], wanted[i, 1], wanted[i, 2] = offset, length, place
            if length > <uint64_t> 1 << 62 or place > <uint64_t> 1 << 62:
                raise MemoryError
            place += length
        dlf_fault_clear(&fault)
        with nogil:
            rc = dlf_pool_get(self.pool, place, &buf)
            if rc == 0:
                for i in range(count):
                    rc = dlf_file_read(&self.file, self.io, wanted[i, 0], buf.data + wanted[i, 2],
                                       wanted[i, 1], NULL, &fault)
                    if rc:
                        dlf_buf_unref(buf)
                        break
        if rc:
            raise_pending()
            raise fault_error(self.path, &fault) if fault.code else code_error(rc)
        return wrap_buffer(buf, buf.data, place), [wanted[i, 2] for i in range(count)]

    @property
    def version(self):
        """Size, and modification time in nanoseconds, at opening: another version of the file has others.

        Of an object, what stands for its ETag instead of the time.
        """
        if self.file.object != NULL or self.file.cached:
            return self.file.size, self.file.inode
        return self.file.size, self.file.mtime_sec * 1_000_000_000 + self.file.mtime_nsec

    def check_unchanged(self):
        """FileChangedError if size or modification time differ from those at opening."""
        cdef dlf_fault fault
        self.check_open()
        dlf_fault_clear(&fault)
        if dlf_file_check_unchanged(&self.file, &fault):
            raise fault_error(self.path, &fault)

    def close(self):
        """Close the file; what was read stays valid."""
        self.release()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
