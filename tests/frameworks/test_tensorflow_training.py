"""DlioTensorFlowDataset in training, under strategies, at Ctrl-C and at the end of a process."""

import os
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.frameworks.conftest import SAMPLES, tasks, tasks_come_down_to
from tests.frameworks.tf_support import ROOT, dataset, python


def model():
    layers = [keras.layers.Rescaling(1e-3), keras.layers.Flatten(), keras.layers.Dense(SAMPLES)]
    network = keras.Sequential([keras.Input((16, 20)), *layers])
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return network


class Seen(keras.callbacks.Callback):
    """Notes how many batches each epoch had."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.batches[-1] += 1


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
def test_keras_fits_evaluates_and_predicts(folder):
    ds = dataset(folder, return_labels=True, shuffle=True)
    network, seen = model(), Seen()
    history = network.fit(ds.create_dataset(), epochs=4, callbacks=[seen], verbose=0)
    assert seen.batches == [6, 6, 6, 6]
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert ds.state_dict(batches=6)["epoch"] == 4
    assert np.isfinite(network.evaluate(ds.create_dataset(), verbose=0))
    assert network.predict(dataset(folder).create_dataset(), verbose=0).shape == (SAMPLES, SAMPLES)


@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")
def test_keras_fits_as_many_steps_of_an_endless_data_set_as_it_is_told(folder):
    ds = dataset(folder, return_labels=True, repeat=-1)
    seen = Seen()
    model().fit(ds.create_dataset(), epochs=3, steps_per_epoch=4, callbacks=[seen], verbose=0)
    assert seen.batches == [4, 4, 4]
    state = ds.state_dict(batches=12)  # of one pass: Keras keeps its iterator
    assert (state["epoch"], state["position"]) == (2, 0)


MIRRORED = """
import sys, tensorflow as tf, numpy as np, keras
from dlio_fast.tensorflow import DlioTensorFlowDataset
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
assert strategy.num_replicas_in_sync == 2
ds = DlioTensorFlowDataset(data_folder=sys.argv[1], batch_size=4, return_labels=True, shuffle=True)
shared = strategy.experimental_distribute_dataset(ds.create_dataset())
seen = []
for x, y in shared:
    for part, labels in zip(strategy.experimental_local_results(x), strategy.experimental_local_results(y)):
        assert part[:, 0, 0].numpy().tolist() == labels.numpy().tolist()
        seen += labels.numpy().tolist()
assert sorted(seen) == list(range(21)), seen
with strategy.scope():
    network = keras.Sequential([keras.Input((16, 20)), keras.layers.Flatten(), keras.layers.Dense(21)])
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
history = network.fit(ds.create_dataset(), epochs=2, verbose=0)
assert len(history.history["loss"]) == 2
print("trained")
"""


def test_a_mirrored_strategy_gets_each_sample_once_over_its_replicas(folder):
    done = python(MIRRORED, folder)
    assert done.stdout.split()[-1:] == ["trained"], done.stderr


WAITING = """
import sys, threading
from dlio_fast.tensorflow import DlioTensorFlowDataset
never = threading.Event()

def transform(fields):
    if fields["x"][0, 0, 0] == 8:
        print("waiting", flush=True)
        never.wait(60)
    return fields

ds = DlioTensorFlowDataset(data_folder=sys.argv[1], batch_size=4, transform=transform)
try:
    for batch in ds: pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
    never.set()
"""

ENDLESS = """
import sys
from dlio_fast.tensorflow import DlioTensorFlowDataset
ds = DlioTensorFlowDataset(data_folder=sys.argv[1], batch_size=4, repeat=-1)
try:
    for number, batch in enumerate(ds.create_dataset()):
        if number == 20: print("running", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def interrupted(code, *arguments):
    """Run a script, send Ctrl-C once it has printed a line; return its exit status, output and errors."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_ctrl_c_ends_a_running_loop_over_create_dataset(folder):
    status, output, errors = interrupted(ENDLESS, folder)
    assert (status, output) == (0, "interrupted\n"), errors


def test_ctrl_c_ends_the_wait_for_a_batch_of_the_data_set_itself(folder):
    status, output, errors = interrupted(WAITING, folder)
    assert (status, output) == (0, "interrupted\n"), errors


END = """
import sys
from dlio_fast.tensorflow import DlioTensorFlowDataset
ds = DlioTensorFlowDataset(data_folder=sys.argv[1], batch_size=1, repeat=int(sys.argv[2]))
tensors = iter(ds.create_dataset())
own = iter(ds)
next(tensors), next(own)
print("leaving", flush=True)
if sys.argv[3] == "raising": raise SystemExit(3)
"""


@pytest.mark.parametrize("repeat, how, status", [(1, "falling off", 0), (-1, "raising", 3)])
def test_a_process_ends_quietly_with_iterators_alive(folder, repeat, how, status):
    done = python(END, folder, repeat, how)
    assert (done.returncode, done.stdout) == (status, "leaving\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert "Fatal" not in done.stderr


def test_an_exception_in_the_training_loop_leaves_no_threads(folder):
    list(dataset(folder).create_dataset())  # TensorFlow's own pools start with the first
    before = tasks()
    with pytest.raises(ZeroDivisionError):
        for _ in dataset(folder, repeat=-1).create_dataset():
            raise ZeroDivisionError
    assert tasks_come_down_to(before)


def test_a_tf_function_iterates_over_it(folder):
    @tf.function
    def total(batches):
        result = tf.constant(0)
        for batch in batches:
            result += tf.reduce_sum(batch[:, 0, 0])
        return result

    assert total(dataset(folder).create_dataset()).numpy() == sum(range(SAMPLES))
