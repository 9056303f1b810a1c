"""Formats that Python decodes: the same samples, orders, errors and bounds as any other."""

import pickle
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import FileChangedError, FormatError, SampleError, TruncatedError, UnsupportedError
from dlio_fast.formats import FieldSpec
from dlio_fast.formats.decoding import BlockCache
from tests.formats.records import Records, write_folder, write_records


@pytest.fixture
def folder(tmp_path):
    """Four files of six samples, two a block."""
    return write_folder(tmp_path / "data", files=4, samples=6, per_block=2)


def data_of(folder, format=None, **options):
    return df.Dataset.from_files(str(folder), format=format or Records(), **options)


def numbers(batches):
    """What the samples of batches are full of."""
    return [int(sample[0]) for batch in batches for sample in batch["x"]]


class Decoding(Records):
    """Records whose samples go through a function (x, y) -> fields."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def decode(self, path, block, data, spec):
        return self.function(*super().decode(path, block, data, spec))


# -- every sample, in the sampler's order --


@settings(max_examples=60)
@given(
    files=st.integers(1, 5),
    samples=st.integers(1, 9),
    per_block=st.integers(1, 9),
    width=st.integers(1, 400),
    batch_size=st.integers(1, 12),
    shuffle=st.sampled_from(["off", "global", "files", "window"]),
    window=st.integers(0, 4000),
    world=st.integers(1, 3),
    threads=st.integers(1, 4),
    prefetch_bytes=st.sampled_from([0, 5_000, 100_000, None]),
    apart=st.booleans(),
    ragged=st.booleans(),
    scheme=st.sampled_from(["", "direct://"]),
    seed=st.integers(0, 99),
)
def test_every_rank_gets_exactly_the_samplers_samples_in_its_order(
    files, samples, per_block, width, batch_size, shuffle, window, world, threads, prefetch_bytes, apart,
    ragged, scheme, seed,
):  # fmt: skip
    format = Decoding(lambda x, y: [list(x), list(y)]) if apart else Records()
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), files, samples, per_block, width)
        data = data_of(scheme + folder, format, ragged=ragged)
        for rank in range(world):
            with df.Loader(
                data, batch_size=batch_size, shuffle=shuffle, shuffle_window=window, seed=seed, rank=rank,
                world_size=world, threads=threads, prefetch_bytes=prefetch_bytes,
            ) as loader:  # fmt: skip
                for epoch in range(2):
                    ids = loader.sampler.ids(epoch, 0, len(loader.sampler))
                    for at, batch in enumerate(loader):
                        wanted = ids[at * batch_size : (at + 1) * batch_size]
                        assert len(batch["x"]) == len(batch["y"]) == len(wanted)
                        for x, y, number in zip(batch["x"], batch["y"], wanted, strict=True):
                            assert (x.shape, x.dtype) == ((width,), "<i8") and (x == number).all()
                            assert (y.shape, y.dtype) == ((), "<i4") and y == number


def test_single_samples_are_read_too(folder):
    data = data_of(folder)
    assert [int(data[i]["y"]) for i in (0, 23, -1, 7)] == [0, 23, 23, 7]
    fields = data.batch([5, 5, 0, 23])
    assert fields["y"].tolist() == [5, 5, 0, 23] and fields["x"].flags.writeable
    data.close()


def test_only_the_fields_that_are_asked_for_are_delivered(folder):
    class OneField(Records):
        def inspect(self, path, **options):
            spec = super().inspect(path, **options)
            return type(spec)(spec.fields[:1], spec.samples)

        def decode(self, path, block, data, spec):
            return super().decode(path, block, data, spec)[: len(spec.fields)]

    assert list(data_of(folder, OneField())[3]) == ["x"]


def test_o_direct_reads_past_the_page_cache(folder):
    with df.Loader(data_of(f"direct://{folder}"), batch_size=4, threads=2) as loader:
        assert numbers(loader) == list(range(24))
        stats = loader.stats()
    assert stats["direct_bytes"] or stats["fallbacks"], stats


def test_a_data_set_of_them_is_picklable(folder):
    data = pickle.loads(pickle.dumps(data_of(folder)))
    assert int(data[13]["y"]) == 13


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_pytorch_read_each_their_share(folder, start):
    torch_data = pytest.importorskip("torch.utils.data")
    data = data_of(folder)
    assert int(data[5]["y"]) == 5  # threads have been at work here before
    batches = torch_data.DataLoader(
        data, batch_size=4, num_workers=2, multiprocessing_context=start, collate_fn=list
    )
    assert [int(sample["y"]) for batch in batches for sample in batch] == list(range(24))
    data.close()


# -- samples that differ --


def test_samples_that_differ_are_delivered_each_as_it_is(folder):
    def cut(x, y):
        return [[row[: 1 + number % 3] for row, number in zip(x, y, strict=True)], y.astype("<f8")]

    for ragged in (False, True):
        with df.Loader(data_of(folder, Decoding(cut), ragged=ragged), batch_size=5, threads=2) as loader:
            samples = [(x, y) for batch in loader for x, y in zip(batch["x"], batch["y"], strict=True)]
        assert [x.tolist() for x, _ in samples] == [[i] * (1 + i % 3) for i in range(24)]
        assert [(y.dtype, y) for _, y in samples] == [("<f8", i) for i in range(24)]


def test_empty_samples_are_samples(folder):
    with df.Loader(data_of(folder, Decoding(lambda x, y: [x[:, :0], y])), batch_size=4) as loader:
        assert [[x.shape for x in batch["x"]] for batch in loader] == [[(0,)] * 4] * 6


def test_structured_samples_keep_their_dtype_and_others_are_refused(folder):
    dtype = np.dtype([("a", "<i4"), ("b", ">u2", (2,))])

    class Structured(Records):
        other = None

        def inspect(self, path, **options):
            spec = super().inspect(path, **options)
            return type(spec)((FieldSpec("x", dtype, (1,)), spec.fields[1]), spec.samples)

        def decode(self, path, block, data, spec):
            self.decoded.append((path, block.key))
            x = np.zeros((block.samples, 1), self.other or dtype)
            x[x.dtype.names[0]] = 7
            return [x, np.zeros(block.samples, "<i4")]

    data = data_of(folder, Structured())
    assert data[0]["x"].dtype == dtype and data[0]["x"]["a"] == 7
    data.close()
    data.format.other = [("b", "<i4"), ("a", ">u2", (2,))]
    with pytest.raises(SampleError, match=r"000\.rec.*unlike"):
        data[1]


# -- what is wrong with decoders and files --

WRONG = {
    "too few samples": (lambda x, y: [x[:-1], y], SampleError),
    "too many samples": (lambda x, y: [[*x, x[0]], y], SampleError),
    "too few fields": (lambda x, y: [x], SampleError),
    "too many fields": (lambda x, y: [x, y, y], SampleError),
    "objects": (lambda x, y: [x, y.astype(object)], UnsupportedError),
    "objects in a list": (lambda x, y: [list(x.astype(object)), y], UnsupportedError),
    "a sample that is none": (lambda x, y: [x, [{}] * len(y)], (UnsupportedError, AttributeError)),
    "nothing": (lambda x, y: None, TypeError),
    "an exception of its own": (lambda x, y: 1 // 0, ZeroDivisionError),
    "the end of an iterator": (lambda x, y: next(iter(())), RuntimeError),
    "an exit": (lambda x, y: exit(3), SystemExit),
    "Ctrl-C": (lambda x, y: (_ for _ in ()).throw(KeyboardInterrupt("pressed")), KeyboardInterrupt),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("batch_size", [2, 5, 24])  # a block, blocks of one file, blocks of several
def test_what_a_decoder_does_wrong_is_raised_and_names_the_file(folder, wrong, batch_size):
    function, expected = WRONG[wrong]
    with df.Loader(data_of(folder, Decoding(function)), batch_size=batch_size, threads=2) as loader:
        with pytest.raises(expected) as raised:
            next(iter(loader))
    told = [str(raised.value), *getattr(raised.value, "__notes__", ())]
    assert any(".rec" in text for text in told), told


@pytest.mark.parametrize("error", [FormatError("bad bytes"), LookupError("gone", 7), KeyboardInterrupt()])
def test_an_exception_arrives_whole_at_its_batch_and_the_rest_comes(folder, error):
    def picky(x, y):
        if 8 in y:
            raise error
        return [x, y]

    with df.Loader(data_of(folder, Decoding(picky)), batch_size=5, threads=2) as loader:
        passing, got = iter(loader), []
        while True:
            try:
                got.append(next(passing)["y"].tolist())
            except StopIteration:
                break
            except BaseException as raised:
                assert raised is error and raised.__traceback__.tb_next is not None
                got.append("failed")
    # 6 to 9 fail together: they are of one file and one batch
    whole = [list(range(first, min(first + 5, 24))) for first in range(0, 24, 5)]
    assert got == [whole[0], "failed", [5], *whole[2:]]


def test_skipping_leaves_out_bad_files_and_raises_what_is_no_fault_of_theirs(folder):
    (folder / "001.rec").write_bytes((folder / "001.rec").read_bytes()[:70])
    (folder / "002.rec").write_bytes(b"nothing of that kind whatever")
    data = data_of(folder)
    with df.Loader(data, batch_size=4, threads=2, on_error="skip", shuffle="files") as loader:
        # of the truncated file the first block is there
        assert sorted(numbers(loader)) in ([*range(6), *range(18, 24)], [*range(8), *range(18, 24)])
        assert loader.stats()["skipped_samples"] in (10, 12)
    for bug in (lambda x, y: 1 // 0, lambda x, y: exit()):
        with df.Loader(data_of(folder, Decoding(bug)), batch_size=4, on_error="skip") as loader:
            with pytest.raises((ZeroDivisionError, SystemExit)):
                next(iter(loader))


def test_a_truncated_file_says_where(folder):
    (folder / "003.rec").write_bytes((folder / "003.rec").read_bytes()[:-1])
    with pytest.raises(TruncatedError, match=r"003\.rec: bytes"):
        data_of(folder)[23]


def test_a_file_of_another_number_of_samples_is_refused(folder):
    write_records(folder / "002.rec", 12, 5, 2)
    with pytest.raises(SampleError, match=r"002\.rec: the file holds 5 samples"):
        data_of(folder)[14]


def test_a_file_that_is_replaced_is_noticed_and_then_read_anew(folder):
    data = data_of(folder)
    assert int(data[0]["y"]) == 0
    write_records(folder / "000.rec", 100, 6, 3)
    with pytest.raises(FileChangedError, match=r"000\.rec"):
        for i in (2, 4):
            data[i]
    assert [int(data[i]["y"]) for i in (2, 4)] == [102, 104]


# -- what is kept --


@pytest.mark.parametrize("shuffle", ["files", "window", "off"])
@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_a_block_is_decoded_once_a_pass_where_files_stay_together(tmp_path, shuffle, batch_size):
    folder = write_folder(tmp_path / "data", files=12, samples=10, per_block=4, width=50)
    data = data_of(folder)
    window = 3 * 10 * (50 * 8 + 4)
    with df.Loader(
        data, batch_size=batch_size, shuffle=shuffle, shuffle_window=window, threads=3
    ) as loader:  # fmt: skip
        for _ in range(2):
            data.format.decoded.clear()
            assert sorted(numbers(loader)) == list(range(120))
            assert set(Counter(data.format.decoded).values()) == {1} and len(data.format.decoded) == 36


def block(size):
    return [np.zeros(size, np.uint8)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60), st.integers(1, 4)), max_size=60))
def test_a_cache_stays_within_its_bytes_and_forgets_what_was_taken_whole(asks):
    cache = BlockCache(100)
    for key, size, wanted in asks:
        (values,) = cache.get((0, (0, 0), key), lambda size=size: block(size), wanted, 4)
        assert isinstance(values, np.ndarray)
        held = sum(entry.nbytes for entry in cache._entries.values())
        assert held == cache._held <= 100
        assert all(entry.taken < 4 for entry in cache._entries.values())


def test_a_block_larger_than_the_cache_is_not_kept():
    cache = BlockCache(100)
    assert [len(cache.get((0, (0, 0), 0), lambda: block(101), 1, 4)[0]) for _ in range(2)] == [101] * 2
    assert (cache._held, len(cache._entries)) == (0, 0)


def test_what_is_in_flight_stays_within_the_budget(tmp_path):
    folder = write_folder(tmp_path / "data", files=16, samples=64, per_block=8, width=512)
    for ragged in (False, True):
        with df.Loader(
            data_of(folder, ragged=ragged), batch_size=16, threads=3, prefetch_bytes=1 << 20, shuffle=True
        ) as loader:  # fmt: skip
            assert sorted(numbers(loader)) == list(range(1024))
            assert 0 < loader.stats()["peak_bytes_in_flight"] <= 1 << 20
