"""What holds for every test."""

import os
import signal

from hypothesis import settings

# Reproducible by default; HYPOTHESIS_PROFILE=default looks for new examples on every run.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# The library is silent by default and the tests rely on it, here and in the processes that they start.
os.environ.pop("DLIO_FAST_LOG", None)

# A shell starts what runs in its background with Ctrl-C ignored, and the processes that tests press it in
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
