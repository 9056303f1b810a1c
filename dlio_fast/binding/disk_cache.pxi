# A store whose objects are kept on local disk; see csrc/dlf_disk_cache.h.

cdef extern from "dlf_disk_cache.h" nogil:
    enum:
        DLF_DISK_ELSEWHERE
        DLF_DISK_AGAIN
    ctypedef struct dlf_disk_tail:
        pass
    ctypedef struct dlf_disk_cache:
        dlf_store base
        dlf_store *inner
        const char *folder
        uint64_t seed
        uint64_t stamp
        void *owner
        int (*begin)(void *owner, dlf_io *io, const char *name, uint64_t nbytes, uint64_t version,
                     int *fd) noexcept
        int (*finish)(void *owner, const char *name, int fd, int err) noexcept
        void (*discard)(void *owner, const char *name, uint64_t inode) noexcept
    const dlf_store_ops dlf_disk_cache_ops

DISK_CACHE_TAIL = sizeof(dlf_disk_tail)
"""Bytes of a kept file beside those of its object."""


# Threads of a ring that is garbage, too, may still read from it when the collector comes.
@cython.no_gc_clear
cdef class DiskCacheStore(Store):
    """A store that keeps the objects of another one on local disk.

    Parameters
    ----------
    inner : Store
    keeper : object
        Says what is kept, when an object is not there; called by the ring's threads.
        ``keeper.begin(name, nbytes, version, cancelled)`` returns a descriptor to be filled, `keeper.AGAIN` or
        `keeper.ELSEWHERE`; ``keeper.finish(name, descriptor, error)`` ends that, and returns whether the file
        was kept; ``keeper.discard(name, inode)`` removes a damaged file.
    folder : bytes
    identity : bytes
        Tells `inner` from other stores that have the same addresses.
    stamp : int
        Another one after each start of the machine; 64 bits.
    """

    cdef dlf_disk_cache cache
    cdef readonly Store inner
    cdef object keeper
    cdef bytes folder

    def __init__(self, Store inner not None, keeper, *, bytes folder not None, bytes identity not None,
                 uint64_t stamp):
        self.inner, self.keeper, self.folder = inner, keeper, folder
        self.cache.base.ops = &dlf_disk_cache_ops
        self.cache.inner = inner.store
        self.cache.folder = <const char *> folder
        self.cache.seed = dlf_store_version(identity, len(identity))
        self.cache.stamp = stamp
        self.cache.owner = <void *> self
        self.cache.begin = disk_begin
        self.cache.finish = disk_finish
        self.cache.discard = disk_discard
        self.store = &self.cache.base


cdef int disk_begin(void *owner, dlf_io *io, const char *name, uint64_t nbytes, uint64_t version,
                    int *fd) noexcept with gil:
    cdef Cancelled cancelled = Cancelled.__new__(Cancelled)
    cancelled.io = io
    try:
        keeper = (<DiskCacheStore> owner).keeper
        given = keeper.begin((<bytes> name).decode(), nbytes, version, cancelled)
        if given == keeper.AGAIN:
            return DLF_DISK_AGAIN
        if given == keeper.ELSEWHERE:
            return DLF_DISK_ELSEWHERE
        fd[0] = given
        return 0
    except _errors.ClosedError:
        return DLF_ECANCELLED
    except BaseException:  # Ctrl-C, no memory: the object is there all the same
        return DLF_DISK_ELSEWHERE
    finally:
        cancelled.io = NULL


cdef int disk_finish(void *owner, const char *name, int fd, int err) noexcept with gil:
    try:
        return not (<DiskCacheStore> owner).keeper.finish((<bytes> name).decode(), fd, err)
    except BaseException:
        return 1


cdef void disk_discard(void *owner, const char *name, uint64_t inode) noexcept with gil:
    try:
        (<DiskCacheStore> owner).keeper.discard((<bytes> name).decode(), inode)
    except BaseException:
        pass
