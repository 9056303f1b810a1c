# TFRecord files, record by record, in the calling thread.

cdef extern from "dlf_example.h" nogil:
    ctypedef struct dlf_bytes:
        uint64_t size
        const unsigned char *head
        uint64_t head_size
    ctypedef struct dlf_span:
        pass
    ctypedef struct dlf_feature:
        int kind
        uint64_t count
        uint64_t value_size
    int dlf_example_walk(const dlf_bytes *bytes, int (*visit)(void *, const unsigned char *, size_t, dlf_span,
                         dlf_fault *) noexcept, void *ctx, dlf_fault *fault)
    int dlf_feature_parse(const dlf_bytes *bytes, dlf_span where, dlf_feature *feature, dlf_fault *fault)

cdef extern from "dlf_record.h" nogil:
    enum:
        DLF_RECORDS_INDEXED
    const size_t DLF_RECORD_HEAD
    const size_t DLF_RECORD_FRAME
    ctypedef struct dlf_table:
        pass
    ctypedef struct dlf_src:
        uint64_t size
    int dlf_src_read(const dlf_src *src, uint64_t offset, void *dst, size_t len, dlf_fault *fault)
    dlf_src dlf_src_memory(const void *data, size_t size)
    ctypedef struct dlf_records:
        dlf_table base
        int found
        uint64_t count
        uint64_t *offsets
    uint32_t dlf_record_mask(uint32_t crc)
    uint32_t dlf_record_u32(const unsigned char *p)
    void dlf_record_put(unsigned char *head, uint64_t length)
    int dlf_record_length(const unsigned char *head, uint64_t offset, uint64_t *length, dlf_fault *fault)
    int dlf_record_is_packed(const unsigned char *first, size_t n)
    void dlf_records_free(dlf_table *records)
    int dlf_records_scan(const dlf_src *src, dlf_records **out, dlf_fault *fault)
    int dlf_records_from_index(const char *path, uint64_t size, dlf_io *io, dlf_records **out, dlf_fault *fault)
    int dlf_records_disagree(uint64_t offset, dlf_fault *fault)

cdef extern from "dlf_file.h" nogil:
    ctypedef struct dlf_file_src:
        dlf_file *file
        dlf_io *io
    dlf_src dlf_src_file(dlf_file_src *ctx)

cdef extern from "dlf_unpack.h" nogil:
    int dlf_unpack_file(dlf_file *file, dlf_io *io, const dlf_memory *memory, dlf_buf **out, uint64_t *size,
                        dlf_fault *fault)

cdef extern from "dlf_crc.h" nogil:
    uint32_t dlf_crc32c(uint32_t crc, const void *data, size_t n)


def crc32c(const unsigned char[::1] data, uint32_t value=0):
    """CRC-32C of data, continuing from value; not masked."""
    cdef size_t n = data.shape[0]
    cdef const unsigned char *p = &data[0] if n else NULL
    cdef uint32_t crc
    with nogil:
        crc = dlf_crc32c(value, p, n)
    return crc


cdef struct Visit:
    const dlf_bytes *bytes
    void *found   # list


cdef int note_feature(void *ctx, const unsigned char *key, size_t key_size, dlf_span where,
                      dlf_fault *fault) noexcept with gil:
    cdef Visit *visit = <Visit *> ctx
    cdef dlf_feature feature
    cdef int rc = dlf_feature_parse(visit.bytes, where, &feature, fault)
    if rc:
        return rc
    try:
        size = None if feature.value_size == <uint64_t> -1 else feature.value_size
        (<list> visit.found).append((key[:key_size], _FEATURE_KINDS[feature.kind], feature.count, size))
    except MemoryError:
        return -ENOMEM
    return 0


_FEATURE_KINDS = (None, "bytes", "float", "int64")


cdef class RecordFile:
    """An open TFRecord file. Not for use by two threads at once.

    Parameters
    ----------
    path : str or path-like
    pool : Pool
        Where the memory comes from.
    direct : bool
        Bypass the page cache.
    index : bool
        Take the records' places from the file's index, where it has one.

    Attributes
    ----------
    indexed : bool
        Whether it has.
    unpacked_bytes : int
        What the file unpacks to, where it is compressed as a whole; else 0.
    """

    cdef File file
    cdef dlf_buf *unpacked
    cdef dlf_src src
    cdef dlf_file_src of_file
    cdef dlf_records *records
    cdef readonly uint64_t unpacked_bytes

    def __init__(self, path, Pool pool not None, *, bint direct=False, bint index=True):
        self.file = File(path, pool, direct=direct)
        cdef bytes encoded = c_path(path)
        cdef const char *c_encoded = encoded
        cdef dlf_fault fault
        cdef int rc
        dlf_fault_clear(&fault)
        with nogil:
            rc = self.find(c_encoded, index, &fault)
        if rc:
            raise self.error(&fault)

    cdef int find(self, const char *path, bint index, dlf_fault *fault) noexcept nogil:
        cdef unsigned char first[12]
        cdef dlf_memory memory
        cdef size_t n = min(self.file.file.size, sizeof(first))
        self.of_file.file = &self.file.file
        self.of_file.io = self.file.io
        self.src = dlf_src_file(&self.of_file)
        cdef int rc = dlf_src_read(&self.src, 0, first, n, fault)
        if rc:
            return rc
        if dlf_record_is_packed(first, n):
            memset(&memory, 0, sizeof(memory))
            memory.pool = self.file.pool
            rc = dlf_unpack_file(&self.file.file, self.file.io, &memory, &self.unpacked, &self.unpacked_bytes, fault)
            if rc:
                return rc
            self.src = dlf_src_memory(self.unpacked.data, self.unpacked_bytes)
        elif index:
            rc = dlf_records_from_index(path, self.src.size, self.file.io, &self.records, fault)
            if rc or self.records != NULL:
                return rc
        return dlf_records_scan(&self.src, &self.records, fault)

    cdef object error(self, dlf_fault *fault):
        raise_pending()
        return fault_error(self.file.path, fault)

    def __dealloc__(self):
        if self.records != NULL:
            dlf_records_free(&self.records.base)
        if self.unpacked != NULL:
            dlf_buf_unref(self.unpacked)

    @property
    def path(self):
        return self.file.path

    @property
    def indexed(self):
        return self.records != NULL and self.records.found == DLF_RECORDS_INDEXED

    def __len__(self):
        """How many records it holds."""
        return 0 if self.records == NULL else self.records.count

    def extent(self, uint64_t i):
        """Where record i lies: its offset and its length, framing included, in bytes."""
        if self.records == NULL or i >= self.records.count:
            raise IndexError(f"{self.file.path}: record {i} of {len(self)}")
        return self.records.offsets[i], self.records.offsets[i + 1] - self.records.offsets[i]

    def read(self, uint64_t i, bint verify=True):
        """The data of record i, as bytes."""
        cdef dlf_fault fault
        cdef uint64_t offset, size, length = 0
        cdef bytes record
        cdef unsigned char *p
        cdef int rc
        offset, size = self.extent(i)
        self.file.check_open()
        record = bytes(size)
        p = record
        dlf_fault_clear(&fault)
        with nogil:
            rc = dlf_src_read(&self.src, offset, p, size, &fault)
            if rc == 0:
                rc = dlf_record_length(p, offset, &length, &fault)
            if rc == 0 and length != size - DLF_RECORD_FRAME:
                if self.records.found == DLF_RECORDS_INDEXED:
                    rc = dlf_records_disagree(offset, &fault)
                else:
                    rc = dlf_fail(&fault, DLF_ECHANGED, offset, "the file has changed since it was opened")
            if (rc == 0 and verify and
                    dlf_record_mask(dlf_crc32c(0, p + DLF_RECORD_HEAD, length)) != dlf_record_u32(p + size - 4)):
                rc = dlf_fail(&fault, DLF_ECHECKSUM, offset + DLF_RECORD_HEAD,
                              "the stored CRC-32C does not match the record")
        if rc:
            raise self.error(&fault)
        return record[DLF_RECORD_HEAD:size - 4]

    def features(self, uint64_t i=0, bint verify=True):
        """The features of record i, a tf.train.Example, in its order.

        Returns
        -------
        list of (bytes, str or None, int, int or None)
            Name; kind ("bytes", "float", "int64", None where there is no value); how many values; bytes of each, None
            where they differ. The last of several with one name is the one that counts.
        """
        cdef dlf_fault fault
        cdef dlf_bytes data
        cdef Visit visit
        cdef bytes record = self.read(i, verify)
        cdef list found = []
        cdef int rc
        memset(&data, 0, sizeof(data))
        data.size = data.head_size = len(record)
        data.head = record
        visit.bytes = &data
        visit.found = <void *> found
        dlf_fault_clear(&fault)
        rc = dlf_example_walk(&data, note_feature, &visit, &fault)
        if rc:
            fault.offset += self.records.offsets[i] + DLF_RECORD_HEAD
            raise self.error(&fault)
        return found

    def close(self):
        """Close the file."""
        self.file.close()
