# Single functions of the core.

cdef extern from "dlf_pages.h" nogil:
    ctypedef struct dlf_pages:
        uint64_t unpacked
        uint64_t values
        uint32_t encodings
    int dlf_pages_scan(const unsigned char *chunk, size_t n, uint64_t start, uint64_t values, dlf_pages *pages,
                       dlf_fault *fault)

cdef extern from "dlf_footer.h" nogil:
    enum:
        DLF_CHUNK_NUMBERS
    int dlf_footer_read(const unsigned char *footer, size_t n, uint64_t groups, uint64_t columns, int64_t *rows,
                        int64_t *chunks, dlf_fault *fault)

cdef extern from "dlf_column.h" nogil:
    ctypedef struct dlf_column:
        unsigned stored
        unsigned itemsize
        unsigned definition
        uint64_t list
    int dlf_column_decode(const dlf_column *column, const unsigned char *chunk, size_t n, uint64_t values,
                          void *out)

LATENCY_BUCKETS = DLF_LATENCY_BUCKETS


def debug_counters():
    """How many of the core's objects this process has alive now: all 0 when nothing is left behind.

    ``buffer_bytes`` counts the buffers that pools keep for reuse, too, those of the pool behind
    ``dlio_fast.load`` and ``read`` included. What was inherited through fork is the parent's and not counted.
    """
    return {
        "rings": dlf_counted(DLF_COUNT_RINGS),
        "ring_threads": dlf_counted(DLF_COUNT_RING_THREADS),
        "caches": dlf_counted(DLF_COUNT_CACHES),
        "buffers_lent": dlf_counted(DLF_COUNT_BUFFERS_LENT),
        "buffer_bytes": dlf_counted(DLF_COUNT_BUFFER_BYTES),
        "open_files": dlf_counted(DLF_COUNT_OPEN_FILES),
        "connections": dlf_counted(DLF_COUNT_CONNECTIONS),
    }


def crc32(const unsigned char[::1] data, uint32_t value=0, *, str implementation=None):
    """CRC-32 of data, continuing from value, as :func:`zlib.crc32`.

    implementation picks one of :func:`crc32_implementations` instead of the fastest.
    """
    cdef const dlf_crc_impl *impls
    cdef int i, count = dlf_crc_impls(&impls)
    cdef size_t n = data.shape[0]
    cdef const unsigned char *p = &data[0] if n else NULL
    cdef uint32_t crc
    if implementation is None:
        with nogil:
            crc = dlf_crc32(value, p, n)
        return crc
    for i in range(count):
        if impls[i].name.decode() == implementation:
            return impls[i].crc32(value, p, n)
    raise ValueError(f"no CRC-32 implementation {implementation!r} on this processor")


def crc32_implementations():
    """The implementations this processor can run, fastest first."""
    cdef const dlf_crc_impl *impls
    cdef int i, count = dlf_crc_impls(&impls)
    return [impls[i].name.decode() for i in range(count)]


def inflate_backends():
    """The inflate libraries this build has, fastest first."""
    cdef const char *const *names = dlf_inflate_backends()
    cdef list found = []
    while names[len(found)] != NULL:
        found.append(names[len(found)].decode())
    return found


def fill(unsigned char[::1] out not None, uint64_t seed, uint64_t stream=0, uint64_t offset=0, int kind=0):
    """Write bytes [offset, offset + len(out)) of the random stream (seed, stream); see csrc/dlf_fill.h."""
    cdef size_t n = out.shape[0]
    if n:
        with nogil:
            dlf_fill(&out[0], n, seed, stream, offset, <dlf_fill_kind> kind)


def parquet_footer(const unsigned char[::1] footer, path, uint64_t groups, uint64_t columns):
    """Read where a Parquet file's column chunks lie; see csrc/dlf_footer.h.

    Returns
    -------
    (numpy.ndarray, numpy.ndarray)
        Rows of each row group, and of each chunk codec, values, bytes unpacked and packed, offsets of data and
        dictionary, whether it lies in another file; int64, shapes (groups,) and (groups, columns, 7).
    """
    cdef dlf_fault fault
    cdef size_t n = footer.shape[0]
    cdef int rc = DLF_EFORMAT
    dlf_fault_clear(&fault)
    if not columns or groups <= n // columns:  # each takes a byte at least
        rows = _np.empty(groups, _np.int64)
        chunks = _np.empty((groups, columns, DLF_CHUNK_NUMBERS), _np.int64)
        if not n:
            rc = 0 if not groups else DLF_EFORMAT
        else:
            rc = dlf_footer_read(&footer[0], n, groups, columns, <int64_t *> address_of(rows),
                                 <int64_t *> address_of(chunks), &fault)
    if rc:
        raise _errors.FormatError(f"{path}: the footer is malformed (at its byte {fault.offset})", path)
    return rows, chunks


def parquet_pages(const unsigned char[::1] chunk, path, str column, uint64_t start, uint64_t values):
    """Look through the pages of a Parquet column chunk, which begins at a byte of its file.

    Returns
    -------
    (int, int, int)
        Bytes that the pages take unpacked, values that they hold, and a mask of the values' encodings; see
        csrc/dlf_pages.h. FormatError where fewer than `values` are there.
    """
    cdef dlf_pages pages
    cdef dlf_fault fault
    cdef size_t n = chunk.shape[0]
    cdef const unsigned char *p = &chunk[0] if n else NULL
    cdef int rc
    dlf_fault_clear(&fault)
    with nogil:
        rc = dlf_pages_scan(p, n, start, values, &pages, &fault)
    if rc:
        raise _errors.FormatError(
            f"{path}: column {column!r}: {fault.what.decode()} (at byte {fault.offset})",
            path, column, fault.offset)
    return pages.unpacked, pages.values, pages.encodings


def parquet_columns(chunks, columns, unsigned char[::1] out not None):
    """Decode Parquet column chunks of numbers, without a stop for Python in between; see csrc/dlf_column.h.

    Parameters
    ----------
    chunks : sequence of buffers
    columns : sequence of (place, values, stored, itemsize, definition, list_size)
        Where in `out` the values of each begin and how many there are, and the rest of a dlf_column.
    out : writable buffer

    Returns
    -------
    list of bool
        False where a chunk is not of the kind that is decoded here, or malformed: what is at its place in
        `out` then means nothing.
    """
    cdef size_t count = len(chunks), i, room = out.shape[0]
    cdef uint64_t place, values, size
    cdef dlf_column *column
    cdef Py_buffer view
    cdef uint64_t[:, ::1] jobs = _np.empty((count, 5), _np.uint64)  # address, size, place, values, done
    cdef unsigned char *to = &out[0] if room else NULL
    described = bytearray((count + 1) * sizeof(dlf_column))
    cdef unsigned char[::1] memory = described
    column = <dlf_column *> &memory[0]
    for i in range(count):
        place, values, column[i].stored, column[i].itemsize, column[i].definition, column[i].list = columns[i]
        size = column[i].itemsize
        if size not in (1, 2, 4, 8) or column[i].definition > 15 or place > room or values > (room - place) / size:
            raise ValueError(f"{values} items of {size} bytes at byte {place} of {room}")
        if column[i].stored != size and not (column[i].stored == 4 and size < 4) \
                and not (column[i].stored == 0 and size == 1):
            raise ValueError(f"items of {size} bytes are not stored in {column[i].stored}")
        PyObject_GetBuffer(chunks[i], &view, PyBUF_SIMPLE)
        jobs[i, 0], jobs[i, 1], jobs[i, 2], jobs[i, 3] = <size_t> view.buf, view.len, place, values
        PyBuffer_Release(&view)  # `chunks` keeps the memory
    with nogil:
        for i in range(count):
            jobs[i, 4] = 0 == dlf_column_decode(
                &column[i], <const unsigned char *> <size_t> jobs[i, 0], jobs[i, 1], jobs[i, 3], to + jobs[i, 2])
    return [jobs[i, 4] == 1 for i in range(count)]


ORDERS = {
    "off": DLF_ORDER_SEQUENTIAL,
    "global": DLF_ORDER_GLOBAL,
    "files": DLF_ORDER_FILES,
    "window": DLF_ORDER_WINDOW,
}


def order_at(int64_t[::1] ids not None, str order, *, uint64_t n_files, uint64_t samples_per_file=1,
             uint64_t window_files=0, uint64_t seed=0, uint64_t epoch=0):
    """Replace positions of an epoch's order by the numbers of the samples there; see csrc/dlf_order.h."""
    cdef dlf_order c_order
    cdef size_t count = ids.shape[0]
    c_order.kind = ORDERS[order]
    c_order.n_files = n_files
    c_order.samples_per_file = samples_per_file
    c_order.window_files = window_files
    c_order.seed = seed
    c_order.epoch = epoch
    check_positions(ids, n_files, samples_per_file)
    if count:
        with nogil:
            dlf_order_at(&c_order, &ids[0], count)


def own_files_at(int64_t[::1] ids not None, *, uint64_t n_files, uint64_t samples_per_file, uint64_t rank,
                 uint64_t world_size):
    """Replace numbers of samples of a rank's own files by those of the data set; see csrc/dlf_order.h."""
    cdef size_t count = ids.shape[0]
    check_positions(ids, n_files, samples_per_file)
    if not rank < world_size <= <uint64_t> 1 << 31:
        raise ValueError(f"rank {rank} of {world_size}")
    if count:
        with nogil:
            dlf_order_own_files(n_files, samples_per_file, rank, world_size, &ids[0], count)


cdef int check_positions(const int64_t[::1] ids, uint64_t n_files, uint64_t samples_per_file) except -1:
    cdef uint64_t n = n_files * samples_per_file
    cdef size_t k, count = ids.shape[0]
    if samples_per_file < 1 or n_files > (<uint64_t> 1 << 62) // samples_per_file:
        raise ValueError(f"{n_files} files of {samples_per_file} samples")
    for k in range(count):
        if ids[k] < 0 or <uint64_t> ids[k] >= n:
            raise ValueError(f"position {ids[k]} does not lie in [0, {n})")
    return 0
