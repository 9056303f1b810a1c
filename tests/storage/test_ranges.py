"""Several ranges of a file, read together."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlio_fast import _core
from dlio_fast.errors import TruncatedError
from dlio_fast.storage.memory import shared_pool

SIZE = 50_000
DATA = np.random.default_rng(1).bytes(SIZE)


@pytest.mark.parametrize("direct", [False, True])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(ranges=st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, 9000)), max_size=8))
def test_ranges_come_in_their_order(tmp_path, direct, ranges):
    (tmp_path / "file").write_bytes(DATA)
    ranges = [(offset, min(length, SIZE - offset)) for offset, length in ranges]
    with _core.File(tmp_path / "file", shared_pool(), direct=direct) as file:
        buffer, places = file.read_ranges(ranges)
    for place, (offset, length) in zip(places, ranges, strict=True):
        assert bytes(memoryview(buffer)[place : place + length]) == DATA[offset : offset + length]


@pytest.mark.parametrize("bad", [(0, SIZE + 1), (SIZE + 1, 0), (1, 2**63), (2**63, 2**63)])
def test_a_range_beyond_the_file_is_refused_before_anything_is_read(tmp_path, bad):
    (tmp_path / "file").write_bytes(DATA)
    with _core.File(tmp_path / "file", shared_pool()) as file, pytest.raises(TruncatedError):
        file.read_ranges([(0, 10), bad])
