# Rings whose threads call into Python: how they end, and the interpreter with them.

import atexit as _atexit
import _thread
import time as _time
import weakref as _weakref

# How long the exit of the interpreter waits for what is being decoded.
cdef enum:
    EXIT_SECONDS = 5

# Rings whose threads call into Python, and what is left of those that went while they did so.
_decoding = _weakref.WeakSet()
_remains = set()
_os.register_at_fork(after_in_child=_remains.clear)


@_atexit.register
def _close_decoding():
    """Let no thread of a ring's be in Python when the interpreter goes; but wait for none for ever."""
    cdef Ring ring
    begun = _time.monotonic()
    rings = [ring for ring in list(_decoding) if ring.mine()]
    for ring in rings:
        ring.close(wait=False)
    # Another thread may be in a call of the ring's, and releases it when it comes back.
    while _remains or not all([ring.released() for ring in rings]):
        if _time.monotonic() - begun > EXIT_SECONDS:
            break
        _time.sleep(0.001)


cdef class _Remains:
    """A ring that is to be freed when its readers have come back."""

    cdef dlf_ring *ring
    cdef dlf_cache *cache
    cdef object pool
    cdef object plans
    cdef object stores

    def free(self):
        """Await the threads, and free all."""
        with nogil:
            while dlf_ring_await(self.ring, WAIT_MS):
                pass
        forget_errors(self.ring, self.plans)
        with nogil:
            dlf_ring_free(self.ring)
            dlf_cache_free(self.cache)
        self.pool = self.plans = self.stores = None
        _remains.discard(self)


cdef void release_elsewhere(dlf_ring *ring, dlf_cache *cache, pool, plans, stores) noexcept:
    cdef _Remains remains = _Remains.__new__(_Remains)
    remains.ring = ring
    remains.cache = cache
    remains.pool = pool
    remains.plans = plans
    remains.stores = stores
    _remains.add(remains)
    try:
        _thread.start_new_thread(remains.free, ())
    except RuntimeError:  # the interpreter goes, or there are no threads: then it stays
        pass


cdef void forget_errors(dlf_ring *ring, plans) noexcept:
    cdef Plan plan
    for plan in plans:
        plan.forget_errors(ring)
