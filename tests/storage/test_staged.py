"""Files written past the page cache by a file object: the same bytes as any other file."""

import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlio_fast.storage import staged
from dlio_fast.storage.staged import StagedFile

SIZES = st.integers(0, 3 * 16384) | st.sampled_from([1, 4095, 4096, 4097, 16384, 32768])
ACTIONS = st.one_of(
    st.tuples(st.just("write"), SIZES),
    st.tuples(st.just("read"), SIZES),
    st.tuples(st.just("seek"), SIZES),
    st.tuples(st.just("append"), SIZES),
    st.tuples(st.just("truncate"), SIZES),
    st.tuples(st.just("flush"), st.just(0)),
)


def staged_file(path, count=lambda nbytes: None):
    try:
        return StagedFile(str(path), count)
    except OSError as error:
        pytest.skip(f"no O_DIRECT here: {error}")


def act(file, action, size, data):
    if action == "write":
        return file.write(data[:size])
    if action == "read":
        return file.read(size)
    if action == "seek":
        return file.seek(size)
    if action == "append":
        file.seek(0, os.SEEK_END)
        return file.write(data[-size:])
    if action == "truncate":
        # BytesIO, unlike files, does not grow
        end = file.seek(0, os.SEEK_END)
        return file.truncate(min(size, end))
    return file.flush()


@settings(max_examples=150, deadline=None)
@given(actions=st.lists(ACTIONS, max_size=12))
def test_whatever_is_done_with_it_the_bytes_are_those_of_a_plain_file(tmp_path_factory, actions):
    path = tmp_path_factory.mktemp("staged") / "file"
    data = np.random.default_rng(len(actions)).bytes(3 * 16384)
    plain = io.BytesIO()
    before, staged.STAGE = staged.STAGE, 16384
    try:
        with staged_file(path) as file:
            for action, size in actions:
                assert act(file, action, size, data) == act(plain, action, size, data)
                assert file.tell() == plain.tell()
    finally:
        staged.STAGE = before
    assert path.read_bytes() == plain.getvalue()


def test_large_writes_go_past_the_page_cache(tmp_path):
    counted = []
    with staged_file(tmp_path / "file", counted.append) as file:
        file.write(bytes(staged.STAGE + 1))
    assert file.fallback_reason is None
    assert sum(counted) == staged.STAGE + staged.GRAIN
    assert (tmp_path / "file").stat().st_size == staged.STAGE + 1


def test_growing_leaves_zeros(tmp_path):
    with staged_file(tmp_path / "file") as file:
        file.write(b"x")
        assert file.truncate(10_000) == 10_000
        assert file.tell() == 1
        file.seek(20_000)
        file.write(b"y")
    assert (tmp_path / "file").read_bytes() == b"x" + bytes(19_999) + b"y"


def test_what_stops_the_writing_is_remembered(tmp_path):
    def stop(nbytes):
        raise KeyError("stop")

    file = staged_file(tmp_path / "file", stop)
    with pytest.raises(KeyError):
        file.write(bytes(staged.STAGE))
    assert isinstance(file.failure, KeyError)
    file.close()  # says nothing more
