# Writing generated files.

cdef extern from "dlf_fill.h" nogil:
    enum:
        DLF_FILL_F64
        DLF_FILL_F32
        DLF_FILL_F16
        DLF_FILL_BOOL

cdef extern from "dlf_write.h" nogil:
    enum:
        DLF_WRITE_DIRECT
        DLF_WRITE_SYNC
    const size_t DLF_NO_CRC
    ctypedef struct dlf_writer:
        pass
    ctypedef struct dlf_write_job:
        const char *temp_path
        const char *final_path
        const unsigned char *head
        size_t head_len
        const unsigned char *tail
        size_t tail_len
        uint64_t payload_len
        uint64_t seed
        uint64_t stream
        dlf_fill_kind kind
        size_t crc_from
        size_t crc_in_head
        size_t crc_in_tail
        int flags
    ctypedef struct dlf_write_result:
        uint32_t crc
        int direct
        const char *fallback_reason
        int fallback_errno
    int dlf_writer_new(dlf_writer **out)
    void dlf_writer_free(dlf_writer *writer)
    void dlf_writer_cancel(dlf_writer *writer)
    uint64_t dlf_writer_bytes(const dlf_writer *writer)
    int dlf_write_file(dlf_writer *writer, const dlf_write_job *job, dlf_write_result *result, dlf_fault *fault)


# What `kind` means to fill() and FileWriter.write().
FILL_KINDS = {
    "bytes": DLF_FILL_BYTES,
    "float64": DLF_FILL_F64,
    "float32": DLF_FILL_F32,
    "float16": DLF_FILL_F16,
    "bool": DLF_FILL_BOOL,
}


cdef class FileWriter:
    """Writes files of random contents, from any number of threads at once; see csrc/dlf_write.h."""

    cdef dlf_writer *writer

    def __cinit__(self):
        cdef int rc = dlf_writer_new(&self.writer)
        if rc:
            raise code_error(rc)

    def __dealloc__(self):
        if self.writer != NULL:
            dlf_writer_free(self.writer)

    def cancel(self):
        """Make running and later calls of :meth:`write` raise ClosedError, from any thread."""
        dlf_writer_cancel(self.writer)

    @property
    def bytes_written(self):
        """Bytes written so far, by files that are not finished too."""
        return dlf_writer_bytes(self.writer)

    def write(self, temp_path, final_path, bytes head, uint64_t payload_nbytes, bytes tail, *,
              uint64_t seed, uint64_t stream, int kind, size_t crc_from=0, crc_in_head=None, crc_in_tail=None,
              bint direct=False, bint sync=False):
        """Write head, random payload and tail under temp_path and rename it to final_path.

        crc_in_head and crc_in_tail are the offsets of head and tail where the CRC-32 of ``head[crc_from:]``
        and the payload is stored; None: nowhere.

        Returns
        -------
        (int, str or None)
            The CRC-32, and why O_DIRECT was not used although it was asked for.
        """
        cdef dlf_write_job job
        cdef dlf_write_result result
        cdef dlf_fault fault
        cdef bytes temp = c_path(temp_path)
        cdef bytes final = c_path(final_path)
        cdef int rc
        job.temp_path = temp
        job.final_path = final
        job.head = head
        job.head_len = len(head)
        job.tail = tail
        job.tail_len = len(tail)
        job.payload_len = payload_nbytes
        job.seed = seed
        job.stream = stream
        job.kind = <dlf_fill_kind> kind
        job.crc_from = crc_from
        job.crc_in_head = DLF_NO_CRC if crc_in_head is None else crc_in_head
        job.crc_in_tail = DLF_NO_CRC if crc_in_tail is None else crc_in_tail
        job.flags = (DLF_WRITE_DIRECT if direct else 0) | (DLF_WRITE_SYNC if sync else 0)
        dlf_fault_clear(&fault)
        with nogil:
            rc = dlf_write_file(self.writer, &job, &result, &fault)
        if rc == DLF_ECANCELLED:
            raise _errors.ClosedError(f"{_os.fsdecode(final)}: writing was cancelled")
        if rc:
            raise fault_error(_os.fsdecode(final), &fault)
        if result.fallback_reason == NULL:
            return result.crc, None
        reason = result.fallback_reason.decode()
        if result.fallback_errno:
            reason += f" ({_os.strerror(result.fallback_errno)})"
        return result.crc, reason
