"""Configurations: DLIO's YAML, Hydra's overrides, one typed, validated, immutable result.

>>> cfg = load_config("quickstart", ["reader.batch_size=4"])
>>> cfg.dataset.num_files_train, cfg.dataset.record_nbytes, cfg.reader.batch_size
(64, 4194304, 4)
"""

from .address import backend_of, folder_of, is_remote, split_address
from .load import ConfigWarning, load_config
from .overrides import Override, parse_override, parse_value
from .schema import Config
from .times import TimeSpec
from .workloads import bundled_dir, find_workload, list_workloads

__all__ = [
    "Config",
    "ConfigWarning",
    "Override",
    "TimeSpec",
    "backend_of",
    "bundled_dir",
    "find_workload",
    "folder_of",
    "is_remote",
    "list_workloads",
    "load_config",
    "parse_override",
    "parse_value",
    "split_address",
]
