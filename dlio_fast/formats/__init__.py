"""What a sample is in each file format, one file a format."""

from .base import (
    LABEL,
    PAYLOAD,
    FieldSpec,
    FileSpec,
    Format,
    Role,
    format_for,
    format_named,
    format_names,
    register,
    suffixes,
)
from .decoding import Block, DecodedFormat

__all__ = [
    "LABEL",
    "PAYLOAD",
    "Block",
    "DecodedFormat",
    "FieldSpec",
    "FileSpec",
    "Format",
    "Role",
    "format_for",
    "format_named",
    "format_names",
    "register",
    "suffixes",
]
