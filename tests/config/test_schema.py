"""Every key of DLIO with its default, other spellings of keys, and what follows from several keys."""

import pytest

from dlio_fast.config import backend_of, load_config, split_address
from dlio_fast.errors import ConfigError

DEFAULTS = {
    "framework": "tensorflow",
    "model.name": "default",
    "model.type": None,
    "model.model_size_bytes": 10240,
    "model.model_datatype": "fp16",
    "model.optimizer_datatype": "fp32",
    "model.optimization_groups": (),
    "model.num_layers": -1,
    "model.layer_parameters": (),
    "model.parallelism.tensor": 1,
    "model.parallelism.pipeline": 1,
    "model.parallelism.data": -1,
    "model.parallelism.zero_stage": 0,
    "model.transformer.vocab_size": 32000,
    "model.transformer.hidden_size": 2048,
    "model.transformer.ffn_hidden_size": 8192,
    "model.transformer.num_attention_heads": 32,
    "model.transformer.num_kv_heads": 8,
    "workflow.generate_data": False,
    "workflow.train": True,
    "workflow.evaluation": False,
    "workflow.checkpoint": False,
    "workflow.profiling": False,
    "workflow.query": None,
    "storage.storage_type": "local_fs",
    "storage.storage_root": "./",
    "storage.storage_options": {},
    "storage.storage_library": None,
    "storage.post_generation_settle_seconds": 0,
    "dataset.data_folder": "./data/",
    "dataset.format": "tfrecord",
    "dataset.num_files_train": 8,
    "dataset.num_files_eval": 0,
    "dataset.num_samples_per_file": 1,
    "dataset.num_subfolders_train": 0,
    "dataset.num_subfolders_eval": 0,
    "dataset.record_length_bytes": 65536,
    "dataset.record_length_bytes_stdev": 0,
    "dataset.record_length_bytes_resize": 0,
    "dataset.record_dims": (),
    "dataset.record_element_type": "uint8",
    "dataset.record_element_bytes": 4,
    "dataset.file_prefix": "img",
    "dataset.compression": "none",
    "dataset.compression_level": 4,
    "dataset.enable_chunking": False,
    "dataset.chunk_size": 0,
    "dataset.keep_files": True,
    "dataset.generation_buffer_size": 2 * 1024**3,
    "dataset.hdf5.chunk_dims": (),
    "dataset.hdf5.num_dset_per_record": 1,
    "dataset.hdf5.max_shape": (),
    "dataset.parquet.columns": (),
    "dataset.parquet.row_group_size": 1024,
    "dataset.parquet.partition_by": None,
    "dataset.parquet.generation_batch_size": 0,
    "dataset.arrow.columns": (),
    "dataset.arrow.generation_batch_size": 0,
    "dataset.data_gen_method": None,
    "dataset.skip_listing": False,
    "dataset.listing_validation_interval": 1000,
    "dataset.num_files_generated": 0,
    "dataset.align_payload": True,
    "dataset.seed": 123,
    "reader.data_loader": "tensorflow",
    "reader.data_loader_classname": None,
    "reader.reader_classname": None,
    "reader.data_loader_sampler": None,
    "reader.read_threads": 1,
    "reader.computation_threads": 1,
    "reader.write_threads": 1,
    "reader.batch_size": 1,
    "reader.batch_size_eval": 1,
    "reader.prefetch_size": 2,
    "reader.file_shuffle": "off",
    "reader.sample_shuffle": "off",
    "reader.shuffle": None,
    "reader.seed": None,
    "reader.drop_last": None,
    "reader.shuffle_size": 1024,
    "reader.read_type": "on_demand",
    "reader.file_access": "multi",
    "reader.transfer_size": None,
    "reader.preprocess_time_stdev": None,
    "reader.pin_memory": True,
    "reader.multiprocessing_context": "fork",
    "reader.odirect": False,
    "reader.dont_use_mmap": False,
    "reader.transformed_record_dims": (),
    "reader.transformed_record_element_type": "uint8",
    "train.epochs": 1,
    "train.computation_time_stdev": None,
    "train.total_training_steps": -1,
    "train.seed_change_epoch": True,
    "train.seed": 123,
    "evaluation.eval_time_stdev": None,
    "evaluation.eval_after_epoch": 1,
    "evaluation.epochs_between_evals": 1,
    "checkpoint.checkpoint_folder": "./checkpoints/",
    "checkpoint.checkpoint_after_epoch": 1,
    "checkpoint.epochs_between_checkpoints": 1,
    "checkpoint.steps_between_checkpoints": -1,
    "checkpoint.type": "rank_zero",
    "checkpoint.mode": "default",
    "checkpoint.fsync": False,
    "checkpoint.time_between_checkpoints": -1,
    "checkpoint.num_checkpoints_write": -1,
    "checkpoint.num_checkpoints_read": -1,
    "checkpoint.rank_sync": False,
    "checkpoint.recovery_rank_shift": False,
    "checkpoint.randomize_tensor": True,
    "checkpoint.checkpoint_mechanism_classname": None,
    "checkpoint.ksm": None,
    "output.folder": None,
    "output.log_file": "dlio.log",
    "output.metric.exclude_start_steps": 1,
    "output.metric.exclude_end_steps": 0,
    "metric.au": 0.90,
    "profiling.profiler": "iostat",
    "profiling.iostat_devices": (),
}


def get(config, key):
    for part in key.split("."):
        config = getattr(config, part)
    return config


@pytest.mark.parametrize("key", DEFAULTS)
def test_defaults_are_dlios(key):
    config = load_config({})
    assert get(config, key) == DEFAULTS[key]
    assert not config.is_set(key)


def test_ksm_defaults_once_the_section_is_there():
    ksm = load_config({"checkpoint": {"ksm": {}, "randomize_tensor": False}}).checkpoint.ksm
    assert (ksm.madv_mergeable_id, ksm.high_ram_trigger, ksm.low_ram_exit, ksm.await_time) == (
        12,
        30.0,
        15,
        200,
    )


@pytest.mark.parametrize(
    ("tree", "key", "value"),
    [
        ({"dataset": {"record_length": 7}}, "dataset.record_length_bytes", 7),
        ({"dataset": {"record_length_stdev": 7}}, "dataset.record_length_bytes_stdev", 7),
        ({"dataset": {"record_length_resize": 7}}, "dataset.record_length_bytes_resize", 7),
        ({"dataset": {"record_length": 7, "record_length_bytes": 8}}, "dataset.record_length_bytes", 8),
        ({"model": {"model_size": 7}}, "model.model_size_bytes", 7),
        ({"model": "resnet50"}, "model.name", "resnet50"),
        ({"data_reader": {"batch_size": 7}}, "reader.batch_size", 7),
        ({"data_reader": {"read_threads": 7}, "reader": {"batch_size": 8}}, "reader.batch_size", 1),
        ({"reader": {"compute_threads": 7}}, "reader.computation_threads", 7),
        ({"reader": {"prefetch": 7}}, "reader.prefetch_size", 7),
        ({"checkpointing": {"checkpoint_folder": "a"}}, "checkpoint.checkpoint_folder", "a"),
        (
            {
                "checkpointing": {"checkpoint_folder": "a", "fsync": True},
                "checkpoint": {"checkpoint_folder": "b"},
            },
            "checkpoint.checkpoint_folder",
            "b",
        ),
        ({"checkpoint": {"uri": "s3://b/c", "enabled": True}}, "checkpoint.checkpoint_folder", "s3://b/c"),
        ({"checkpoint": {"checkpoint_fsync": True}}, "checkpoint.fsync", True),
        ({"profiling": {"iostat_devices": "sda"}}, "profiling.iostat_devices", ("sda",)),
        ({"profiling": {"profiler": None}}, "profiling.profiler", "none"),
        ({"dataset": {"compression": False}}, "dataset.compression", "none"),
        ({"reader": {"file_shuffle": False}}, "reader.file_shuffle", "off"),
        ({"reader": {"sample_shuffle": True}}, "reader.sample_shuffle", "seed"),
        ({"dataset": {"format": "NPZ"}}, "dataset.format", "npz"),
        ({"dataset": {"num_files_train": "12"}}, "dataset.num_files_train", 12),
        ({"dataset": {"num_files_train": 1e3}}, "dataset.num_files_train", 1000),
        ({"dataset": {"record_length_bytes": 114660.07}}, "dataset.record_length_bytes", 114660.07),
        ({"reader": {"shuffle": False, "seed": 5, "drop_last": True}}, "reader.seed", 5),
        ({"metric": {"au": 90}}, "metric.au", 0.9),
        ({"metric": {"au": 0.7}}, "metric.au", 0.7),
        ({"metric": {"au": 1}}, "metric.au", 1),
    ],
)
def test_other_spellings(tree, key, value):
    config = load_config(tree)
    assert get(config, key) == value
    assert config.is_set(key) == (value != 1 or key != "reader.batch_size")


@pytest.mark.parametrize(
    ("tree", "framework"),
    [
        ({}, "tensorflow"),
        ({"framework": "PyTorch"}, "pytorch"),
        ({"framework": None}, "none"),
        ({"framework": {"jax": {"seed": 1}}}, "jax"),
        ({"model": {"framework": "pytorch"}}, "pytorch"),
        ({"jax_config": {"seed": 1}, "tensorflow_config": {"seed": 1}}, "tensorflow"),
        ({"framework_profiles": {"pytorch": {"num_workers": 1}}}, "pytorch"),
        ({"framework": "jax", "pytorch_config": {"seed": 1}}, "jax"),
    ],
)
def test_the_framework_is_given_or_follows_from_its_options(tree, framework):
    config = load_config(tree)
    assert config.framework == framework
    assert config.is_set("framework") == isinstance(tree.get("framework", {}), (str, type(None)))


def test_framework_options_are_the_direct_section_over_the_nested_one_over_the_profile():
    config = load_config(
        {
            "framework": {"pytorch": {"batch_size": 2, "seed": 2}},
            "pytorch_config": {"batch_size": 3},
            "framework_profiles": {"pytorch": {"batch_size": 1, "seed": 1, "pin_memory": False}},
        }
    )
    assert config.framework_options("pytorch") == {"batch_size": 3, "seed": 2, "pin_memory": False}
    assert config.framework_options("tensorflow") == {}
    assert config.framework_options("none") == {}


PROFILES = {
    "pytorch": {
        "batch_size": 2, "num_workers": 0, "shuffle": True, "seed": 1, "pin_memory": True, "drop_last": True,
        "prefetch_factor": 2, "persistent_workers": True, "return_type": "tensor", "distributed": True,
    },
    "tensorflow": {
        "batch_size": 2, "shuffle_buffer_size": 10, "seed": 1, "num_parallel_calls": -1, "writable": True,
        "prefetch_buffer_size": -1, "deterministic": True, "drop_remainder": True,
        "reshuffle_each_iteration": True,
    },
    "jax": {"seed": 1, "writable": True, "batch_size": 2, "prefetch_buffer_size": 4},
}  # fmt: skip


@pytest.mark.parametrize("framework", PROFILES)
def test_every_key_of_a_framework_profile(framework, recwarn):
    options = PROFILES[framework]
    config = load_config({"framework_profiles": {framework: options}})
    assert config.framework_options(framework) == options
    assert load_config({f"{framework}_config": options}).framework_options(framework) == options
    assert not recwarn


@pytest.mark.parametrize(
    ("address", "scheme", "path"),
    [
        ("data/x", "", "data/x"),
        ("/data/x", "", "/data/x"),
        ("C:x", "", "C:x"),
        ("file:///data/x", "file", "/data/x"),
        ("direct://./data/x", "direct", "./data/x"),
        ("direct://data/x", "direct", "data/x"),
        ("DIRECT:///data/x", "direct", "/data/x"),
        ("s3://bucket/key", "s3", "bucket/key"),
        ("abfs://box@account.dfs.core.windows.net/x", "abfs", "box@account.dfs.core.windows.net/x"),
        ("memory://x", "memory", "x"),
    ],
)
def test_an_address_is_a_scheme_and_a_path(address, scheme, path):
    assert split_address(address) == (scheme, path)
    assert load_config({"dataset": {"data_folder": address}}).dataset.data_folder == address


@pytest.mark.parametrize("prefix", ["a/b", "/img", "../img", ".img", ".", "a\0b"])
def test_a_file_prefix_that_leaves_the_folder_or_hides_the_files_is_refused(prefix):
    with pytest.raises(ConfigError, match="dataset.file_prefix = .*accepted is .*without /") as caught:
        load_config({"dataset": {"file_prefix": prefix}})
    assert repr(prefix) in str(caught.value)


@pytest.mark.parametrize("folder", ["", "  ", "a\0b"])
def test_a_data_folder_that_names_none_is_refused(folder):
    with pytest.raises(ConfigError, match="dataset.data_folder = .*accepted is a path") as caught:
        load_config({"dataset": {"data_folder": folder}})
    assert repr(folder) in str(caught.value)


def test_schemes_have_one_spelling():
    names = {
        "": "file",
        "file": "file",
        "directio": "direct",
        "s3a": "s3",
        "abfs": "az",
        "azure": "az",
        "gs": "gs",
    }
    assert {name: backend_of(name) for name in names} == names


@pytest.mark.parametrize(
    ("tree", "address"),
    [
        ({}, "data"),
        ({"dataset": {"data_folder": "data/x/"}}, "data/x"),
        ({"dataset": {"data_folder": "x"}, "storage": {"storage_root": "/mnt"}}, "/mnt/x"),
        ({"dataset": {"data_folder": "/x"}, "storage": {"storage_root": "/mnt"}}, "/x"),
        ({"dataset": {"data_folder": "x"}, "reader": {"odirect": True}}, "direct://x"),
        ({"dataset": {"data_folder": "/x"}, "storage": {"storage_type": "direct_fs"}}, "direct:///x"),
        ({"dataset": {"data_folder": "directio:///x"}}, "direct:///x"),
        ({"dataset": {"data_folder": "file:///x"}}, "file:///x"),
        ({"dataset": {"data_folder": "file:///x"}, "reader": {"odirect": True}}, "direct:///x"),
        (
            {"dataset": {"data_folder": "s3://b/x"}, "storage": {"storage_type": "s3", "storage_root": "b"}},
            "s3://b/x",
        ),
        (
            {"dataset": {"data_folder": "x"}, "storage": {"storage_type": "s3", "storage_root": "b"}},
            "s3://b/x",
        ),
        ({"dataset": {"data_folder": "x"}, "storage": {"storage_root": "az://box"}}, "az://box/x"),
        (
            {"dataset": {"data_folder": "./x"}, "storage": {"storage_type": "s3", "storage_root": "s3://b"}},
            "s3://b/x",
        ),
        ({"dataset": {"data_folder": "/x"}, "storage": {"storage_root": "s3://b/in/"}}, "s3://b/in/x"),
        ({"dataset": {"data_folder": "direct://./data/quickstart"}}, "direct://./data/quickstart"),
    ],
)
def test_the_data_address_is_root_and_folder_together(tree, address):
    assert load_config(tree).data_address == address


def test_sections_of_the_newer_dlio(recwarn):
    config = load_config(
        {
            "dataset": {
                "format": "parquet",
                "parquet": {
                    "columns": [{"name": "a", "dtype": "int8", "read": False}, {"name": "b", "size": 3}],
                    "row_group_size": 10, "partition_by": "a", "generation_batch_size": 5,
                    "use_s3dlio_gen": True, "read_mode": "row_group",
                },
                "arrow": {"columns": [], "generation_batch_size": 1},
                "data_gen_method": "dgen", "skip_listing": True, "listing_validation_interval": 1,
                "num_files_generated": 2,
            },
            "reader": {"write_threads": 4},
            "storage": {
                "storage_type": "s3", "storage_library": "s3dlio", "post_generation_settle_seconds": 2.5,
                "storage_options": {
                    "uri_scheme": "s3", "prefetch_window": 256, "simulate_io": False, "file_cache": None,
                },
            },
        }
    )  # fmt: skip
    first, second = config.dataset.parquet.columns
    assert (first.name, first.dtype, first.size, first.read) == ("a", "int8", 1, False)
    assert (second.name, second.dtype, second.size, second.read) == ("b", "float32", 3, True)
    assert config.dataset.parquet.partition_by == ("a",)
    assert config.storage.storage_options["prefetch_window"] == 256
    assert not recwarn
