"""What a sample is in each file format, one file a format."""

from .base import FieldSpec, FileSpec, Format, format_for, format_named, format_names

__all__ = ["FieldSpec", "FileSpec", "Format", "format_for", "format_named", "format_names"]
