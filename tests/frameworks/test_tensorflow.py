"""DlioTensorFlowDataset: whole batches as tensors, over the memory that the files were read into."""

import numpy as np
import pytest
import tensorflow as tf

import dlio_fast as df
from dlio_fast.errors import ConfigError
from dlio_fast.tensorflow import (
    DlioTensorFlowDataset,
    DlioTensorFlowError,
    create_tensorflow_dataset,
    create_tensorflow_dataset_from_uri,
    make_tf_dataset,
)
from tests.frameworks.conftest import SAMPLES, payload
from tests.frameworks.tf_support import Noting, address, dataset, numbers, python

IN_ORDER = [list(range(i, min(i + 4, SAMPLES))) for i in range(0, SAMPLES, 4)]


@pytest.fixture(params=["itself", "create_dataset"])
def iterated(request):
    """The two ways to the batches."""
    return iter if request.param == "itself" else lambda ds: iter(ds.create_dataset())


# -- batches --


def test_a_batch_is_one_tensor_with_the_files_values(folder, iterated):
    batches = list(iterated(dataset(folder)))
    assert [tuple(batch.shape) for batch in batches] == [(4, 16, 20)] * 5 + [(1, 16, 20)]
    for i, sample in enumerate(sample for batch in batches for sample in batch.numpy()):
        assert sample.dtype == np.int32
        assert np.array_equal(sample, payload(i))


def test_the_specs_are_exact(folder):
    ds = dataset(folder)
    spec = tf.TensorSpec((None, 16, 20), tf.int32, "x")
    assert ds.create_dataset().element_spec == ds.element_spec == spec
    assert spec.is_compatible_with(next(iter(ds)))


def test_the_number_of_batches_is_known(folder):
    assert len(dataset(folder)) == len(dataset(folder).create_dataset()) == 6
    assert len(dataset(folder, repeat=3).create_dataset()) == 18
    assert dataset(folder, repeat=-1).create_dataset().cardinality() == tf.data.INFINITE_CARDINALITY


@pytest.mark.parametrize("name", ["drop_last", "drop_remainder"])
def test_dropping_the_remainder_makes_the_batch_size_static(folder, iterated, name):
    ds = dataset(folder, **{name: True})
    assert ds.create_dataset().element_spec.shape == (4, 16, 20)
    assert numbers(iterated(ds)) == IN_ORDER[:5]
    assert len(ds.create_dataset()) == 5


def test_both_names_of_dropping_the_remainder_must_agree(folder):
    with pytest.raises(ConfigError, match="two names of one option"):
        dataset(folder, drop_last=True, drop_remainder=False)


def test_return_labels_gives_pairs(folder, iterated):
    ds = dataset(folder, return_labels=True)
    assert [spec.shape.as_list() for spec in ds.element_spec] == [[None, 16, 20], [None]]
    for x, y in iterated(ds):
        assert numbers([x]) == [y.numpy().tolist()]


def test_several_fields_give_a_dict_in_whatever_order_they_are_named(folder, iterated):
    ds = dataset(folder, fields=["y", "x"])
    assert set(ds.create_dataset().element_spec) == {"x", "y"}
    for batch in iterated(ds):
        assert numbers([batch["x"]]) == [batch["y"].numpy().tolist()]


def test_a_transform_decides_what_a_tensor_looks_like(folder, iterated):
    ds = dataset(folder, transform=lambda fields: {"x": fields["x"][:, 0, :5].astype(np.float32)})
    assert ds.element_spec == tf.TensorSpec((None, 5), tf.float32, "x")
    assert numbers(iterated(ds)) == IN_ORDER


@pytest.mark.parametrize(
    "dtype",
    ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">i4", ">f8", ">u2"],
)
def test_every_dtype_that_tensorflow_has_comes_through(tmp_path, iterated, dtype):
    values = np.arange(60).reshape(3, 4, 5).astype(dtype)
    np.savez(tmp_path / "a.npz", x=values)
    ds = dataset(tmp_path, batch_size=5)
    assert ds.element_spec.dtype == tf.as_dtype(values.dtype.newbyteorder("="))
    (batch,) = iterated(ds)
    assert np.array_equal(batch.numpy(), np.moveaxis(values, -1, 0))


@pytest.mark.parametrize("dtype", ["S3", "U3"])
def test_text_becomes_strings(tmp_path, iterated, dtype):
    np.savez(tmp_path / "a.npz", x=np.array(["a", "bcd", "ef"], dtype))
    (batch,) = iterated(dataset(tmp_path))
    assert batch.dtype == tf.string
    assert batch.numpy().tolist() == [b"a", b"bcd", b"ef"]


def test_a_dtype_that_no_tensor_has_is_refused_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 4), "M8[s]"))
    for way in (iter, DlioTensorFlowDataset.create_dataset):
        with pytest.raises(tf.errors.UnimplementedError, match="'x' has dtype datetime64"):
            next(iter(way(dataset(tmp_path))))


# -- memory --


@pytest.mark.parametrize("prefetch", [0, 2])
def test_create_dataset_copies_nothing(folder, prefetch):
    noting = Noting()
    ds = dataset(folder, transform=noting, prefetch_buffer_size=prefetch).create_dataset()
    noting.addresses.clear()  # create_dataset() has looked at a sample
    assert [address(batch) for batch in ds] == noting.addresses


def test_iterating_over_the_data_set_itself_copies_nothing(folder):
    noting = Noting()
    ds = dataset(folder, transform=noting)
    assert ds.element_spec is not None
    noting.addresses.clear()
    assert [address(batch) for batch in ds] == noting.addresses


def off_by_four(fields):
    x = fields["x"]
    memory = np.empty(x.nbytes + 128, np.uint8)
    start = -memory.ctypes.data % 64 + 4
    moved = memory[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    moved[...] = x
    return {"x": moved}


def strided(fields):
    return {"x": np.repeat(fields["x"], 2, axis=-1)[..., ::2]}


def read_only(fields):
    x = fields["x"].copy()
    x.flags.writeable = False
    return {"x": x}


def empty(fields):
    return {"x": fields["x"][:, :1, :0]}


@pytest.mark.parametrize("transform", [off_by_four, strided, read_only])
def test_memory_that_tensorflow_cannot_share_is_copied(folder, iterated, transform):
    """It would end the process over it."""
    batches = list(iterated(dataset(folder, transform=transform)))
    assert np.array_equal(np.concatenate(batches), [payload(i) for i in range(SAMPLES)])


def test_empty_samples_come_through(folder, iterated):
    assert [tuple(b.shape) for b in iterated(dataset(folder, batch_size=21, transform=empty))] == [(21, 1, 0)]


@pytest.mark.parametrize("options", [{}, {"fields": ["x", "y"]}])
def test_tensors_stay_right_while_they_are_held(folder, iterated, options):
    ds = dataset(folder, batch_size=1, shuffle=True, prefetch_bytes=1, **options)
    held = []
    for _ in range(3):
        held += list(iterated(ds))[:10]
    for batch in held:
        x = batch["x"] if options else batch
        assert np.array_equal(x[0], payload(int(x[0, 0, 0])))
    assert len({address(batch["x"] if options else batch) for batch in held}) == len(held)


def test_tensors_outlive_their_data_set(folder, iterated):
    ds = dataset(folder)
    batches = list(iterated(ds))
    ds.close()
    del ds
    assert numbers(batches) == IN_ORDER


def test_memory_comes_back_when_the_tensors_are_gone(folder):
    ds = dataset(folder, batch_size=1, prefetch_bytes=1)
    tensors = ds.create_dataset()
    places = {address(batch) for _ in range(4) for batch in tensors}
    assert len(places) < 2 * SAMPLES


# -- tf.data --


def test_each_pass_is_the_next_epoch(folder):
    ds = dataset(folder, batch_size=SAMPLES, shuffle=True, seed=3)
    tensors = ds.create_dataset()
    passes = [numbers(tensors) for _ in range(3)]
    assert len({str(one) for one in passes}) == 3
    loader = df.Loader(ds.dataset, batch_size=SAMPLES, shuffle=True, seed=3)
    assert passes == [numbers(batch["x"] for batch in loader) for _ in range(3)]
    ds.set_epoch(1)
    assert numbers(tensors) == passes[1]


def test_repeat_goes_through_the_next_epochs(folder):
    options = {"shuffle": True, "seed": 3}
    single = dataset(folder, **options).create_dataset()
    expected = numbers(single) + numbers(single)
    assert numbers(dataset(folder, repeat=2, **options).create_dataset()) == expected
    for_ever = dataset(folder, repeat=-1, **options).create_dataset()
    assert numbers(for_ever.take(12)) == expected


def test_repeating_a_data_set_with_nothing_in_it_ends(folder):
    nothing = dataset(folder, batch_size=100, drop_last=True, repeat=-1)
    assert list(nothing.create_dataset()) == []


def test_reshuffle_each_iteration_false_keeps_the_order(folder):
    tensors = dataset(folder, shuffle=True, reshuffle_each_iteration=False).create_dataset()
    assert numbers(tensors) == numbers(tensors)


@pytest.mark.parametrize("prefetch", [0, 1, -1])
def test_any_prefetch_delivers_the_same(folder, prefetch):
    assert numbers(dataset(folder, prefetch_buffer_size=prefetch).create_dataset()) == IN_ORDER


@pytest.mark.parametrize(("prefetch", "tuned"), [(0, False), (2, False), (-1, True)])
def test_tensorflow_s_tuner_runs_only_where_it_is_asked_for(folder, prefetch, tuned):
    tensors = dataset(folder, prefetch_buffer_size=prefetch).create_dataset()
    assert tensors.options().autotune.enabled is tuned
    mapped = tensors.map(lambda x: x, num_parallel_calls=tf.data.AUTOTUNE)  # works without it
    assert numbers(mapped) == IN_ORDER


def test_tensorflow_is_told_not_to_shard_what_is_a_rank_s_share_already(folder):
    off = tf.data.experimental.AutoShardPolicy.OFF
    tensors = dataset(folder).create_dataset()
    assert tensors.options().experimental_distribute.auto_shard_policy == off


def test_ranks_share_the_samples_out(folder):
    got = [
        i
        for rank in range(3)
        for batch in numbers(dataset(folder, rank=rank, world_size=3, shuffle=True).create_dataset())
        for i in batch
    ]
    assert sorted(got) == list(range(SAMPLES))


def test_further_steps_of_tf_data_apply(folder):
    tensors = dataset(folder).create_dataset().map(lambda x: x[:, 0, 0] * 2).unbatch().batch(7)
    assert [batch.numpy().tolist() for batch in tensors] == [
        [2 * i for i in range(start, start + 7)] for start in (0, 7, 14)
    ]


def test_several_iterators_of_one_data_set_are_passes_of_their_own(folder):
    tensors = dataset(folder).create_dataset()
    assert [numbers([a, b]) for a, b in zip(tensors, tensors, strict=True)] == [
        [one, one] for one in IN_ORDER
    ]


# -- options and helpers --


def test_it_has_the_seed_system_s_attributes(folder):
    ds = dataset(folder)
    assert (ds.data_folder, ds.backend_type, ds.format_type) == (str(folder), "file", "npz")
    assert ds.tensorflow_config["batch_size"] == 4
    assert ds.config_info["framework"] == "tensorflow"
    assert DlioTensorFlowError is df.DlioFastError


def test_a_configuration_gives_options_and_arguments_win_over_it(folder):
    config = {
        "dataset": {"data_folder": str(folder)},
        "tensorflow_config": {"batch_size": 3, "drop_remainder": True, "repeat": 2},
    }
    assert len(DlioTensorFlowDataset(config).create_dataset()) == 14
    assert len(DlioTensorFlowDataset(config_dict=config, batch_size=4).create_dataset()) == 10
    given = {"drop_remainder": False, "repeat": 1}
    assert len(DlioTensorFlowDataset(config, tensorflow_config=given, batch_size=4).create_dataset()) == 6


@pytest.mark.parametrize(
    "options, message",
    [
        ({"repeat": 0}, "repeat"),
        ({"ragged": "never"}, "ragged"),
        ({"batch_size": 0}, "batch_size"),
        ({"prefetch_buffer_size": -2}, "prefetch_buffer_size"),
    ],
)
def test_bad_options_fail_at_construction(options, message):
    with pytest.raises(ConfigError, match=message):
        dataset("/nowhere", **options)


def test_an_unknown_option_is_told_with_the_nearest():
    with pytest.raises(TypeError, match="did you mean 'drop_remainder'"):
        dataset("/nowhere", drop_remain=True)


def test_the_helpers_make_data_sets_of_a_configuration_or_an_address(folder):
    config = {"dataset": {"data_folder": str(folder)}}
    assert numbers(create_tensorflow_dataset(config, batch_size=4)) == IN_ORDER
    assert numbers(create_tensorflow_dataset_from_uri(f"file://{folder}", 4)) == IN_ORDER
    assert numbers(make_tf_dataset(str(folder), batch_size=4, prefetch=0, num_workers=1)) == IN_ORDER
    assert len(make_tf_dataset(str(folder), auto_tune=True, part_size=1, reader_mode="range")) == SAMPLES
    mapped = make_tf_dataset(str(folder), batch_size=4, map_fn=lambda x: x[:, 0, 0])
    assert [batch.numpy().tolist() for batch in mapped] == IN_ORDER


def test_without_tensorflow_the_import_says_what_to_install():
    done = python(
        "import sys; sys.modules['tensorflow'] = None\n"
        "from dlio_fast.errors import MissingDependencyError\n"
        "try: import dlio_fast.tensorflow\n"
        "except MissingDependencyError as error: print(error)"
    )
    assert done.stdout.strip() == "dlio_fast.tensorflow needs TensorFlow: pip install dlio-fast[tensorflow]"


def test_importing_dlio_fast_imports_no_tensorflow():
    done = python("import sys, dlio_fast; print('tensorflow' in sys.modules)")
    assert done.stdout.strip() == "False"
