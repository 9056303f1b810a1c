# From the core's return codes to the exception family.

import errno as _errno
import os as _os

from dlio_fast import errors as _errors

cdef dict _DOMAIN_ERRORS = {
    DLF_EFORMAT: _errors.FormatError,
    DLF_ETRUNCATED: _errors.TruncatedError,
    DLF_ECHECKSUM: _errors.ChecksumError,
    DLF_EUNSUPPORTED: _errors.UnsupportedError,
    DLF_EMEMBER: _errors.MemberError,
    DLF_ECHANGED: _errors.FileChangedError,
    DLF_ENOTREGULAR: _errors.NotRegularFileError,
    DLF_ESAMPLE: _errors.SampleError,
}


cdef object fault_error(object path, const dlf_fault *fault):
    """The exception for a fault of the file at path (str)."""
    cdef str what = fault.what.decode() if fault.what != NULL else ""
    cdef str member = (<bytes> fault.member).decode("utf-8", "replace")
    if fault.detail[0]:
        what += ": " + (<bytes> fault.detail).decode("utf-8", "replace")
    where = f"{path}: member {member!r}" if member else f"{path}"
    if fault.code in _DOMAIN_ERRORS:
        return _DOMAIN_ERRORS[fault.code](
            f"{where}: {what} (at byte {fault.offset})", path, member or None, fault.offset)
    if fault.code == DLF_ECANCELLED:
        return _errors.ClosedError(f"{where}: reading was cancelled")
    if fault.code == DLF_ESTORE:
        return _errors.StoreError(_errno.EIO, what, path)
    return _errors.os_error(-fault.code, f"{_os.strerror(-fault.code)}: {what}", path)


cdef object code_error(int code):
    """The exception for a bare code that no file stands behind."""
    if code == -ENOMEM:
        return MemoryError("the core could not allocate memory")
    if code == DLF_ECANCELLED:
        return _errors.ClosedError("the ring was closed")
    if code > -4096:
        return _errors.os_error(-code, _os.strerror(-code), None)
    return _errors.DlioFastError(f"the core failed with code {code}")


cdef inline bytes c_path(object path):
    """A file-system path as the kernel takes it."""
    cdef bytes encoded = _os.fsencode(path)
    if b"\0" in encoded:
        raise _errors.FormatError(f"{path!r}: a path cannot hold a NUL character", str(path))
    return encoded
