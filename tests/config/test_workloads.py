"""The bundled workloads say what DLIO's and MLPerf Storage's say."""

import pytest

from dlio_fast.config import bundled_dir, find_workload, list_workloads, load_config

# name: framework, format, files, samples a file, bytes a sample, batch, threads, seconds a step,
# utilization or None
TRAINING = {
    "default": ("pytorch", "npz", 64, 1, 4096, 4, 1, 1.0, None),
    "unet3d_v100": ("pytorch", "npz", 168, 1, 146600628, 4, 4, 1.3604, None),
    "unet3d_a100": ("pytorch", "npz", 168, 1, 146600628, 7, 4, 0.636, 0.90),
    "unet3d_h100": ("pytorch", "npz", 168, 1, 146600628, 7, 4, 0.323, 0.90),
    "unet3d_b200": ("pytorch", "npz", 7200, 1, 146600628, 7, 4, 0.162, 0.90),
    "unet3d_v100_s3": ("pytorch", "npy", 168, 1, 146600628, 4, 4, 1.3604, None),
    "unet3d_a100_s3": ("pytorch", "npz", 168, 1, 146600628, 7, 4, 0.636, 0.90),
    "unet3d_h100_s3": ("pytorch", "npz", 168, 1, 146600628, 7, 4, 0.323, 0.90),
    "resnet50_v100": ("tensorflow", "tfrecord", 1024, 1251, 114660.07, 64, 8, 0.195, None),
    "resnet50_a100": ("tensorflow", "tfrecord", 1024, 1251, 114660.07, 400, 8, 0.435, 0.90),
    "resnet50_h100": ("tensorflow", "tfrecord", 1024, 1251, 114660.07, 400, 8, 0.224, 0.90),
    "resnet50_tf": ("tensorflow", "tfrecord", 1024, 1251, 114660.07, 64, 8, 0.098, None),
    "cosmoflow_v100": ("tensorflow", "tfrecord", 524288, 1, 2828486, 1, 4, 0.00936, None),
    "cosmoflow_a100": ("tensorflow", "tfrecord", 524288, 1, 2828486, 1, 4, 0.00551, 0.70),
    "cosmoflow_h100": ("tensorflow", "tfrecord", 524288, 1, 2828486, 1, 4, 0.00350, 0.70),
    "bert_v100": ("tensorflow", "tfrecord", 500, 313532, 2500, 48, 1, 0.968, None),
    "dlrm": ("pytorch", "indexed_binary", 1, 1024, 671088640, 1, 1, 0.064296, None),
    "megatron_deepspeed_LLNL": ("pytorch", "mmap_indexed_binary", 1, 277203535, 2048, 16, 1, 2.44, None),
    "retinanet_b200": ("pytorch", "jpeg", 1170301, 1, 322957, 24, 8, 0.04755, 0.85),
    "flux_b200": ("pytorch", "parquet", 4296, 288, 2164832, 48, 8, 1.35, 0.90),
    "dlrm_b200": ("pytorch", "parquet", 1024, 4718592, 761, 16384, 4, 0.000375, 0.70),
}
DATAGEN = {
    "unet3d_datagen": "unet3d_h100",
    "resnet50_datagen": "resnet50_h100",
    "cosmoflow_datagen": "cosmoflow_h100",
}
# name: TP, PP, ZeRO, 10^9 parameters
LLAMA = {
    "llama_7b": (1, 1, 1, 6.738),
    "llama_7b_zero3": (1, 1, 3, 6.738),
    "llama_8b_zero3": (1, 1, 3, 8.030),
    "llama_70b": (8, 4, 1, 69.88),
    "llama_70b_zero3": (8, 1, 3, 69.88),
    "llama_405b": (8, 32, 1, 405.85),
    "llama_1t": (8, 64, 1, 1183.0),
    "llama3_8b": (1, 1, 3, 8.030),
    "llama3_70b": (8, 1, 3, 69.88),
    "llama3_405b": (8, 32, 1, 405.85),
    "llama3_1t": (8, 64, 1, 1183.0),
}


def test_the_list_is_complete_and_each_has_a_summary():
    found = dict(list_workloads())
    assert set(found) == {*TRAINING, *DATAGEN, *LLAMA, "quickstart"}
    assert list(found) == sorted(found)
    for name, summary in found.items():
        assert 20 < len(summary) < 130, name


def test_they_lie_where_the_package_or_the_checkout_has_them():
    assert bundled_dir().name == "configs"
    assert find_workload("unet3d_h100") == bundled_dir() / "workload" / "unet3d_h100.yaml"
    assert find_workload("quickstart") == bundled_dir() / "quickstart.yaml"


@pytest.mark.parametrize("name", [*TRAINING, *DATAGEN, *LLAMA, "quickstart"])
def test_each_loads_without_a_warning_and_says_where_its_data_are(name, recwarn):
    config = load_config(name)
    assert not recwarn
    assert config.is_set("framework")
    assert config.is_set("dataset.data_folder") or name in LLAMA


@pytest.mark.parametrize("name", TRAINING)
def test_training(name):
    config = load_config(name)
    data, reader = config.dataset, config.reader
    assert (
        config.framework, data.format, data.num_files_train, data.num_samples_per_file,
        data.record_length_bytes, reader.batch_size, reader.read_threads,
        config.train.computation_time.to_dict(),
        config.metric.au if config.is_set("metric.au") else None,
    ) == TRAINING[name]  # fmt: skip
    assert reader.data_loader == config.framework
    assert config.workflow.train


@pytest.mark.parametrize("name", DATAGEN)
def test_data_generation(name):
    config, training = load_config(name), load_config(DATAGEN[name])
    assert config.dataset.to_dict() == training.dataset.to_dict()
    assert (config.workflow.generate_data, config.workflow.train) == (True, False)


@pytest.mark.parametrize("name", LLAMA)
def test_llama(name):
    config = load_config(name)
    split, shape, layers = config.model.parallelism, config.model.transformer, config.model.num_layers
    hidden, ffn = shape.hidden_size, shape.ffn_hidden_size
    heads = hidden // shape.num_attention_heads * shape.num_kv_heads
    per_layer = hidden + hidden * (hidden + 2 * heads) + hidden * hidden + hidden + 3 * ffn * hidden
    parameters = 2 * shape.vocab_size * hidden + layers * per_layer + hidden
    tensor, pipeline, zero, billions = LLAMA[name]
    assert (split.tensor, split.pipeline, split.zero_stage) == (tensor, pipeline, zero)
    assert parameters / 1e9 == pytest.approx(billions, rel=1e-4)
    checkpoint = config.checkpoint
    assert (checkpoint.num_checkpoints_write, checkpoint.num_checkpoints_read) == (10, 10)
    assert (checkpoint.time_between_checkpoints, checkpoint.fsync) == (5, True)
    assert config.workflow.checkpoint
    assert config.workflow.train == (name == "llama_1t")


def test_the_bytes_of_a_row_of_dlrm_are_those_of_its_columns():
    data = load_config("dlrm_b200").dataset
    widths = {"int8": 1, "float16": 2, "float32": 4, "float64": 8}
    assert len(data.parquet.columns) == 200
    assert sum(widths[column.dtype] for column in data.parquet.columns) == data.record_length_bytes
    assert sum(column.read for column in data.parquet.columns) == 40


def test_the_bytes_of_a_row_of_flux_are_those_of_its_columns():
    data = load_config("flux_b200").dataset
    assert sum(4 * column.size for column in data.parquet.columns) == data.record_length_bytes


def test_quickstart():
    config = load_config("quickstart")
    assert (config.dataset.format, config.dataset.num_files_train, config.dataset.record_nbytes) == (
        "npz",
        64,
        4 << 20,
    )
    assert config.data_address == "direct://./data/quickstart"
    assert (config.framework, config.reader.batch_size, config.train.epochs) == ("pytorch", 8, 2)
    assert config.reader.sample_shuffle == "seed"
    assert (config.workflow.generate_data, config.workflow.train) == (True, True)
    assert 0 < config.train.computation_time.mean <= 0.05
