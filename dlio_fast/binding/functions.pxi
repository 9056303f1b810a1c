# Single functions of the core.

LATENCY_BUCKETS = DLF_LATENCY_BUCKETS


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


def permute_into(int64_t[::1] out not None, uint64_t n, uint64_t seed, uint64_t epoch, uint64_t start,
                 uint64_t step=1):
    """out[k] = where position start + k * step lands under the shuffle of (n, seed, epoch)."""
    cdef size_t count = out.shape[0]
    if not count:
        return
    if n > <uint64_t> 1 << 62 or start >= n or (count > 1 and (n - 1 - start) // (count - 1) < step):
        raise ValueError(f"positions {start} + k * {step}, k < {count}, do not lie in [0, {n})")
    with nogil:
        dlf_permute_range(n, seed, epoch, start, step, count, &out[0])
