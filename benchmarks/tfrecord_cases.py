"""TFRecord: reading against tf.data, cold against fio, and writing against DLIO's own method."""

from __future__ import annotations

import os
import shutil
from functools import partial

import numpy as np
import tensorflow as tf

import dlio_fast as df
from dlio_fast.workload.generate import generate

from . import data, peers
from .runner import Case, Goal

RECORD = 114_660
LARGE = 2_828_486
BATCH = 64


def config(folder: str, **dataset) -> df.Config:
    return df.load_config({"dataset": {"format": "tfrecord", "data_folder": folder, **dataset}})


def records(files: int, samples: int, nbytes: int) -> list[str]:
    """Files as ``dlio-fast generate`` writes them: DLIO's layout."""

    def make(folder) -> None:
        sizes = {"num_files_train": files, "num_samples_per_file": samples, "record_length_bytes": nbytes}
        generate(config(str(folder), **sizes))

    folder = f"tfrecord_{files}x{samples}x{nbytes}"
    data.made(folder, make)
    return sorted(str(path) for path in (data.ROOT / folder / "train").iterdir())


def loader(files: list[str], batch_size: int, *, direct: bool = False, **options) -> df.Loader:
    addresses = [f"direct://{path}" for path in files] if direct else files
    return df.Loader(df.Dataset.from_files(addresses), batch_size=batch_size, **options)


def drain(batches: df.Loader) -> int:
    return sum(batch["image"].nbytes for batch in batches)


FEATURES = {"image": tf.io.FixedLenFeature([], tf.string), "size": tf.io.FixedLenFeature([], tf.int64)}


def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    example = tf.io.parse_example(serialized, FEATURES)
    return tf.io.decode_raw(example["image"], tf.uint8), example["size"]


def tf_data(files: list[str], batch_size: int) -> tf.data.Dataset:
    """The pipeline that TensorFlow's guide recommends: parsing batches costs it less than parsing samples."""
    read = tf.data.TFRecordDataset(files, num_parallel_reads=tf.data.AUTOTUNE).batch(batch_size)
    return read.map(parse, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


class Pass:
    """A pass over a tf.data pipeline, up to its last batch.

    An iterator of TensorFlow's is gone only when its autotuner wakes, which can take seconds that no training
    waits for between two steps: it is let go of outside of what is measured.
    """

    def __init__(self, batches: tf.data.Dataset):
        self.batches, self.iterator = batches, None

    def __call__(self) -> int:
        self.iterator = iter(self.batches)
        return sum(image.shape[0] * image.shape[1] for image, _ in self.iterator)

    def let_go(self) -> None:
        self.iterator = None


def tfrecord_warm() -> Case:
    files = records(16, 256, RECORD)
    data.warm(files)
    theirs = Pass(tf_data(files, BATCH))
    return Case(
        "tfrecord_warm", "16 × 256 records of 114,660 bytes, batches of 64, crc verified",
        data.total_bytes(files),
        {
            "tf.data": theirs,
            "dlio_fast": partial(drain, loader(files, BATCH)),
            "dlio_fast, shuffled by files": partial(drain, loader(files, BATCH, shuffle="files")),
            "dlio_fast, shuffled globally": partial(drain, loader(files, BATCH, shuffle=True)),
        },
        [
            Goal("against tf.data", "dlio_fast", "tf.data", 3.0, 4.5),
        ],
        before_each=theirs.let_go,
    )  # fmt: skip


def tfrecord_cold() -> Case:
    files = records(256, 1, LARGE)
    ours = loader(files, 8, direct=True)

    return Case(
        "tfrecord_cold", "256 × 1 record of 2.8 MB, cold, direct://", data.total_bytes(files),
        {
            **peers.fio_reading(files),
            "dlio_fast": partial(drain, ours),
        },
        [Goal("crc verified, against the best of fio", "dlio_fast", "fio", 0.90, 0.97)],
        cache="cold (O_DIRECT, caches dropped before each run)",
        before_each=data.drop_caches,
        rounds=8,
    )  # fmt: skip


def tfrecord_generation() -> Case:
    files, samples = 8, 128
    folder = data.ROOT / "generated_tfrecord"

    def dlio() -> int:
        """What DLIO's generator does, for a quarter of the files: it is slow."""
        (folder / "dlio").mkdir(parents=True, exist_ok=True)
        side = int(RECORD**0.5)
        for i in range(files // 4):
            rng = np.random.default_rng()
            with tf.io.TFRecordWriter(str(folder / "dlio" / f"{i}.tfrecord")) as writer:
                for _ in range(samples):
                    record = (rng.random((side, side), np.float32) * 255).astype(np.uint8)
                    raw = tf.train.Feature(bytes_list=tf.train.BytesList(value=[record.tobytes()]))
                    size = tf.train.Feature(int64_list=tf.train.Int64List(value=[record.nbytes]))
                    features = tf.train.Features(feature={"image": raw, "size": size})
                    writer.write(tf.train.Example(features=features).SerializeToString())
        return files // 4 * samples * side * side

    def ours(scheme: str):
        sizes = {"num_files_train": files, "num_samples_per_file": samples, "record_length_bytes": RECORD}
        parsed = config(f"{scheme}{folder / 'ours'}", **sizes)
        return lambda: generate(parsed).bytes

    def clean() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        os.sync()

    return Case(
        "tfrecord_generation",
        f"Generate {files} × {samples} records of 114,660 bytes", files * samples * RECORD,
        {"DLIO's method": dlio, "dlio_fast": ours(""), "dlio_fast, direct": ours("direct://")},
        [
            Goal("against DLIO's method", "dlio_fast", "DLIO's method", 5.0, 10.0),
            Goal("direct, against DLIO's method", "dlio_fast, direct", "DLIO's method", 5.0, 10.0),
        ],
        cache="no cache: files are written",
        before_each=clean,
        after=clean,
    )  # fmt: skip
