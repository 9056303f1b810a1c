"""Indexed binary files that are not what they should be: a typed error that names the file, no more."""

import os
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import (
    DataError,
    FormatError,
    NotRegularFileError,
    SampleError,
    TruncatedError,
    UnsupportedError,
)
from tests.faults.doors import peak_memory, prompt
from tests.formats.indexed import random_samples, write_index, write_samples

COUNT, SIZE = 8, 100
SAMPLES = random_samples(COUNT, SIZE)
OFFSETS, SIZES = [i * SIZE for i in range(COUNT)], [SIZE] * COUNT
HUGE = 2**63


def changed(values, at, value):
    return [*values[:at], value, *values[at + 1 :]]


def cut(ending, size):
    return lambda path: os.truncate(f"{path}{ending}", size)


def index(offsets, sizes):
    return lambda path: write_index(path, offsets, sizes)


def replaced_by_folder(path):
    os.unlink(f"{path}.sz.idx")
    os.mkdir(f"{path}.sz.idx")


def replaced_by_fifo(path):
    os.unlink(f"{path}.off.idx")
    os.mkfifo(f"{path}.off.idx")


DAMAGE = {
    "no offsets": (lambda path: os.unlink(f"{path}.off.idx"), FileNotFoundError),
    "no sizes": (lambda path: os.unlink(f"{path}.sz.idx"), FileNotFoundError),
    "no data": (lambda path: os.unlink(path), FileNotFoundError),
    "offsets that are a FIFO": (replaced_by_fifo, NotRegularFileError),
    "sizes that are a folder": (replaced_by_folder, IsADirectoryError),
    "an offset cut in two": (cut(".off.idx", 60), FormatError),
    "a size cut in two": (cut(".sz.idx", 63), FormatError),
    "fewer offsets than sizes": (cut(".off.idx", 56), FormatError),
    "fewer sizes than offsets": (cut(".sz.idx", 8), FormatError),
    "an empty index": (index([], []), (FormatError, SampleError)),
    "fewer samples than the first file": (index(OFFSETS[:-1], SIZES[:-1]), SampleError),
    "more samples than the first file": (index([*OFFSETS, 0], [*SIZES, 5]), SampleError),
    "cut data": (cut("", COUNT * SIZE - 1), TruncatedError),
    "empty data": (cut("", 0), TruncatedError),
    "an offset beyond the end": (index(changed(OFFSETS, 3, COUNT * SIZE + 1), SIZES), TruncatedError),
    "an offset of 2**63": (index(changed(OFFSETS, 3, HUGE), SIZES), TruncatedError),
    "an offset of 2**64 - 1": (index(changed(OFFSETS, 7, 2**64 - 1), SIZES), TruncatedError),
    "a size of 2**63": (index(OFFSETS, changed(SIZES, 5, HUGE)), TruncatedError),
    "a size of 2**64 - 1": (index(OFFSETS, changed(SIZES, 0, 2**64 - 1)), TruncatedError),
    "sizes that wrap around": (index([SIZE] * COUNT, [2**64 - SIZE] * COUNT), TruncatedError),
    "sizes of 2**61 each": (index(OFFSETS, [2**61] * COUNT), TruncatedError),
    "a size one too large": (index(OFFSETS, changed(SIZES, 7, SIZE + 1)), TruncatedError),
    "text": (lambda path: write_text(path), (TruncatedError, SampleError)),
}


def write_text(path):
    for ending in (".off.idx", ".sz.idx"):
        with open(f"{path}{ending}", "w") as half:
            half.write("0123456789abcdef" * 4)


@pytest.fixture(params=DAMAGE)
def case(request, tmp_path):
    damage, error = DAMAGE[request.param]
    good = write_samples(tmp_path / "good.indexed_binary", SAMPLES)
    bad = write_samples(tmp_path / "bad.indexed_binary", SAMPLES)
    damage(bad)
    return good, bad, error


@contextmanager
def cheap():
    """What is done inside takes a second at most, and memory of no declared size."""
    before = peak_memory()
    with prompt():
        yield
    assert peak_memory() - before < 200 << 20


@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_a_bad_file_raises_what_fits_and_names_itself(case, scheme):
    good, bad, error = case
    data = df.Dataset.from_files([f"{scheme}{good}", f"{scheme}{bad}"])
    assert bytes(data[0]["x"]) == SAMPLES[0]
    with cheap(), pytest.raises(error, match=r"bad\.indexed_binary") as caught:
        data[COUNT + 2]
    if isinstance(caught.value, DataError):
        assert caught.value.path == str(bad)
    else:
        assert caught.value.filename == str(bad)


def test_the_rest_of_the_batch_still_comes(case):
    good, bad, error = case
    data = df.Dataset.from_files([good, bad])
    with df.Loader(data, batch_size=2 * COUNT, on_error="skip") as loader:
        (batch,) = [batch["x"] for batch in loader]
    assert [bytes(x) for x in batch] == SAMPLES
    with df.Loader(data, batch_size=2 * COUNT) as loader:
        passing = iter(loader)
        with cheap(), pytest.raises(error):
            next(passing)
        assert [len(batch["x"]) for batch in passing] == [COUNT]


@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_a_bad_first_file_says_so_too(case, scheme):
    _, bad, error = case
    if error is SampleError:  # by itself it is as good as any
        return
    with cheap(), pytest.raises((DataError, OSError), match=r"bad\.indexed_binary"):
        df.Dataset.from_files([f"{scheme}{bad}"])[5]


def test_what_is_wrong_with_the_index_names_its_half(tmp_path):
    path = write_samples(tmp_path / "f", SAMPLES)
    write_index(path, changed(OFFSETS, 5, HUGE), SIZES)
    with pytest.raises(TruncatedError, match=r"f: member '\.off\.idx': .* beyond the end") as caught:
        df.Dataset.from_files(path, format="indexed_binary")[0]
    assert (caught.value.member, caught.value.offset) == (".off.idx", 5 * 8)


def test_more_samples_than_can_be_listed_are_refused_before_they_are(tmp_path):
    path = write_samples(tmp_path / "f", SAMPLES)
    for ending in (".off.idx", ".sz.idx"):
        os.truncate(f"{path}{ending}", 8 * (2**27 + 1))  # sparse
    with cheap(), pytest.raises(UnsupportedError, match="too many samples"):
        df.Dataset.from_files(path, format="indexed_binary")[5]


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["", ".off.idx", ".sz.idx"]),
    st.integers(0, 900),
    st.binary(max_size=9),
    st.booleans(),
    st.sampled_from(["", "direct://"]),
)
def test_whatever_is_changed_gives_a_typed_error_or_the_bytes_that_the_index_names(
    tmp_path_factory, ending, at, new, shorten, scheme
):
    folder = tmp_path_factory.mktemp("changed")
    path = write_samples(folder / "f", SAMPLES)
    with open(f"{path}{ending}", "r+b") as file:
        file.seek(min(at, os.path.getsize(file.fileno())))
        file.write(new)
        if shorten:
            file.truncate()
    data = path.read_bytes()
    offsets, sizes = (np.fromfile(f"{path}{e}", np.uint64).tolist() for e in (".off.idx", ".sz.idx"))
    try:
        dataset = df.Dataset.from_files(f"{scheme}{path}", format="indexed_binary")
        got = [bytes(x) for x in dataset.batch(range(len(dataset)))["x"]]
    except DataError as error:
        assert error.path == str(path)
        listed = [os.path.getsize(f"{path}{e}") for e in (".off.idx", ".sz.idx")]
        fits = all(o + n <= len(data) for o, n in zip(offsets, sizes, strict=False))
        assert listed[0] != listed[1] or listed[0] % 8 or not listed[0] or not fits
    else:
        named = [data[o : o + n] for o, n in zip(offsets, sizes, strict=True)]
        period = next((i for i, offset in enumerate(offsets) if i and not offset), COUNT)
        as_dlio_has_it = offsets == [i % period * SIZE for i in range(COUNT)] and sizes == SIZES
        assert got == (SAMPLES if as_dlio_has_it and data == b"".join(SAMPLES) else named)
