"""From files to batches: the data set, the order of its samples, and the loader that delivers them."""

from .dataset import Dataset
from .loader import Loader
from .sampler import Sampler

__all__ = ["Dataset", "Loader", "Sampler"]
