# Stores over HTTP, read and written by the core's own client; see csrc/dlf_http.h.

cdef extern from "dlf_secret.h" nogil:
    ctypedef struct dlf_secret:
        pass
    int dlf_secret_new(const char *id, const char *key, const char *token, int64_t expires, dlf_secret **out)

cdef extern from "dlf_http.h" nogil:
    enum dlf_auth:
        DLF_AUTH_NONE
        DLF_AUTH_S3
        DLF_AUTH_AZURE_KEY
        DLF_AUTH_SAS
        DLF_AUTH_BEARER
    enum dlf_dialect:
        DLF_HTTP
        DLF_S3
        DLF_AZURE
    ctypedef struct dlf_http:
        pass
    ctypedef struct dlf_endpoint_stats:
        uint64_t requests
        uint64_t retries
        uint64_t errors
        uint64_t bytes
        uint64_t connections
        uint64_t *latency
    ctypedef struct dlf_http_options:
        const char *prefix
        const char **urls
        size_t n_urls
        const char *path
        dlf_auth auth
        dlf_dialect dialect
        const char *region
        int (*renew)(void *ctx, dlf_secret **out, dlf_fault *fault) noexcept
        void *renew_ctx
        const char *ca_file
        int verify_tls
        int verify
        int verify_md5
        size_t connections
        uint64_t connect_ns
        uint64_t read_ns
        uint64_t first_ns
        uint64_t retry_ns
        unsigned attempts
    int dlf_http_built()
    void dlf_http_defaults(dlf_http_options *options)
    int dlf_http_new(const dlf_http_options *options, dlf_http **out, dlf_fault *fault)
    void dlf_http_close(dlf_http *http)
    void dlf_http_free(dlf_http *http)
    void dlf_http_abandon(dlf_http *http)
    int dlf_http_put(dlf_http *http, dlf_io *io, const char *address, const void *data, size_t len,
                     dlf_fault *fault)
    size_t dlf_http_endpoints(const dlf_http *http)
    const char *dlf_http_stats(dlf_http *http, size_t i, dlf_endpoint_stats *out)

HTTP_STORE = bool(dlf_http_built())

cdef dict _AUTHS = {  # how requests are authorized, and whose headers they then carry
    "anonymous": (DLF_AUTH_NONE, DLF_S3), "sigv4": (DLF_AUTH_S3, DLF_S3),
    "sharedkey": (DLF_AUTH_AZURE_KEY, DLF_AZURE), "sas": (DLF_AUTH_SAS, DLF_AZURE),
    "bearer": (DLF_AUTH_BEARER, DLF_AZURE),
}


cdef uint64_t nanoseconds(str name, double seconds) except? 0:
    if not 0 < seconds < 1e6:
        raise ValueError(f"{name} is {seconds}, which is no number of seconds to wait")
    return <uint64_t> (seconds * 1e9)


cdef bytes c_text(str name, object text):
    """A setting as C takes it; what could end a header's line is refused."""
    cdef bytes encoded = (text or "").encode()
    if any(byte < 32 or byte == 127 for byte in encoded):
        raise ValueError(f"{name} holds a control character")
    return encoded


cdef class HttpStore(Store):
    """An object store that the core reads and writes over HTTP/1.1, for this process alone.

    Parameters
    ----------
    prefix : str
        What addresses begin with and what is cut off: ``s3://bucket/``.
    endpoints : sequence of str
        ``http[s]://host[:port]``; requests are spread over them.
    path : str
        What stands before the key in the URL: ``/bucket/`` or ``/``.
    auth : {'sigv4', 'sharedkey', 'sas', 'bearer', 'anonymous'}
    region : str, optional
        Of the bucket, for ``sigv4``.
    account : str, optional
        Azure's; with one, ``anonymous`` requests are made for Azure, too.
    credentials : callable, optional
        Returns a dict: ``access_key_id``, ``secret_access_key`` and ``session_token`` (or None);
        ``account_key``; ``sas_token``; or ``bearer``; and ``expires``, seconds since 1970, or None. It is
        called when there are none, five minutes before they expire, and when the store calls them expired.
        What it raises is shown to the user.
    ca_file : str, optional
        The certificates to trust instead of the system's.
    verify_tls : bool
        False takes any certificate.
    verify : bool
        Compare objects that are read from beginning to end with the checksum the store keeps (CRC-32C).
    verify_md5 : bool
        With its MD5 (Content-MD5), too, where it tells no other: takes 1.5 CPU-seconds a GB.
    connections : int
        How many are kept open to each endpoint.
    connect_timeout, read_timeout : float
        Seconds to connect, and without progress.
    first_timeout, retry_timeout : float
        Seconds of retrying without progress: before the store has ever answered, and later.
    attempts : int
        The same, counted.

    Raises
    ------
    StoreError, ValueError
    """

    cdef dlf_http *http
    cdef object credentials, account
    cdef readonly str prefix

    def __init__(self, *, str prefix, endpoints, str path="/", str auth="anonymous", region=None, account=None,
                 credentials=None, ca_file=None, bint verify_tls=True, bint verify=True, bint verify_md5=False,
                 size_t connections=64,
                 double connect_timeout=5, double read_timeout=10, double first_timeout=6,
                 double retry_timeout=45, unsigned attempts=10):
        cdef dlf_http_options options
        cdef dlf_fault fault
        cdef const char *urls[64]
        cdef bytes c_prefix = c_text("prefix", prefix), c_url_path = c_text("path", path)
        cdef bytes c_region = c_text("region", region), c_ca = b"" if ca_file is None else c_path(ca_file)
        cdef list encoded = [c_text("an endpoint", url) for url in endpoints]
        cdef int rc
        cdef size_t i
        if self.http != NULL:
            raise ValueError("the store is open")
        if auth not in _AUTHS:
            raise ValueError(f"auth is {auth!r}, not one of {', '.join(_AUTHS)}")
        if len(encoded) > 64:
            raise ValueError("more than 64 endpoints")
        if auth != "anonymous" and credentials is None:
            raise ValueError(f"auth {auth!r} needs credentials")
        for i in range(<size_t> len(encoded)):
            urls[i] = <bytes> encoded[i]
        dlf_http_defaults(&options)
        options.prefix, options.path = c_prefix, c_url_path
        options.urls, options.n_urls = urls, len(encoded)
        options.auth, options.dialect = _AUTHS[auth]
        if account:
            options.dialect = DLF_AZURE
        if region:
            options.region = c_region
        if auth != "anonymous":
            self.credentials, self.account = credentials, account
            options.renew, options.renew_ctx = http_renew, <void *> self
        if ca_file is not None:
            options.ca_file = c_ca
        options.verify_tls, options.verify, options.verify_md5 = verify_tls, verify, verify_md5
        options.connections, options.attempts = connections, attempts
        options.connect_ns = nanoseconds("connect_timeout", connect_timeout)
        options.read_ns = nanoseconds("read_timeout", read_timeout)
        options.first_ns = nanoseconds("first_timeout", first_timeout)
        options.retry_ns = nanoseconds("retry_timeout", retry_timeout)
        self.prefix = prefix
        dlf_fault_clear(&fault)
        with nogil:
            rc = dlf_http_new(&options, &self.http, &fault)
        if rc == -EINVAL:
            raise ValueError(f"{fault.what.decode()}: {', '.join(map(repr, endpoints))}")
        if rc:
            raise fault_error(prefix, &fault)
        self.store = <dlf_store *> self.http

    def __dealloc__(self):
        if self.http != NULL:
            dlf_http_free(self.http)

    def __repr__(self):
        return f"<HttpStore {self.prefix}>"

    cdef int check(self) except -1:
        if self.http == NULL:
            raise _errors.ClosedError("the store was never opened")
        return 0

    def read(self, str address, uint64_t offset=0, length=None, *, Pool pool not None, size=None,
             uint64_t version=0):
        """A range of an object, by default the rest of it, as a Buffer.

        With the size known, and maybe the version, no request is made to learn them.
        """
        cdef dlf_fault fault
        cdef dlf_file file
        cdef dlf_io io
        cdef dlf_hint hint
        cdef dlf_buf *buf = NULL
        cdef bytes encoded = c_path(address)
        cdef const char *c_address = encoded
        cdef bint rest = length is None
        cdef uint64_t n = 0 if rest else length
        cdef int rc
        self.check()
        hint.size, hint.version = <uint64_t> -1 if size is None else size, version
        dlf_fault_clear(&fault)
        rc = dlf_io_init(&io, NULL)
        if rc:
            raise code_error(rc)
        io.interrupted = interrupted
        dlf_io_use(&io, self.store)
        with nogil:
            rc = dlf_file_open_known(&file, &io, c_address, 0, &hint, &fault)
            if rc == 0:
                if rest and offset <= file.size:
                    n = file.size - offset
                if offset > file.size or n > file.size - offset:
                    rc = dlf_fail(&fault, DLF_ETRUNCATED, file.size, "the object ends before the range asked for")
                if rc == 0:
                    rc = dlf_pool_get(pool.pool, n, &buf)
                    if rc:
                        dlf_fail(&fault, rc, 0, "out of memory")
                if rc == 0:
                    rc = dlf_file_read(&file, &io, offset, buf.data, n, NULL, &fault)
                dlf_file_close(&file)
            dlf_io_free(&io)
        if rc:
            if buf != NULL:
                dlf_buf_unref(buf)
            raise_pending()
            raise fault_error(address, &fault)
        return wrap_buffer(buf, buf.data, n)

    def put(self, str address, const unsigned char[::1] data not None):
        """Write an object in one request, with a checksum where the store takes one."""
        cdef dlf_fault fault
        cdef dlf_io io
        cdef bytes encoded = c_path(address)
        cdef const char *c_address = encoded
        cdef size_t n = data.shape[0]
        cdef const unsigned char *p = &data[0] if n else <const unsigned char *> b""
        cdef int rc
        self.check()
        memset(&io, 0, sizeof(io))
        io.interrupted = interrupted
        dlf_fault_clear(&fault)
        with nogil:
            rc = dlf_http_put(self.http, &io, c_address, p, n, &fault)
        if rc:
            raise_pending()
            raise fault_error(address, &fault)

    def stats(self):
        """For each endpoint (``host[:port]``) what was counted; ``latency`` as in the ring's statistics."""
        cdef dlf_endpoint_stats stats
        cdef size_t i
        self.check()
        counted = {}
        for i in range(dlf_http_endpoints(self.http)):
            name = dlf_http_stats(self.http, i, &stats).decode()
            counted[name] = {
                "requests": stats.requests, "retries": stats.retries, "errors": stats.errors,
                "bytes": stats.bytes, "connections": stats.connections,
                "latency": [stats.latency[k] for k in range(DLF_LATENCY_BUCKETS)],
            }
        return counted

    def close(self):
        """Refuse further calls. Connections end with the store's last user."""
        if self.http != NULL:
            dlf_http_close(self.http)

    def abandon(self):
        """In a forked child: close what was inherited of the parent's sockets, without a word to the servers."""
        if self.http != NULL:
            dlf_http_abandon(self.http)


cdef int http_renew(void *ctx, dlf_secret **out, dlf_fault *fault) noexcept with gil:
    cdef HttpStore store = <HttpStore> ctx
    cdef bytes key_id, key, token
    cdef int64_t expires
    cdef int rc
    try:
        given = store.credentials()
        key_id = c_text("the access key", given.get("access_key_id") or store.account)
        key = c_text("the secret key", given.get("secret_access_key") or given.get("account_key"))
        token = c_text("the token", given.get("session_token") or given.get("sas_token") or given.get("bearer"))
        expires = int(given.get("expires") or 0)
        rc = dlf_secret_new(key_id, key, token, expires, out)
        return dlf_fail(fault, rc, 0, "out of memory") if rc else 0
    except BaseException as error:
        rc = callback_failed(error, 0, "no credentials can be had", fault)
        if rc == DLF_ESTORE:
            fault.code = rc = -EACCES
        return rc
