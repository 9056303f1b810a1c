"""TFRecord files: what TensorFlow writes is read, value for value, without it."""

import gzip
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.errors import MemberError, SampleError, UnsupportedError

from .tfrecords import entry, example, feature, image, message, read, record, varint, write

tf = pytest.importorskip("tensorflow")

floats = st.floats(width=32)
int64s = st.integers(-(2**63), 2**63 - 1)
names = st.text(min_size=1, max_size=12).filter(lambda name: name.encode("utf-8", "ignore").decode() == name)


def of_one_length(size):
    return st.lists(st.binary(min_size=size, max_size=size), min_size=1, max_size=4)


features = st.one_of(
    st.tuples(st.just("bytes"), st.integers(0, 300).flatmap(of_one_length)),
    st.tuples(st.just("float"), st.lists(floats, max_size=40)),
    st.tuples(st.just("int64"), st.lists(int64s, max_size=40)),
)
examples = st.dictionaries(names, features, min_size=1, max_size=6)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("tfrecord") / "f.tfrecord"


def to_tf(example):
    lists = {
        "bytes": lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)),
        "float": lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=v)),
        "int64": lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=v)),
    }
    made = {name: lists[kind](values) for name, (kind, values) in example.items()}
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def parsed_by_tensorflow(serialized, example):
    dtypes = {"bytes": tf.string, "float": tf.float32, "int64": tf.int64}
    wanted = {name: tf.io.VarLenFeature(dtypes[kind]) for name, (kind, _) in example.items()}
    return {name: v.values.numpy() for name, v in tf.io.parse_single_example(serialized, wanted).items()}


def as_ours(kind, values):
    if kind == "bytes":
        arrays = [np.frombuffer(value, np.uint8) for value in values]
        return arrays[0] if len(arrays) == 1 else np.stack(arrays)
    return values[0] if len(values) == 1 else values


@settings(max_examples=150)
@given(st.lists(examples, min_size=1, max_size=5), st.sampled_from(["", "direct://"]), st.booleans())
def test_samples_are_what_tensorflows_parser_makes_of_random_examples(path, made, scheme, verify):
    first = made[0]
    made = [first | {name: other[name] for name in first if name in other} for other in made]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for one in made:
            writer.write(to_tf(one))
    samples = read(f"{scheme}{path}", verify=verify)
    assert len(samples) == len(made)
    for sample, one in zip(samples, made, strict=True):
        assert set(sample) == set(first)
        for name, values in parsed_by_tensorflow(to_tf(one), one).items():
            expected = np.asarray(as_ours(one[name][0], values))
            assert sample[name].shape == expected.shape and sample[name].dtype == expected.dtype
            assert sample[name].tobytes() == expected.tobytes()


@settings(max_examples=100)
@given(
    st.lists(floats, max_size=30), st.lists(int64s, max_size=30), st.booleans(), st.booleans(), st.randoms()
)
def test_packed_and_unpacked_numbers_in_any_order_among_unknown_fields(path, f, i, packed_f, packed_i, rng):
    unknown = [
        message(7, b"??"),
        varint(9 << 3) + varint(300),
        varint(8 << 3 | 5) + b"1234",
        varint(6 << 3 | 1) + bytes(8),
    ]
    entries = [
        entry(b"f", feature("float", f, packed=packed_f) + rng.choice(unknown)),
        message(1, message(2, feature("int64", i, packed=packed_i)) + message(1, b"i")),
        rng.choice(unknown),
    ]
    rng.shuffle(entries)
    data = rng.choice(unknown) + example(*entries) + rng.choice(unknown)
    theirs = tf.train.Example.FromString(data).features.feature
    [sample] = read(write(path, data))
    assert np.atleast_1d(sample["f"]).tobytes() == np.array(theirs["f"].float_list.value, "f4").tobytes()
    assert np.atleast_1d(sample["i"]).tolist() == list(theirs["i"].int64_list.value)


def test_the_last_of_entries_with_one_name_counts_as_in_protobuf(path):
    data = example(entry(b"a", feature("int64", [1])), entry(b"a", feature("int64", [2])))
    assert tf.train.Example.FromString(data).features.feature["a"].int64_list.value[0] == 2
    assert read(write(path, data))[0]["a"] == 2


def test_features_in_two_parts_are_joined_as_in_protobuf(path):
    data = example(entry(b"a", feature("int64", [1]))) + example(entry(b"b", feature("int64", [2])))
    assert read(write(path, data)) == [{"a": 1, "b": 2}]


@pytest.mark.parametrize("scheme", ["", "direct://"])
@pytest.mark.parametrize(
    "sizes", [[114_244] * 40, [1, 100_000, 3, 700_000, 5_000_000, 2] * 3, [2_828_486], [600_000] * 5]
)
def test_records_of_any_size_in_any_order(tmp_path, scheme, sizes):
    """Those that share a read, those that are longer than one; of one length or not; spread over batches."""
    rng = np.random.default_rng(1)
    made = [rng.integers(0, 256, size, np.uint8) for size in sizes]
    file = tmp_path / "f.tfrecord"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for one in made:
            writer.write(image(one.tobytes()))
    dataset = df.Dataset.from_files([f"{scheme}{file}"])
    for shuffle in ("off", "global"):
        with df.Loader(dataset, batch_size=4, shuffle=shuffle) as loader:
            got = [one for batch in loader for one in batch["image"]]
            stats = loader.stats()
        key = bytes if shuffle == "global" else lambda one: b""
        for ours, theirs in zip(sorted(got, key=key), sorted(made, key=key), strict=True):
            assert np.array_equal(ours, theirs)
        if scheme and stats["fallback_reason"] is None:
            assert stats["direct_bytes"] > sum(sizes) / 2
        if len(set(sizes)) == 1 and not scheme:  # no more is read than there is, in large reads
            assert stats["bytes_read"] <= 1.02 * file.stat().st_size + 10_000 * len(sizes)


def test_a_sample_that_is_asked_for_twice_comes_twice(path):
    write(path, *(image(bytes([i]) * 50) for i in range(5)))
    batch = df.Dataset.from_files([path]).batch([3, 1, 3, 3])
    assert batch["image"][:, 0].tolist() == [3, 1, 3, 3]


def test_files_of_one_record_each_are_read_straight(tmp_path):
    files = [write(tmp_path / f"{i}.tfrecord", image(bytes([i]) * 20)) for i in range(30)]
    assert [sample["image"][0] for sample in read(*files)] == list(range(30))


def test_the_seed_systems_float_image(path):
    values = np.random.default_rng(1).random(249, np.float32)
    write(path, example(entry(b"image", feature("float", values.tolist()))))
    [sample] = read(path)
    assert sample["image"].dtype == np.float32 and np.array_equal(sample["image"], values)


def test_samples_that_differ_from_the_first_come_as_they_are(path):
    data = [
        image(b"abcd"),
        image(b"xyz"),
        example(entry(b"image", feature("float", [1.5, 2])), entry(b"size", feature("int64", []))),
    ]
    samples = read(write(path, *data))
    assert [(s["image"].dtype.str, s["image"].tolist()) for s in samples] == [
        ("|u1", [97, 98, 99, 100]), ("|u1", [120, 121, 122]), ("<f4", [1.5, 2])
    ]  # fmt: skip
    assert [s["size"].shape for s in samples] == [(), (), (0,)]


def test_the_record_has_the_type_and_the_shape_that_a_config_gives_it(tmp_path):
    x = np.arange(2 * 6 * 7, dtype=np.float32).reshape(2, 6, 7)
    (tmp_path / "train").mkdir()
    write(tmp_path / "train" / "a.tfrecord", *(image(one.tobytes()) for one in x))
    dataset = {"format": "tfrecord", "record_dims": [6, 7], "record_element_type": "float32"}
    samples = df.Dataset({"dataset": {"data_folder": str(tmp_path), **dataset}}, fields="image")
    assert np.array_equal([sample["image"] for sample in samples], x)


@pytest.mark.parametrize("suffix", ["", "direct://"])
@pytest.mark.parametrize("kind", ["GZIP", "ZLIB", "two members"])
def test_compressed_files(tmp_path, kind, suffix):
    made = [bytes([i]) * (100 + 7 * i) for i in range(50)]
    file = tmp_path / "f.tfrecord"
    if kind == "two members":
        halves = (b"".join(record(image(one)) for one in part) for part in (made[:20], made[20:]))
        file.write_bytes(b"".join(map(gzip.compress, halves)))
    else:
        with tf.io.TFRecordWriter(str(file), tf.io.TFRecordOptions(compression_type=kind)) as writer:
            for one in made:
                writer.write(image(one))
    assert [sample["image"].tobytes() for sample in read(f"{suffix}{file}")] == made


def test_a_compressed_file_is_unpacked_once_for_all_its_batches(tmp_path):
    file = tmp_path / "f.tfrecord"
    rng = np.random.default_rng(1)
    made = [rng.integers(0, 256, 5000, np.uint8).tobytes() for _ in range(200)]
    file.write_bytes(zlib.compress(b"".join(record(image(one)) for one in made)))
    with df.Loader(df.Dataset.from_files([file]), batch_size=4) as loader:
        assert [one.tobytes() for batch in loader for one in batch["image"]] == made
        assert loader.stats()["bytes_read"] < 3 * file.stat().st_size


def test_without_verification_a_damaged_record_is_delivered(path):
    data = bytearray(record(image(bytes(1000))))
    data[500] ^= 1
    path.write_bytes(data)
    assert read(path, verify=False)[0]["image"].sum() == 1


def test_a_feature_that_is_not_there(path):
    write(path, image(b"abc"))
    with pytest.raises(MemberError, match="no feature 'label'; it has image, size"):
        df.Dataset.from_files([path], fields="label").spec  # noqa: B018
    write(path, image(b"abc"), example(entry(b"size", feature("int64", [3]))))
    with pytest.raises(MemberError, match="image"):
        read(path)


def test_values_of_different_length_are_refused_where_they_are_wanted(path):
    write(path, example(entry(b"a", feature("bytes", [b"1", b"22"])), entry(b"b", feature("int64", [1]))))
    with pytest.raises(UnsupportedError, match="differ in length"):
        len(df.Dataset.from_files([path]))
    assert df.Dataset.from_files([path], fields="b")[0]["b"] == 1


def test_files_must_hold_as_many_records_as_the_first(tmp_path):
    first = write(tmp_path / "a.tfrecord", image(b"abc"), image(b"def"))
    for count in (1, 3, 4):
        other = write(tmp_path / "b.tfrecord", *[image(b"abc")] * count)
        with pytest.raises(SampleError, match="another number of samples"):
            read(first, other)


def test_tensorflow_is_not_imported(path):
    write(path, image(b"abc"))
    program = (
        f"import sys, dlio_fast as df; df.Dataset.from_files([{str(path)!r}])[0]; "
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "False"


def test_crc32c_is_that_of_rfc_3720():
    assert _core.crc32c(b"123456789") == 0xE3069283
    assert _core.crc32c(bytes(32)) == 0x8A9136AA
