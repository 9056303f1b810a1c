# What batches are read from, and the way from the ring's threads into Python for what is decoded there.

import numpy as _np

# Threads of a ring that is garbage, too, may still read from it when the collector comes.
@cython.no_gc_clear
cdef class Plan:
    """What a data set's batches are read from; see csrc/dlf_plan.h.

    Parameters
    ----------
    container : str
        What of the core reads the files: "npz", "npy"; "maker": `reader` alone does.
    root, names : bytes
        File i is ``root + names[offsets[i]:]`` up to the next NUL byte.
    offsets : buffer of uint64
    fields : sequence of (member, descr, itemsize, shape)
        Member name (bytes, with ``.npy``), dtype literal (bytes), and a sample's shape.
    sample_axis : int or None
    store : RemoteStore, optional
        Where the paths lead; default: they are local.
    sizes, versions : buffer of uint64, optional
        Of the files, where known: in bytes, and as :func:`etag_version` has them.
    reader : object, optional
        For what the core cannot read by itself: its method ``read(task)`` is called with a :class:`Task` on
        the ring's threads, and returns for each field an array of the samples, (len(task.samples), *shape),
        or a list of arrays that may differ; or it hands them over bit by bit with ``task.put`` and returns
        None. What it raises becomes the failure of these samples.

        Where the container has to be told where a file's samples lie, `reader` has a method ``learn(task)``
        as well, which returns the bytes of the file's description (see its header in csrc).
    """

    cdef dlf_plan plan
    cdef dlf_field *fields
    cdef object keep
    cdef object leads_to
    cdef Store store
    cdef const uint64_t[::1] offsets
    cdef const uint64_t[::1] sizes
    cdef const uint64_t[::1] versions
    cdef readonly object reader
    cdef dict errors        # of the reader: by ring, then by job and file; on their way to the Batch

    def __cinit__(self, *, str container, bytes root, bytes names, const uint64_t[::1] offsets, fields,
                  uint64_t samples_per_file, sample_axis=None, bint direct=False, bint verify=True,
                  bint ragged=False, reader=None, store=None, const uint64_t[::1] sizes=None,
                  const uint64_t[::1] versions=None):
        cdef bytes name = container.encode()
        cdef size_t f
        cdef int d
        fields = list(fields)
        self.keep = (root, names, fields)
        self.offsets = offsets
        self.fields = <dlf_field *> calloc(len(fields) + 1, sizeof(dlf_field))
        if self.fields == NULL:
            raise MemoryError
        for f, (member, descr, itemsize, shape) in enumerate(fields):
            if len(shape) > DLF_NPY_MAX_DIMS:
                raise ValueError(f"{len(shape)} dimensions are more than numpy's {DLF_NPY_MAX_DIMS}")
            self.fields[f].member = <const char *> member
            self.fields[f].member_len = len(member)
            self.fields[f].descr = <const char *> descr
            self.fields[f].descr_len = len(descr)
            self.fields[f].itemsize = itemsize
            self.fields[f].ndim = len(shape)
            self.fields[f].sample_bytes = itemsize
            for d in range(len(shape)):
                self.fields[f].shape[d] = shape[d]
                self.fields[f].sample_bytes *= <size_t> shape[d]
        self.plan.container = dlf_container_named(name)
        if self.plan.container == NULL:
            raise ValueError(f"the core has no container {container!r}")
        if reader is None and container == "maker":
            raise ValueError("the container 'maker' needs a reader")
        self.reader = reader
        self.errors = {}
        if self.plan.container.describe != NULL and not hasattr(reader, "learn"):
            raise ValueError(f"the container {container!r} needs a reader that learns where samples lie")
        self.plan.read = read_with_reader
        self.plan.learn = learn_with_reader
        self.plan.maker = <void *> self
        if (sizes is not None and len(sizes) != len(offsets)) or (
                versions is not None and len(versions) != len(offsets)):
            raise ValueError("sizes and versions are one for each file")
        self.leads_to, self.sizes, self.versions = store, sizes, versions
        self.store = None if store is None else <Store?> store.core()
        self.plan.store = pointer_of(self.store)
        self.plan.sizes = &sizes[0] if sizes is not None and len(sizes) else NULL
        self.plan.versions = &versions[0] if versions is not None and len(versions) else NULL
        self.plan.direct = direct
        self.plan.verify = verify
        self.plan.ragged = ragged
        self.plan.has_axis = sample_axis is not None
        self.plan.axis = sample_axis or 0
        self.plan.samples_per_file = samples_per_file
        self.plan.root = <const char *> root
        self.plan.names = <const char *> names
        self.plan.n_files = offsets.shape[0]
        self.plan.offsets = &offsets[0] if offsets.shape[0] else NULL
        self.plan.fields = self.fields
        self.plan.n_fields = len(fields)
        if dlf_plan_new_tables(&self.plan):
            raise MemoryError

    def __dealloc__(self):
        dlf_plan_free_tables(&self.plan)
        free(self.fields)

    def path(self, uint64_t file):
        """The path of a file of the plan: str, or a RemotePath."""
        cdef bytes name = self.plan.root
        name += self.plan.names + self.plan.offsets[file]
        path = _os.fsdecode(name)
        return path if self.leads_to is None else self.leads_to.path(path)

    def batch_bytes(self, size_t n):
        """Bytes that a batch of n samples occupies; 0 where each sample has a buffer of its own."""
        cdef size_t size = dlf_batch_bytes(&self.plan, n)
        return dlf_pool_capacity(size) if size else 0

    def file_bytes(self):
        """Bytes of a ring's cache that a file like the first takes."""
        return dlf_plan_file_bytes(&self.plan)

    cdef int keep_error(self, dlf_task *task, error) except -1:
        self.errors.setdefault(<size_t> task.worker.ring, {})[(<size_t> task.job, task.file)] = error
        return 0

    cdef dict take_errors(self, dlf_ring *ring, dlf_batch *batch):
        """Of a batch that is delivered: file -> what the reader has raised."""
        cdef size_t t
        cdef dict taken = {}
        of_ring = self.errors.get(<size_t> ring)
        for t in range(batch.job.tasks if of_ring else 0):
            if batch.tasks[t].fault.code == DLF_EMAKER:
                taken[batch.tasks[t].file] = of_ring.pop((<size_t> &batch.job, batch.tasks[t].file), None)
        return taken

    cdef int forget_errors(self, dlf_ring *ring) except -1:
        """Of batches that nobody has taken."""
        self.errors.pop(<size_t> ring, None)
        return 0


cdef class Task:
    """Samples of one file that a plan's reader is asked for. Valid during the call only.

    Attributes
    ----------
    file : int
        Number of the file in the plan.
    path : str
    samples : list of int
        Which of the file's, ascending; the same may come twice.
    """

    cdef dlf_task *task
    cdef File opened
    cdef size_t done
    cdef readonly uint64_t file
    cdef readonly object path
    cdef readonly list samples

    def open(self):
        """The file, opened when first asked for; past the page cache where the plan says so."""
        if self.opened is None:
            if self.task == NULL:
                raise _errors.ClosedError(f"{self.path}: the task has ended")
            file = File.__new__(File)
            (<File> file).open_of_task(self.task, self.path)
            self.opened = file
        return self.opened

    def put(self, size_t count, fields):
        """Bring the next samples to their places: for each field as a reader returns them."""
        if self.task == NULL:
            raise _errors.ClosedError(f"{self.path}: the task has ended")
        if count > self.task.count - self.done:
            raise _errors.SampleError(f"{self.path}: more samples were decoded than asked for", self.path)
        put_fields(self.task, <Plan> self.task.plan.maker, self.path, self.done, count, fields)
        self.done += count

    cdef int put_all(self, fields) except -1:
        if fields is not None:
            self.put(self.task.count, fields)
        if self.done != self.task.count:
            raise _errors.SampleError(
                f"{self.path}: {self.task.count} samples were asked for, {self.done} were decoded", self.path)
        return 0

    cdef int end(self) except -1:
        self.task = NULL
        if self.opened is not None:
            self.opened.close()
        return 0


cdef int read_with_reader(dlf_task *task, dlf_fault *fault) noexcept with gil:
    cdef Plan plan = <Plan> task.plan.maker
    try:
        read_with_plan(task, plan)
        return 0
    except BaseException as error:
        return reader_failed(task, plan, error, fault)


cdef int learn_with_reader(dlf_task *task, dlf_table **table, dlf_fault *fault) noexcept with gil:
    cdef Plan plan = <Plan> task.plan.maker
    cdef bytes description
    try:
        description = learn_with_plan(task, plan)
    except BaseException as error:
        return reader_failed(task, plan, error, fault)
    return plan.plan.container.describe(&plan.plan, <const char *> description, len(description), table, fault)


cdef int reader_failed(dlf_task *task, Plan plan, error, dlf_fault *fault) noexcept:
    dlf_fail(fault, DLF_EMAKER, 0, "the reader failed")
    try:
        plan.keep_error(task, as_raised(error, plan.path(task.file)))
    except BaseException:  # no memory for it; Batch.failures() says so
        pass
    return DLF_EMAKER


cdef int read_with_plan(dlf_task *task, Plan plan) except -1:
    cdef Task asked = task_for(task, plan)
    try:
        asked.put_all(plan.reader.read(asked))
    finally:
        asked.end()
    return 0


cdef bytes learn_with_plan(dlf_task *task, Plan plan):
    cdef Task asked = task_for(task, plan)
    try:
        return plan.reader.learn(asked)
    finally:
        asked.end()


cdef Task task_for(dlf_task *task, Plan plan):
    cdef Task asked = Task.__new__(Task)
    cdef size_t i
    asked.task = task
    asked.file = task.file
    asked.path = plan.path(task.file)
    asked.samples = [task.places[i].index for i in range(task.count)]
    return asked


cdef object as_raised(error, path):
    """What the consumer is to see of a reader's exception."""
    if isinstance(error, _errors.DlioFastError):
        return error
    if isinstance(error, StopIteration):  # would be taken for the end of the epoch
        stopped, error = error, RuntimeError("the format's reader raised StopIteration")
        error.__cause__ = stopped
    error.add_note(f"in reading {path}")
    return error


cdef int put_fields(dlf_task *task, Plan plan, path, size_t first, size_t count, fields) except -1:
    """Bring what a reader has decoded to `count` places from the first on."""
    cdef size_t f, found, i
    if <size_t> len(fields) != plan.plan.n_fields:
        raise _errors.SampleError(
            f"{path}: {plan.plan.n_fields} fields were asked for, {len(fields)} were decoded", path)
    cdef dlf_layout layout
    cdef dlf_fault fault
    cdef int rc = 0
    cdef size_t[::1] addresses = _np.zeros(plan.plan.n_fields + 1, _np.uintp)
    cdef list kept = []
    for f in range(plan.plan.n_fields):
        values = fields[f]
        found = len(values)
        if found != count:
            raise _errors.SampleError(
                f"{path}: {count} samples were asked for, {found} were decoded", path)
        if not isinstance(values, _np.ndarray):
            for i in range(found):
                put_samples(task, plan, path, f, first + i, _np.asarray(values[i])[_np.newaxis])
        elif is_like_plan(plan, f, values):
            values = _np.ascontiguousarray(values)
            kept.append(values)
            addresses[f] = address_of(values)
        else:
            put_samples(task, plan, path, f, first, values)
    if not count:
        return 0
    dlf_fault_clear(&fault)
    with nogil:  # once: with many fields, threads would mostly wait for each other
        for f in range(plan.plan.n_fields):
            if addresses[f]:
                dlf_plan_sample(&plan.plan, f, &layout)
                rc = dlf_task_put(task, first, count, f, &layout, <const void *> addresses[f], &fault)
                if rc:
                    break
    if rc:
        raise fault_error(path, &fault)
    return 0


cdef bint is_like_plan(Plan plan, size_t f, samples) except -1:
    """Whether samples are as those of the first file."""
    member, descr, itemsize, shape = plan.keep[2][f]
    return samples.shape[1:] == shape and not samples.dtype.hasobject and dtype_literal(samples.dtype) == descr


def dtype_literal(dtype):
    """A dtype as a field's descr has it, bytes: as the header of an .npy file does."""
    return (dtype.str if dtype.names is None else repr(_np.lib.format.dtype_to_descr(dtype))).encode()


cdef size_t address_of(samples) except? 0:
    """Where an array that lies in one piece begins; ``samples.ctypes`` takes three times as long."""
    cdef Py_buffer view
    cdef size_t address
    if samples.dtype.kind in "mMV":  # no buffer has the first two; of structures it describes each field
        return samples.ctypes.data
    PyObject_GetBuffer(samples, &view, PyBUF_SIMPLE)
    address = <size_t> view.buf
    PyBuffer_Release(&view)
    return address


cdef int put_samples(dlf_task *task, Plan plan, path, size_t f, size_t first, samples) except -1:
    cdef dlf_layout layout
    cdef dlf_fault fault
    cdef bytes descr = dtype_literal(samples.dtype)
    cdef size_t count = len(samples), address
    cdef int rc, d
    cdef bint like_plan = is_like_plan(plan, f, samples)
    if samples.dtype.names is not None and not like_plan:
        raise _errors.SampleError(
            f"{path}: decoded samples have dtype {samples.dtype}, unlike those of the first file", path)
    if samples.dtype.hasobject or len(descr) >= DLF_DESCR_MAX or samples.ndim - 1 > DLF_NPY_MAX_DIMS:
        raise _errors.UnsupportedError(f"{path}: decoded samples have dtype {samples.dtype}", path)
    samples = _np.ascontiguousarray(samples)
    address = address_of(samples)
    dlf_plan_sample(&plan.plan, f, &layout)
    if not like_plan:
        layout.expected = 0
        layout.ndim = samples.ndim - 1
        for d in range(layout.ndim):
            layout.shape[d] = samples.shape[d + 1]
        layout.itemsize = samples.dtype.itemsize
        layout.sample_bytes = samples.nbytes // count
        layout.descr_len = len(descr)
        memcpy(layout.descr, <const char *> descr, len(descr))
    dlf_fault_clear(&fault)
    with nogil:
        rc = dlf_task_put(task, first, count, f, &layout, <const void *> address, &fault)
    if rc:
        raise fault_error(path, &fault)
    return 0
