"""What holds for every test."""

import os

from hypothesis import settings

# Reproducible by default; HYPOTHESIS_PROFILE=default looks for new examples on every run.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# The library is silent by default and the tests rely on it, here and in the processes that they start.
os.environ.pop("DLIO_FAST_LOG", None)
