"""All cases, by name. A framework is imported when a case of its is made: none is in another's way."""

from __future__ import annotations

import importlib

from .runner import Case

CASES = {
    "npz_warm": "cases",
    "npz_cold": "cases",
    "npz_large": "cases",
    "npy_small": "cases",
    "npz_deflated": "cases",
    "torch_warm": "cases",
    "torch_small": "torch_cases",
    "torch_wrapper": "torch_cases",
    "torch_direct": "torch_cases",
    "torch_peers": "torch_cases",
    "first_batch": "cases",
    "generation": "cases",
    "fill": "cases",
    "parquet_records": "parquet_cases",
    "parquet_flux": "parquet_cases",
    "parquet_dlrm": "parquet_cases",
    "parquet_dlrm_wide": "parquet_cases",
    "parquet_generation": "parquet_cases",
    "tensorflow_warm": "tensorflow_cases",
    "jax_warm": "jax_cases",
    "jpeg_torch": "image_cases",
    "generate_jpeg": "image_cases",
    "generate_png": "image_cases",
    "generate_csv": "image_cases",
    "tfrecord_warm": "tfrecord_cases",
    "tfrecord_cold": "tfrecord_cases",
    "tfrecord_generation": "tfrecord_cases",
    "hdf5_warm": "hdf5_cases",
    "hdf5_gzip": "hdf5_cases",
    "hdf5_cold": "hdf5_cases",
    "hdf5_generation": "hdf5_cases",
    "dali_npy": "dali_cases",
    "dali_tfrecord": "dali_cases",
    "indexed_random": "indexed_cases",
    "indexed_generation": "indexed_cases",
    "s3_http": "remote_cases",
    "s3_tls": "remote_cases",
    "s3_large": "remote_cases",
    "s3_large_tls": "remote_cases",
    "s3_radosgw": "remote_cases",
    "azure": "remote_cases",
    "s3_small": "remote_cases",
    "s3_ranges": "remote_cases",
    "s3_npz": "remote_cases",
    "s3_upload": "remote_cases",
}


def make(name: str) -> Case:
    """Make a case: its files and its contenders."""
    case: Case = getattr(importlib.import_module(f".{CASES[name]}", __package__), name)()
    return case
