# The prefetch ring: what is submitted, and what is delivered.

# How long a wait lasts before Python may look at signals (Ctrl-C), in milliseconds.
cdef enum:
    WAIT_MS = 50


@cython.no_gc_clear
cdef class Batch:
    """A delivered batch: where the samples lie, and what failed."""

    cdef dlf_batch *batch
    cdef Plan plan
    cdef Ring ring    # keeps the pool alive for the job's own release
    cdef dict errors  # file -> what the plan's reader raised

    def __init__(self):
        raise TypeError("a Batch comes from a Ring")

    def __dealloc__(self):
        if self.batch != NULL:
            self.batch.job.free(&self.batch.job)

    def __len__(self):
        return self.batch.n

    def samples(self):
        """The sample ids, in the order of delivery."""
        return [self.batch.samples[i] for i in range(self.batch.n)]

    def failures(self):
        """[(exception, number of samples lost)] of the files that could not be read."""
        cdef size_t t
        cdef list failures = []
        for t in range(self.batch.job.tasks):
            if self.batch.tasks[t].fault.code:
                failures.append((self.error(self.batch.tasks[t].file, &self.batch.tasks[t].fault),
                                 self.batch.tasks[t].count))
        return failures

    cdef object error(self, uint64_t file, const dlf_fault *fault):
        path = self.plan.path(file)
        if fault.code == DLF_EMAKER:
            return self.errors.get(file) or MemoryError(f"{path}: reading failed, and so did noting why")
        return fault_error(path, fault)

    def forget_failures(self):
        """Let go of the readers' exceptions, whose tracebacks may come to refer to who holds the batch."""
        self.errors = {}

    def compact(self):
        """Drop the samples that failed and close the gaps."""
        with nogil:
            dlf_batch_compact(self.batch)

    def buffer(self):
        """The Buffer of all samples that lie in place, or None."""
        cdef dlf_buf *buf = self.batch.buf
        if buf == NULL:
            return None
        dlf_buf_ref(buf)
        return wrap_buffer(buf, buf.data, buf.size)

    def offset(self, size_t field):
        """Where a field's first sample lies in the buffer."""
        return self.batch.offsets[field]

    def loose(self, size_t field):
        """Per sample of a field: None where it lies in place, else (Buffer, dtype literal, shape).

        None altogether where all lie in place.
        """
        cdef size_t i, n_fields = self.plan.plan.n_fields
        cdef dlf_loose **loose = self.batch.loose + field
        if not self.batch.target.any_loose:
            return None
        for i in range(self.batch.n):
            if loose[i * n_fields] != NULL:
                return [self.loose_sample(loose[i * n_fields]) for i in range(self.batch.n)]
        return None

    cdef tuple loose_sample(self, dlf_loose *loose):
        cdef int d
        if loose == NULL:
            return None
        dlf_buf_ref(loose.buf)
        return (wrap_buffer(loose.buf, loose.data, loose.nbytes),
                (<const char *> loose.descr)[:loose.descr_len],
                tuple([loose.shape[d] for d in range(loose.ndim)]))


@cython.no_gc_clear
cdef class Ring:
    """Reads ahead on threads of its own and delivers in the order of submission; see csrc/dlf_ring.h.

    Parameters
    ----------
    threads : int
        The most worker threads; they start as work comes.
    budget : int
        Bytes that may be in flight at once.
    pool : Pool
    cache_bytes : int
        Beside these, bytes of files that are kept so that a file of several samples is read once although
        they are spread over several batches; see csrc/dlf_cache.h. 0: none are.
    """

    cdef dlf_ring *ring
    cdef dlf_cache *cache
    cdef readonly Pool pool
    cdef unsigned generation
    cdef int users          # calls inside the core now
    cdef bint closed
    cdef bint decodes       # the threads call into Python
    cdef object plans       # jobs in flight point into them
    cdef object stores      # of reads
    cdef dict final_stats
    cdef object __weakref__

    def __cinit__(self, size_t threads, size_t budget, Pool pool not None, size_t cache_bytes=0):
        cdef int rc = dlf_ring_new(threads, budget, &self.ring)
        self.generation = dlf_fork_generation()
        if rc == 0 and cache_bytes:
            rc = dlf_cache_new(cache_bytes, &self.cache)
        if rc:
            raise code_error(rc)
        self.pool = pool
        self.plans = set()
        self.stores = set()

    def __dealloc__(self):
        self.release()

    cdef void release(self) noexcept:
        cdef dlf_ring *ring = self.ring
        cdef dlf_cache *cache = self.cache
        self.ring = NULL
        self.cache = NULL
        # After a fork the threads are the parent's; so is all the ring owns.
        if ring == NULL or self.generation != dlf_fork_generation():
            return
        if self.decodes:
            dlf_ring_cancel(ring)
            if dlf_ring_await(ring, 0):
                release_elsewhere(ring, cache, self.pool, self.plans, self.stores)
                return
            forget_errors(ring, self.plans)
        with nogil:
            dlf_ring_free(ring)
            dlf_cache_free(cache)

    cdef int enter(self) except -1:
        if self.closed or self.ring == NULL:
            raise _errors.ClosedError("the ring is closed")
        if self.generation != dlf_fork_generation():
            raise _errors.ClosedError("the ring was made before a fork: make a new one in this process")
        self.users += 1
        return 0

    cdef void leave(self) noexcept:
        self.users -= 1
        if self.closed and not self.users:
            self.release()

    def mine(self):
        """Whether it was made in this process, not before a fork."""
        return self.generation == dlf_fork_generation()

    def released(self):
        """Whether the threads have ended."""
        return self.ring == NULL

    def usable(self):
        """False once closed, and after a fork: the ring is the parent's."""
        return not self.closed and self.ring != NULL and self.generation == dlf_fork_generation()

    def submit_batch(self, Plan plan not None, const int64_t[::1] samples):
        """Ask for a batch of sample ids. False: over the budget, take a delivery first."""
        cdef dlf_batch *batch
        cdef int rc
        cdef size_t n = samples.shape[0]
        if not n:
            raise ValueError("an empty batch")
        self.enter()
        try:
            if plan not in self.plans:
                self.plans.add(plan)
                if plan.reader is not None or plan.store is not None:
                    self.decodes = True
                    _decoding.add(self)
            with nogil:
                rc = dlf_batch_new(&plan.plan, self.pool.pool, &samples[0], n, &batch)
            if rc == -EINVAL:
                raise _errors.SampleError("a sample id lies outside the data set")
            if rc:
                raise code_error(rc)
            batch.cache = self.cache
            return self.submit(&batch.job)
        finally:
            self.leave()

    def submit_read(self, path, uint64_t offset=0, int64_t length=-1, bint direct=False, bint checksum=False):
        """Ask for a range of a file. False: over the budget, take a delivery first."""
        cdef dlf_read *read
        cdef bytes encoded = c_path(path)
        cdef Store store = store_of(path)
        cdef int rc
        self.enter()
        try:
            if store is not None and store not in self.stores:
                self.stores.add(store)
                self.decodes = True
                _decoding.add(self)
            rc = dlf_read_new(self.pool.pool, encoded, offset, length, direct, checksum, &read)
            if rc:
                raise code_error(rc)
            read.store = pointer_of(store)
            if store is not None and path.known is not None:
                read.known.size, read.known.version = path.known
            return self.submit(&read.job)
        finally:
            self.leave()

    cdef bint submit(self, dlf_job *job) except -1:
        cdef int rc
        with nogil:
            rc = dlf_ring_submit(self.ring, job)
        if rc:
            job.free(job)
        if rc and rc != DLF_EBUDGET:
            raise code_error(rc)
        return rc == 0

    cdef dlf_job *wait(self) except NULL:
        cdef dlf_job *job = NULL
        cdef int rc = -ETIMEDOUT
        self.enter()
        try:
            while rc == -ETIMEDOUT:
                with nogil:
                    rc = dlf_ring_next(self.ring, WAIT_MS, &job)
                if rc == -ETIMEDOUT:
                    PyErr_CheckSignals()
        finally:
            self.leave()
        if rc == DLF_EEMPTY:
            raise _errors.DlioFastError("nothing was submitted to the ring")
        if rc:
            raise code_error(rc)
        return job

    def next_batch(self, Plan plan not None):
        """Wait for the oldest submission, a batch of that plan."""
        cdef Batch result = Batch.__new__(Batch)
        result.plan = plan
        result.ring = self
        self.enter()
        try:
            result.batch = <dlf_batch *> self.wait()
            result.errors = plan.take_errors(self.ring, result.batch)
        finally:
            self.leave()
        return result

    def next_read(self):
        """Wait for the oldest submission, a read: its Buffer, or the exception that it failed with."""
        cdef dlf_read *read = <dlf_read *> self.wait()
        cdef Buffer buffer
        try:
            if read.fault.code:
                return fault_error(_os.fsdecode(<bytes> read.path), &read.fault)
            dlf_buf_ref(read.buf)
            buffer = wrap_buffer(read.buf, read.data, read.size)
            buffer.crc32 = read.crc
            return buffer
        finally:
            read.job.free(&read.job)

    def stats(self):
        """Counters since the ring was made, see dlf_ring_stats, dlf_io_stats and dlf_cache_stats."""
        if not self.usable():
            return self.final_stats or {}
        self.enter()
        try:
            return self.counters()
        finally:
            self.leave()

    cdef dict counters(self):
        cdef dlf_ring_stats stats
        cdef dlf_cache_stats cache
        memset(&cache, 0, sizeof(cache))
        with nogil:
            dlf_ring_get_stats(self.ring, &stats)
            if self.cache != NULL:
                dlf_cache_get_stats(self.cache, &cache)
        return ring_stats(&stats, &cache)

    def close(self, bint wait=True):
        """Stop the threads and release what is in flight. Calling it again does nothing.

        A reader that is at work is waited for, unless `wait` is False, a signal handler raises or the caller
        is a ring's thread itself: then the rest is done once that has ended.
        """
        cdef int rc = -ETIMEDOUT
        if not self.usable():
            self.closed = True
            return
        self.enter()
        self.closed = True  # before the GIL goes: only one thread gets here, and nobody enters any more
        try:
            with nogil:
                dlf_ring_cancel(self.ring)
            self.final_stats = self.counters()
            while self.decodes and wait and rc == -ETIMEDOUT and not dlf_ring_is_worker():
                with nogil:
                    rc = dlf_ring_await(self.ring, WAIT_MS)
                PyErr_CheckSignals()
        finally:
            self.final_stats = self.counters()
            self.final_stats["cache_bytes"] = 0  # the cache goes with the ring
            self.leave()


cdef dict ring_stats(const dlf_ring_stats *stats, const dlf_cache_stats *cache):
    cdef int i
    reason = None
    if stats.io.fallback_reason != NULL:
        reason = stats.io.fallback_reason.decode()
        if stats.io.fallback_errno:
            reason += f" ({_os.strerror(stats.io.fallback_errno)})"
    return {
        "bytes_read": stats.io.bytes,
        "direct_bytes": stats.io.direct_bytes,
        "staged_bytes": stats.io.staged_bytes,
        "reads": stats.io.reads,
        "files": stats.io.files,
        "retries": stats.io.retries,
        "fallbacks": stats.io.fallbacks,
        "core_samples": stats.io.core_samples,
        "library_samples": stats.io.maker_samples,
        "disk_cache_hits": stats.io.disk_cache_hits,
        "disk_cache_misses": stats.io.disk_cache_misses,
        "disk_cache_bytes": stats.io.disk_cache_bytes,
        "disk_cache_written": stats.io.disk_cache_written,
        "fallback_reason": reason,
        "latency_histogram": [stats.io.latency[i] for i in range(DLF_LATENCY_BUCKETS)],
        "threads": stats.threads,
        "bytes_in_flight": stats.in_flight,
        "peak_bytes_in_flight": stats.peak,
        "queued": stats.queued,
        "delivered": stats.delivered,
        "stall_seconds": stats.stall_ns * 1e-9,
        "cache_hits": cache.hits,
        "cache_misses": cache.misses,
        "cache_bytes": cache.bytes,
        "cache_peak_bytes": cache.peak,
    }
