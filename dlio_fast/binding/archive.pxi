# Reading .npz and .npy files array by array, in the calling thread.

cdef extern from *:
    """
    static int dlf_pending_exception(void)
    {
        return PyErr_Occurred() ? -1 : 0;
    }
    """
    int raise_pending "dlf_pending_exception"() except -1
    int check_signals "PyErr_CheckSignals"() noexcept


# Lets Ctrl-C end a long read; the exception stays set until raise_pending.
cdef int interrupted() noexcept with gil:
    return check_signals()


# Between two looks at signals (Ctrl-C), in bytes.
cdef enum:
    READ_PIECE = 8 << 20


# What it reads with points into the store.
@cython.no_gc_clear
cdef class Archive:
    """An open .npz or .npy file. Not for use by two threads at once.

    Parameters
    ----------
    path : str or path-like
    pool : Pool
        Where the arrays' memory comes from.
    npz : bool, optional
        Whether to read it as a ZIP archive; by default its first bytes decide.
    direct : bool
        Bypass the page cache.
    """

    cdef dlf_view view
    cdef dlf_io io
    cdef dlf_array_scratch scratch
    cdef Pool pool
    cdef Store store
    cdef bint opened
    cdef readonly bint npz
    cdef readonly object path

    def __cinit__(self, path, Pool pool not None, *, npz=None, bint direct=False):
        cdef dlf_fault fault
        cdef dlf_memory memory
        cdef bytes encoded = c_path(path)
        cdef const char *c_encoded = encoded
        cdef dlf_file file
        cdef int rc
        self.path = path if isinstance(path, str) else _os.fsdecode(encoded)
        self.pool = pool
        self.store = store_of(path)
        rc = dlf_io_init(&self.io, NULL)
        if rc:
            raise code_error(rc)
        self.io.interrupted = interrupted
        dlf_io_use(&self.io, pointer_of(self.store))
        memset(&memory, 0, sizeof(memory))
        memory.pool = pool.pool
        dlf_fault_clear(&fault)
        with nogil:
            rc = dlf_file_open(&file, &self.io, c_encoded, DLF_OPEN_DIRECT if direct else 0, &fault)
            if rc == 0:
                rc = dlf_view_open(&self.view, &file, &self.io, &self.scratch, memory, &fault)
        if rc:
            raise self.error(b"", &fault)
        self.opened = True
        self.npz = self.is_zip() if npz is None else npz
        if self.npz:
            with nogil:
                rc = dlf_view_directory(&self.view, &fault)
            if rc:
                raise self.error(<bytes> fault.member, &fault)

    cdef bint is_zip(self) except -1:
        cdef unsigned char magic[6]
        cdef dlf_fault fault
        dlf_fault_clear(&fault)
        cdef size_t n = min(self.view.file.size, <uint64_t> sizeof(magic))
        cdef bytes first
        if dlf_view_read(&self.view, 0, magic, n, NULL, &fault):
            raise fault_error(self.path, &fault)
        first = magic[:n]
        if first.startswith((b"PK\3\4", b"PK\5\6")):
            return True
        if first == b"\x93NUMPY":
            return False
        if n < sizeof(magic):
            raise _errors.TruncatedError(f"{self.path}: {n} bytes are too few for an .npz or .npy file", self.path)
        raise _errors.FormatError(f"{self.path}: neither an .npz nor an .npy file", self.path, None, 0)

    def __dealloc__(self):
        self.release()
        dlf_array_scratch_free(&self.scratch)
        dlf_io_free(&self.io)

    cdef void release(self) noexcept:
        if self.opened:
            dlf_view_close(&self.view)
            self.opened = False

    def close(self):
        """Close the file. Calling it again does nothing."""
        self.release()

    @property
    def closed(self):
        return not self.opened

    @property
    def size(self):
        """Bytes of the file."""
        return self.view.file.size

    def members(self):
        """[dict] of the archive's members in directory order: name, sizes, offsets, method, crc, flags."""
        cdef size_t i
        cdef const dlf_zip_member *m
        cdef list members = []
        for i in range(self.scratch.zip.count):
            m = &self.scratch.zip.members[i]
            members.append({
                "name": m.name[:m.name_len].decode("utf-8" if m.utf8 else "cp437", "replace"),
                "stored_name": m.name[:m.name_len],
                "header_offset": m.header_offset,
                "packed_size": m.packed_size,
                "size": m.size,
                "crc32": m.crc,
                "method": m.method,
                "encrypted": bool(m.encrypted),
            })
        return members

    cdef int find(self, bytes member, const dlf_zip_member **found) except -1:
        found[0] = NULL
        if not self.opened:
            raise _errors.ClosedError(f"{self.path}: the archive is closed")
        if not self.pool.usable():  # after a fork
            self.pool = Pool(0)
            self.view.memory.pool = self.pool.pool
        if not self.npz:
            return 0
        found[0] = dlf_zip_find(&self.scratch.zip, member, len(member))
        if found[0] == NULL:
            raise _errors.MemberError(f"{self.path}: the archive has no member {member.decode('utf-8', 'replace')!r}",
                                      self.path, member.decode("utf-8", "replace"))
        return 0

    def header(self, bytes member=b""):
        """The .npy header of a member (or of the file): see :meth:`read`; no payload is read."""
        return self.visit(member, False, False)[0]

    def read(self, bytes member=b"", bint verify=True):
        """Read one array whole.

        Returns
        -------
        (header, Buffer)
            The header as a dict: ``descr`` (dtype literal, bytes), ``fortran_order``, ``shape``,
            ``itemsize``, ``nbytes``, ``version``, ``data_offset`` (from the start of the .npy) and
            ``file_offset`` (of the payload in the file, None in a deflated member).
        """
        return self.visit(member, verify, True)

    cdef tuple visit(self, bytes member, bint verify, bint payload):
        cdef dlf_array array
        cdef dlf_fault fault
        cdef const dlf_zip_member *found
        cdef Buffer buffer = None
        cdef int rc
        self.find(member, &found)
        memset(&array, 0, sizeof(array))
        dlf_fault_clear(&fault)
        try:
            with nogil:
                if found == NULL:
                    rc = dlf_array_open_npy(&array, &self.view, &fault)
                else:
                    rc = dlf_array_open_member(&array, &self.view, found, verify, &fault)
            if rc:
                raise self.error(member, &fault)
            header = npy_header(&array)
            if payload:
                buffer = self.read_all(&array, array.npy.nbytes, member)
                # Where no checksum vouches for the bytes, the file's own times must.
                if not array.checked and dlf_file_check_unchanged(&self.view.file, &fault):
                    raise self.error(member, &fault)
            return header, buffer
        finally:
            dlf_array_close(&array)

    def read_raw(self, bytes member, bint verify=True):
        """The unpacked bytes of a member that is no array."""
        cdef dlf_array array
        cdef dlf_fault fault
        cdef const dlf_zip_member *found
        cdef int rc
        self.find(member, &found)
        memset(&array, 0, sizeof(array))
        dlf_fault_clear(&fault)
        try:
            with nogil:
                rc = dlf_array_open_raw(&array, &self.view, found, verify, &fault)
            if rc:
                raise self.error(member, &fault)
            return self.read_all(&array, array.size, member)
        finally:
            dlf_array_close(&array)

    cdef Buffer read_all(self, dlf_array *array, uint64_t nbytes, bytes member):
        cdef dlf_buf *buf
        cdef dlf_fault fault
        cdef Buffer buffer
        cdef uint64_t done = 0
        cdef size_t part, skip = 0
        cdef int rc
        if self.view.file.direct and not array.deflated:
            skip = (array.start + array.npy.data_offset) % 4096
            if skip % 64:
                skip = 0
        rc = dlf_pool_get(self.pool.pool, nbytes + skip, &buf)
        if rc:
            raise code_error(rc)
        buffer = wrap_buffer(buf, buf.data + skip, nbytes)
        dlf_fault_clear(&fault)
        while done < nbytes:
            part = min(nbytes - done, <uint64_t> READ_PIECE)
            with nogil:
                rc = dlf_array_read(array, buffer.data + done, part, &fault)
            if rc:
                raise self.error(member, &fault)
            done += part
            PyErr_CheckSignals()
        with nogil:
            rc = dlf_array_finish(array, &fault)
        if rc:
            raise self.error(member, &fault)
        return buffer

    cdef object error(self, bytes member, dlf_fault *fault):
        cdef size_t n = min(len(member), 95)
        if fault.code == DLF_ECANCELLED:
            raise_pending()
        memcpy(fault.member, <const char *> member, n)
        fault.member[n] = 0
        return fault_error(self.path, fault)


cdef dict npy_header(const dlf_array *array):
    cdef const dlf_npy *npy = &array.npy
    cdef int d
    return {
        "descr": npy.descr[:npy.descr_len],
        "fortran_order": bool(npy.fortran_order),
        "shape": tuple([npy.shape[d] for d in range(npy.ndim)]),
        "itemsize": npy.itemsize,
        "nbytes": npy.nbytes,
        "version": npy.major,
        "data_offset": npy.data_offset,
        "file_offset": None if array.deflated else array.start + npy.data_offset,
    }
