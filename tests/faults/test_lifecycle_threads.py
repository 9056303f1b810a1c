"""Passes, loaders and data sets that several threads use, close and drop."""

import pytest

from tests.faults.bad_files import described, npy
from tests.faults.lifecycle import KINDS, run

each_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without = pytest.mark.parametrize("kind", KINDS[:2])

IN_THREADS = """
sys.setswitchinterval(1e-5)

def in_threads(count, function):
    results, errors = [], []
    def call():
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)
    threads = [threading.Thread(target=call) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, results, errors

def joined(threads, results, errors):
    for thread in threads:
        thread.join()
    assert not errors, errors
    return results
"""


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Three files of 3 GiB, which are holes: long to read, and nothing is ever read to its end."""
    root = tmp_path_factory.mktemp("slow")
    header = npy(described(shape=f"({3 << 30},)"))
    for i in range(3):
        with open(root / f"{i}.npy", "wb") as file:
            file.write(header)
            file.truncate(len(header) + (3 << 30))
    return root


# -- side by side --


def test_passes_of_several_loaders_and_of_one_go_on_side_by_side(folder):
    run(
        folder,
        """
with nothing_left():
    made = [loader(data, kind) for kind in KINDS]
    passes = [iter(one) for one in made + made]
    for batches in zip(*passes, strict=True):
        got = [ids(batch) for batch in batches]
        assert got == [got[0]] * 6, got
    del batches
    assert [next(one, "end") for one in passes] == ["end"] * 6
    assert [one.stats()["samples"] for one in made] == [48] * 3
    del made, passes
""",
    )


@each_kind
def test_each_batch_of_a_pass_goes_to_one_of_the_threads_that_share_it(folder, kind):
    run(
        folder,
        IN_THREADS
        + """
with nothing_left():
    made = loader(data, kind, shuffle=True)
    for epoch in range(10):
        passing = iter(made)
        got = joined(*in_threads(3, lambda: [ids(batch) for batch in passing]))
        expected = made.sampler.ids(epoch, 0, 24).reshape(12, 2).tolist()
        assert sorted(pair for share in got for pair in share) == sorted(expected)
        for share in got:  # to each in the order of the pass
            places = [expected.index(pair) for pair in share]
            assert places == sorted(places)
        state = made.state_dict()
        assert (state["epoch"], state["position"]) == (epoch + 1, 0)
    assert made.stats()["samples"] == 240
    del passing
""",
        kind=kind,
    )


@each_kind
def test_threads_that_iterate_over_one_loader_get_an_epoch_each(folder, kind):
    run(
        folder,
        IN_THREADS
        + """
with nothing_left():
    made = loader(data, kind, shuffle=True)
    watching = True
    def watch():
        while watching:
            assert 0 <= made.stats()["samples"] <= 24 * 30
    watchers = in_threads(1, watch)
    got = joined(*in_threads(3, lambda: [all_ids(made) for _ in range(10)]))
    watching = False
    joined(*watchers)
    orders = [made.sampler.ids(epoch, 0, 24).tolist() for epoch in range(30)]
    assert sorted(order for share in got for order in share) == sorted(orders)
    stats = made.stats()
    assert (stats["samples"], stats["batches"], stats["files"]) == (24 * 30, 12 * 30, 24 * 30), stats
    assert stats["epoch"] == 29
""",
        kind=kind,
    )


# -- closed by another thread --


@with_and_without
@pytest.mark.parametrize("what", ["passing", "made"])
def test_who_waits_in_next_is_told_when_another_thread_closes(slow, kind, what):
    """He who waits for the file, and he who waits for his turn."""
    run(
        slow,
        IN_THREADS
        + f"""
with nothing_left():
    made = loader(data, kind, batch_size=1)
    passing = iter(made)
    threads, results, errors = in_threads(2, lambda: next(passing))
    assert come_true(lambda: all(inside_next(thread) for thread in threads))
    begin = time.perf_counter()
    {what}.close()
    for thread in threads:
        thread.join()
    assert time.perf_counter() - begin < 2
    assert [type(error) for error in errors] == [ClosedError] * 2, (results, errors)
    errors.clear()
    del passing, made
""",
        kind=kind,
    )


@with_and_without
def test_no_pass_outlives_the_loader_that_is_closed_while_it_begins(folder, kind):
    run(
        folder,
        IN_THREADS
        + """
def consume():
    try:
        while True:
            passes.append(iter(made))
            next(passes[-1], None)
    except ClosedError:
        pass

for _ in range(30):
    with nothing_left():
        made, passes = loader(data, kind), []
        threads = in_threads(2, consume)
        assert come_true(lambda: len(passes) > 3)
        made.close()
        joined(*threads)
        core = held()
        assert (core["rings"], core["ring_threads"]) == (0, 0), core
        passes.clear()
""",
        kind=kind,
    )


@with_and_without
def test_a_signal_handler_may_close_the_loader_that_the_main_thread_waits_for(slow, kind):
    run(
        slow,
        """
signal.signal(signal.SIGTERM, lambda *_: made.close())
def press():
    assert come_true(inside_next)
    os.kill(os.getpid(), signal.SIGTERM)
with nothing_left():
    made = loader(data, kind, batch_size=1)
    presser = threading.Thread(target=press)
    presser.start()
    try:
        for batch in made:
            raise AssertionError
    except ClosedError:
        pass
    presser.join()
""",
        kind=kind,
    )


def test_threads_may_read_single_samples_while_another_closes_the_data_set(folder):
    run(
        folder,
        IN_THREADS
        + """
with nothing_left():
    reading = True
    def read():
        got = 0
        while reading or not got:
            for i in ALL:
                try:
                    assert ids({"x": [data[i]["x"]]}) == [i]
                    got += 1
                except ClosedError:
                    pass
    def close():
        while reading:
            data.close()
    threads = in_threads(2, read), in_threads(2, close)
    for _ in range(300):
        data.close()
        threading.Event().wait(0.001)
    reading = False
    for each in threads:
        joined(*each)
    data.close()
""",
    )


# -- dropped --


@each_kind
def test_a_pass_may_be_dropped_by_any_thread(folder, kind):
    run(
        folder,
        IN_THREADS
        + """
with nothing_left():
    made = loader(data, kind)
    for _ in range(10):
        box = [iter(made)]
        next(box[0])
        joined(*in_threads(1, box.clear))
    made.passes.await_ending()
""",
        kind=kind,
    )


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_pass_in_a_cycle_may_be_collected_by_a_thread_of_its_own_transform(folder, kind):
    run(
        folder,
        """
import weakref

def collecting(fields):
    dropped.wait(10)
    while alive:
        gc.collect()
    return fields

gc.disable()
collectors = []
with nothing_left():
    for _ in range(10):
        dropped, alive = threading.Event(), [True]
        passing = iter(loader(data, kind, transform=collecting))
        weakref.finalize(passing, alive.clear)
        weakref.finalize(passing, lambda: collectors.append(threading.current_thread().name))
        cycle = [passing]
        cycle.append(cycle)
        del passing, cycle
        dropped.set()
        assert come_true(lambda: not alive)
assert collectors == ["dlio_fast transform"] * 10, collectors
""",
        kind=kind,
    )


@each_kind
def test_collecting_at_every_moment_disturbs_no_pass(folder, kind):
    """Garbage with passes in it, found by whichever thread comes upon it."""
    run(
        folder,
        IN_THREADS
        + """
gc.set_threshold(1)
def consume():
    for _ in range(5):
        cycle = [iter(made)]
        cycle.append(cycle)
        next(cycle[0])
        del cycle
        assert all_ids(made) == ALL
with nothing_left():
    made = loader(data, kind)
    joined(*in_threads(2, consume))
    made.close()
    gc.collect()
    assert made.stats()["samples"] == 10 * 26
""",
        kind=kind,
    )
