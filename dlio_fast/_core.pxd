# The C core's declarations, as the binding uses them: see csrc/*.h for the contracts.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "dlf_error.h" nogil:
    enum:
        DLF_EFORMAT
        DLF_ETRUNCATED
        DLF_ECHECKSUM
        DLF_EUNSUPPORTED
        DLF_EMEMBER
        DLF_ECHANGED
        DLF_ENOTREGULAR
        DLF_ESAMPLE
        DLF_ECANCELLED
        DLF_EBUDGET
        DLF_EEMPTY
        DLF_EMAKER
        DLF_ESTORE
        DLF_EMORE
        DLF_DETAIL_MAX
    ctypedef struct dlf_fault:
        int code
        uint64_t offset
        const char *what
        char *member
        char *detail
    void dlf_fault_clear(dlf_fault *fault)
    int dlf_fail(dlf_fault *fault, int code, uint64_t offset, const char *what)

cdef extern from "dlf_store.h" nogil:
    ctypedef struct dlf_hint:
        uint64_t size
        uint64_t version
    ctypedef struct dlf_store:
        const dlf_store_ops *ops
        uint64_t stream_most
    ctypedef struct dlf_object:
        dlf_store *store
        uint64_t size
        uint64_t version
    ctypedef struct dlf_store_ops:
        int (*open)(dlf_store *store, dlf_io *io, const char *address, const dlf_hint *hint, dlf_object **out,
                    dlf_fault *fault) noexcept
        int (*read)(dlf_object *object, dlf_io *io, uint64_t offset, void *dst, size_t len,
                    dlf_fault *fault) noexcept
        void (*will_read)(dlf_object *object, dlf_io *io, uint64_t offset, uint64_t len) noexcept
        int (*check_unchanged)(dlf_object *object, dlf_io *io, dlf_fault *fault) noexcept
        void (*close)(dlf_object *object, dlf_io *io) noexcept
        void (*leave)(dlf_store *store, dlf_io *io) noexcept
        int (*open_file)(dlf_store *store, dlf_io *io, const char *address, const dlf_hint *hint, dlf_file *file,
                         dlf_fault *fault) noexcept
    uint64_t dlf_store_version(const char *etag, size_t len)

cdef extern from "dlf_pool.h" nogil:
    ctypedef struct dlf_pool:
        pass
    ctypedef struct dlf_buf:
        unsigned char *data
        size_t size
        size_t capacity
    ctypedef struct dlf_pool_stats:
        size_t mapped
        size_t idle
        size_t lent
        size_t peak
        size_t pinned
        size_t pin_failures
    ctypedef int dlf_pin_fn(void *data, size_t size, unsigned flags)
    ctypedef int dlf_unpin_fn(void *data)
    void dlf_pool_set_pin(dlf_pool *pool, dlf_pin_fn *pin, dlf_unpin_fn *unpin)
    int dlf_pool_new(size_t keep, dlf_pool **out)
    void dlf_pool_unref(dlf_pool *pool)
    void dlf_pool_set_keep(dlf_pool *pool, size_t keep)
    void dlf_pool_get_stats(dlf_pool *pool, dlf_pool_stats *out)
    size_t dlf_pool_capacity(size_t size)
    int dlf_pool_get(dlf_pool *pool, size_t size, dlf_buf **out)
    void dlf_buf_ref(dlf_buf *buf)
    void dlf_buf_unref(dlf_buf *buf)
    unsigned dlf_fork_generation()

cdef extern from "dlf_counters.h" nogil:
    enum dlf_counter:
        DLF_COUNT_RINGS
        DLF_COUNT_RING_THREADS
        DLF_COUNT_CACHES
        DLF_COUNT_BUFFERS_LENT
        DLF_COUNT_BUFFER_BYTES
        DLF_COUNT_OPEN_FILES
        DLF_COUNT_CONNECTIONS
    int64_t dlf_counted(dlf_counter which)

cdef extern from "dlf_file.h" nogil:
    enum:
        DLF_LATENCY_BUCKETS
        DLF_OPEN_DIRECT
    ctypedef struct dlf_io_stats:
        uint64_t bytes
        uint64_t direct_bytes
        uint64_t staged_bytes
        uint64_t reads
        uint64_t files
        uint64_t retries
        uint64_t fallbacks
        const char *fallback_reason
        int fallback_errno
        uint64_t core_samples
        uint64_t maker_samples
        uint64_t disk_cache_hits
        uint64_t disk_cache_misses
        uint64_t disk_cache_bytes
        uint64_t disk_cache_written
        uint64_t *latency
    ctypedef struct dlf_io:
        int (*interrupted)() noexcept
        dlf_io_stats stats
        dlf_store *store
    ctypedef struct dlf_file:
        int fd
        int direct
        uint32_t align
        uint64_t size
        uint64_t inode
        int64_t mtime_sec
        uint32_t mtime_nsec
        dlf_object *object
        int cached
    int dlf_io_init(dlf_io *io, const void *cancel)
    void dlf_io_free(dlf_io *io)
    void dlf_io_use(dlf_io *io, dlf_store *store)
    int dlf_io_cancelled(dlf_io *io)
    int dlf_latency_bucket(uint64_t ns)
    int dlf_file_open(dlf_file *file, dlf_io *io, const char *path, int flags, dlf_fault *fault)
    int dlf_file_open_known(dlf_file *file, dlf_io *io, const char *path, int flags, const dlf_hint *hint,
                            dlf_fault *fault)
    int dlf_file_read(dlf_file *file, dlf_io *io, uint64_t offset, void *dst, size_t len, uint32_t *crc,
                      dlf_fault *fault)
    void dlf_file_close(dlf_file *file)
    int dlf_file_check_unchanged(const dlf_file *file, dlf_fault *fault)

cdef extern from "dlf_crc.h" nogil:
    ctypedef struct dlf_crc_impl:
        const char *name
        uint32_t (*crc32)(uint32_t crc, const void *data, size_t n)
        uint32_t (*crc32_copy)(uint32_t crc, void *dst, const void *src, size_t n)
    uint32_t dlf_crc32(uint32_t crc, const void *data, size_t n)
    int dlf_crc_impls(const dlf_crc_impl **impls)

cdef extern from "dlf_inflate.h" nogil:
    const char *const *dlf_inflate_backends()

cdef extern from "dlf_fill.h" nogil:
    enum dlf_fill_kind:
        DLF_FILL_BYTES
    void dlf_fill(void *dst, size_t n, uint64_t seed, uint64_t stream, uint64_t offset, dlf_fill_kind kind)

cdef extern from "dlf_order.h" nogil:
    enum dlf_order_kind:
        DLF_ORDER_SEQUENTIAL
        DLF_ORDER_GLOBAL
        DLF_ORDER_FILES
        DLF_ORDER_WINDOW
    ctypedef struct dlf_order:
        dlf_order_kind kind
        uint64_t n_files
        uint64_t samples_per_file
        uint64_t window_files
        uint64_t seed
        uint64_t epoch
    void dlf_order_at(const dlf_order *order, int64_t *ids, size_t count)
    void dlf_order_own_files(uint64_t n_files, uint64_t samples_per_file, uint64_t rank,
                             uint64_t world_size, int64_t *ids, size_t count)

cdef extern from "dlf_npy.h" nogil:
    enum:
        DLF_NPY_MAX_DIMS
    ctypedef struct dlf_npy:
        uint64_t data_offset
        uint64_t nbytes
        uint64_t items
        uint64_t itemsize
        int major
        int fortran_order
        int ndim
        uint64_t *shape
        const char *descr
        size_t descr_len

cdef extern from "dlf_zip.h" nogil:
    enum:
        DLF_ZIP_STORED
        DLF_ZIP_DEFLATED
    ctypedef struct dlf_zip_member:
        const char *name
        size_t name_len
        uint64_t header_offset
        uint64_t packed_size
        uint64_t size
        uint32_t crc
        uint16_t method
        int encrypted
        int utf8
    ctypedef struct dlf_zip:
        dlf_zip_member *members
        size_t count
    const dlf_zip_member *dlf_zip_find(const dlf_zip *zip, const char *name, size_t name_len)

cdef extern from "dlf_memory.h" nogil:
    ctypedef struct dlf_memory:
        dlf_pool *pool

cdef extern from "dlf_array.h" nogil:
    ctypedef struct dlf_array_scratch:
        dlf_zip zip
    ctypedef struct dlf_view:
        dlf_file file
        dlf_memory memory
    ctypedef struct dlf_array:
        dlf_npy npy
        uint64_t start
        uint64_t size
        int deflated
        int checked
    void dlf_array_scratch_free(dlf_array_scratch *scratch)
    int dlf_view_open(dlf_view *view, const dlf_file *file, dlf_io *io, dlf_array_scratch *scratch,
                      dlf_memory memory, dlf_fault *fault)
    void dlf_view_close(dlf_view *view)
    int dlf_view_read(dlf_view *view, uint64_t offset, void *dst, size_t n, uint32_t *crc, dlf_fault *fault)
    int dlf_view_directory(dlf_view *view, dlf_fault *fault)
    int dlf_array_open_npy(dlf_array *array, dlf_view *view, dlf_fault *fault)
    int dlf_array_open_raw(dlf_array *array, dlf_view *view, const dlf_zip_member *member, int verify,
                           dlf_fault *fault)
    int dlf_array_open_member(dlf_array *array, dlf_view *view, const dlf_zip_member *member, int verify,
                              dlf_fault *fault)
    int dlf_array_read(dlf_array *array, void *dst, size_t n, dlf_fault *fault)
    int dlf_array_finish(dlf_array *array, dlf_fault *fault)
    void dlf_array_close(dlf_array *array)

cdef extern from "dlf_ring.h" nogil:
    ctypedef struct dlf_ring:
        pass
    ctypedef struct dlf_job:
        void (*run)(dlf_job *job, size_t task, void *worker)
        void (*free)(dlf_job *job)
        size_t tasks
        size_t bytes
    ctypedef struct dlf_ring_stats:
        dlf_io_stats io
        size_t threads
        size_t in_flight
        size_t peak
        size_t queued
        uint64_t delivered
        uint64_t stall_ns
    int dlf_ring_new(size_t threads, size_t budget, dlf_ring **out)
    int dlf_ring_submit(dlf_ring *ring, dlf_job *job)
    int dlf_ring_next(dlf_ring *ring, int timeout_ms, dlf_job **out)
    void dlf_ring_cancel(dlf_ring *ring)
    void dlf_ring_get_stats(dlf_ring *ring, dlf_ring_stats *out)
    int dlf_ring_await(dlf_ring *ring, int timeout_ms)
    int dlf_ring_is_worker()
    void dlf_ring_free(dlf_ring *ring)
    ctypedef struct dlf_worker:
        dlf_ring *ring
        dlf_io io

cdef extern from "dlf_read.h" nogil:
    ctypedef struct dlf_read:
        dlf_job job
        char *path
        dlf_store *store
        dlf_hint known
        dlf_buf *buf
        unsigned char *data
        size_t size
        uint32_t crc
        dlf_fault fault
    int dlf_read_new(dlf_pool *pool, const char *path, uint64_t offset, int64_t length, int direct,
                     int checksum, dlf_read **out)

cdef extern from "dlf_plan.h" nogil:
    ctypedef struct dlf_table:
        pass
    ctypedef struct dlf_container:
        const char *name
        int (*describe)(const dlf_plan *plan, const void *description, size_t size, dlf_table **table,
                        dlf_fault *fault)
    ctypedef struct dlf_field:
        const char *member
        size_t member_len
        const char *descr
        size_t descr_len
        uint64_t itemsize
        int ndim
        uint64_t *shape
        size_t sample_bytes
    ctypedef struct dlf_layout:
        uint64_t itemsize
        int ndim
        uint64_t *shape
        uint64_t sample_bytes
        size_t descr_len
        char *descr
        int expected
    ctypedef struct dlf_plan:
        const dlf_container *container
        int direct
        int verify
        int ragged
        int has_axis
        int axis
        uint64_t samples_per_file
        const char *root
        const char *names
        const uint64_t *offsets
        uint64_t n_files
        dlf_store *store
        const uint64_t *sizes
        const uint64_t *versions
        const dlf_field *fields
        size_t n_fields
        int (*read)(dlf_task *task, dlf_fault *fault) noexcept
        int (*learn)(dlf_task *task, dlf_table **table, dlf_fault *fault) noexcept
        void *maker
    int dlf_plan_open(const dlf_plan *plan, uint64_t file, dlf_io *io, dlf_file *out, dlf_fault *fault)
    size_t dlf_plan_file_bytes(const dlf_plan *plan)
    void dlf_plan_sample(const dlf_plan *plan, size_t field, dlf_layout *layout)
    int dlf_plan_new_tables(dlf_plan *plan)
    void dlf_plan_free_tables(dlf_plan *plan)

cdef extern from "dlf_cache.h" nogil:
    ctypedef struct dlf_cache:
        pass
    ctypedef struct dlf_cache_stats:
        uint64_t hits
        uint64_t misses
        size_t bytes
        size_t peak
    int dlf_cache_new(size_t capacity, dlf_cache **out)
    void dlf_cache_free(dlf_cache *cache)
    void dlf_cache_get_stats(dlf_cache *cache, dlf_cache_stats *out)

cdef extern from "dlf_task.h" nogil:
    enum:
        DLF_DESCR_MAX
    ctypedef struct dlf_loose:
        dlf_buf *buf
        unsigned char *data
        uint64_t nbytes
        int ndim
        uint64_t *shape
        size_t descr_len
        char *descr
    ctypedef struct dlf_target:
        int any_loose
    ctypedef struct dlf_place:
        uint64_t index
    ctypedef struct dlf_task:
        const dlf_plan *plan
        uint64_t file
        dlf_place *places
        size_t count
        dlf_job *job
        dlf_worker *worker
        dlf_memory memory
    int dlf_task_put(dlf_task *task, size_t first, size_t count, size_t field, const dlf_layout *layout,
                     const void *samples, dlf_fault *fault)

cdef extern from "dlf_containers.h" nogil:
    const dlf_container *dlf_container_named(const char *name)

cdef extern from "dlf_batch.h" nogil:
    ctypedef struct dlf_batch_task:
        uint64_t file
        size_t first
        size_t count
        dlf_fault fault
    ctypedef struct dlf_batch:
        dlf_job job
        dlf_cache *cache
        size_t n
        uint64_t *samples
        dlf_batch_task *tasks
        dlf_buf *buf
        size_t *offsets
        dlf_loose **loose
        dlf_target target
    size_t dlf_batch_bytes(const dlf_plan *plan, size_t n)
    int dlf_batch_new(const dlf_plan *plan, dlf_pool *pool, const int64_t *samples, size_t n, dlf_batch **out)
    void dlf_batch_compact(dlf_batch *batch)
