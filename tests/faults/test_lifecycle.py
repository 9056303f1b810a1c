"""However a pass over a loader ends, the process goes on, or comes to its end, as if there had been none."""

import pytest

from tests.faults.bad_files import described, npy
from tests.faults.lifecycle import ENDS, KINDS, run

each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_nothing_is_left_whichever_way_a_pass_ends(folder, kind):
    """Nor without the collector's help, nor where the pass itself is kept."""
    run(
        folder,
        """
gc.disable()
for end in ends:
    for _ in range(2):
        passing = made = loader(data, kind)
        with nothing_left():
            try:
                exec(end)
            except (KeyError, KeyboardInterrupt):
                pass
            batch = None  # what the caller has is the caller's
            made.passes.await_ending()
            made.resources()[1].set_keep(0)
""",
        kind=kind,
        ends=ENDS,
    )


@each_kind
def test_a_pass_that_was_closed_says_so_and_one_at_its_end_stays_there(folder, kind):
    run(
        folder,
        """
made = loader(data, kind)
cut, whole = iter(made), iter(made)
assert all_ids(whole) == ALL
next(cut)
made.close()
for _ in range(3):
    try:
        next(cut)
    except ClosedError as error:
        assert "closed before its end" in str(error)
    else:
        raise AssertionError
    assert next(whole, "end") == "end"
""",
        kind=kind,
    )


# -- transforms that fail, and slow ones --


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_transform_that_fails_is_raised_at_its_batch_and_the_rest_comes_in_order(folder, kind):
    """And the exception keeps nothing alive that only the collector would find."""
    run(
        folder,
        """
bad = {4, 5, 6, 13, 22}
def picky(fields):
    found = bad & set(ids(fields) if kind == "per batch" else [int(fields["x"][0])])
    if found:
        raise LookupError(*sorted(found))
    return fields

gc.disable()
with nothing_left():
    passing, got = iter(loader(data, kind, transform=picky)), []
    while True:
        try:
            got.append(ids(next(passing)))
        except StopIteration:
            break
        except LookupError as error:
            assert set(error.args) <= bad
            got.append(error.__notes__)
    expected = PAIRS.copy()
    for batch in (2, 3, 6, 11):
        expected[batch] = [f"in the transform of batch {batch} of the pass"]
    assert got == expected, got
""",
        kind=kind,
    )


def test_a_transform_that_runs_out_of_something_of_its_own_does_not_end_the_epoch(folder):
    run(
        folder,
        """
def out(fields):
    return next(iter(())) if ids(fields) == [2, 3] else fields

passing = iter(loader(data, "per batch", transform=out))
assert ids(next(passing)) == [0, 1]
try:
    next(passing)
except RuntimeError as error:
    assert "StopIteration" in str(error) and isinstance(error.__cause__, StopIteration)
else:
    raise AssertionError
assert all_ids(passing) == ALL[4:]
""",
    )


def test_samples_are_counted_as_they_were_read_whatever_a_transform_makes_of_them(folder):
    run(
        folder,
        """
made = loader(data, "per batch", transform=lambda fields: {"n": 7, "all": fields["x"].sum(), "x": [1] * 5})
assert [batch["n"] for batch in made] == [7] * 12
assert made.stats()["samples"] == 24
""",
    )


SLOW = """
going, released, calls = threading.Event(), threading.Event(), []
def slow(fields):
    calls.append(ids(fields))
    if len(calls) > 1:
        going.set()
        assert released.wait(10)
    return fields
made = loader(data, "per batch", transform=slow)
"""


def test_close_waits_for_the_transforms_that_are_running_and_begins_no_more(folder):
    run(
        folder,
        SLOW
        + """
with nothing_left():
    passing = iter(made)
    next(passing)
    going.wait()
    closer = threading.Thread(target=made.close)
    closer.start()
    assert come_true(lambda: held()["ring_threads"] == 0)  # it has come so far
    begun = len(calls)
    assert closer.is_alive()
    released.set()
    closer.join()
    assert len(calls) <= begun + 1 <= 4, calls  # one may have been about to begin
""",
    )


def test_breaking_off_does_not_wait_for_a_transform_and_close_does(folder):
    run(
        folder,
        SLOW
        + """
with nothing_left():
    for batch in made:
        break
    del batch
    going.wait()
    closer = threading.Thread(target=made.close)
    closer.start()
    assert closer.is_alive() and not released.is_set()
    released.set()
    closer.join()
    assert not any("transform" in thread.name for thread in threading.enumerate())
""",
    )


def test_a_loader_may_be_closed_by_its_own_transform(folder):
    run(
        folder,
        """
def closing(fields):
    made.close()
    return fields
with nothing_left():
    made = loader(data, "per batch", transform=closing)
    try:
        list(made)
    except ClosedError:
        pass
""",
    )


# -- the end of the interpreter --

EXITS = [
    "",
    "sys.exit(0)",
    "threading.Thread(target=list, args=(made,), daemon=True).start()",
    "threading.Thread(target=lambda: list(made)).start()",
    "import atexit; atexit.register(lambda: next(passing))",
    "sys.modules['keep'] = passing",
    "cycle = [passing]; cycle.append(cycle); del passing",
    "del passing",
]


@pytest.mark.parametrize("end", EXITS)
def test_the_interpreter_exits_silently_with_transforms_going_on(folder, end):
    """Without a transform: see test_nothing_is_left.py."""
    run(folder, f"made = loader(data, 'per batch')\npassing = iter(made)\nbatch = next(passing)\n{end}")


@each_kind
def test_a_thread_that_outlives_the_main_one_gets_its_batches(folder, kind):
    out = run(
        folder,
        """
def train():
    threading.main_thread().join()
    for epoch in range(2):
        print(all_ids(made) == ALL, flush=True)
made = loader(data, kind)
threading.Thread(target=train).start()
""",
        kind=kind,
    )
    assert out == "True\nTrue\n"


def test_transforms_that_never_return_do_not_keep_the_interpreter(folder):
    """Not those of a pass that is alive, of one that was dropped, or of one that a thread waits for."""
    run(
        folder,
        """
going = threading.Semaphore(0)
def endless(fields):
    going.release()
    threading.Event().wait()
passes = [iter(loader(data, "per batch", transform=endless)) for _ in range(3)]
for _ in range(6):
    going.acquire()
threading.Thread(target=next, args=(passes[1],), daemon=True).start()
del passes[0]
""",
    )


def test_the_exit_does_not_wait_for_what_transforms_wait_for(tmp_path):
    """A file of 3 GiB, which is a hole."""
    header = npy(described(shape=f"({3 << 30},)"))
    with open(tmp_path / "hole.npy", "wb") as file:
        file.write(header)
        file.truncate(len(header) + (3 << 30))
    out = run(
        tmp_path,
        """
class Last:
    def __del__(self):
        print(self.made.stats()["bytes_read"] < 3 << 30)

last = Last()
last.made = loader(data, "per batch", batch_size=1)
passing = iter(last.made)
assert come_true(lambda: held()["open_files"])
""",
    )
    assert out == "True\n"
