"""However a pass over a format that Python decodes ends: nothing hangs, and nothing is left."""

import pytest

from tests.faults.lifecycle import ENDS, run
from tests.formats.records import write_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Six files of four numbered samples, two a block."""
    return write_folder(tmp_path_factory.mktemp("records"), files=6, samples=4, per_block=2, width=2000)


RECORDS = """
from tests.formats.records import Records
data = df.Dataset.from_files(folder, format=Records())
going, released = threading.Semaphore(0), threading.Event()

class Slow(Records):
    '''Decodes the first file's two blocks at once, and the others when it is released.'''
    def decode(self, path, *arguments):
        decoded = super().decode(path, *arguments)
        if not path.endswith("000.rec"):
            going.release()
            assert released.wait(12)
        return decoded

slow = df.Dataset.from_files(folder, format=Slow())
"""


def run_records(folder, text, **names):
    return run(folder, RECORDS + text, **names)


@pytest.mark.parametrize("shuffle", ["off", "global"])
def test_nothing_is_left_whichever_way_a_pass_ends(folder, shuffle):
    run_records(
        folder,
        """
gc.disable()
for end in ends:
    for _ in range(2):
        passing = made = loader(data, shuffle=shuffle)
        with nothing_left():
            try:
                exec(end)
            except (KeyError, KeyboardInterrupt):
                pass
            batch = None
            made.close()
""",
        ends=ENDS,
        shuffle=shuffle,
    )


def test_nothing_is_left_of_failures_whether_anybody_took_them_or_not(folder):
    run_records(
        folder,
        """
class Picky(Records):
    def decode(self, *arguments):
        decoded = super().decode(*arguments)
        if 9 in decoded[1] or 14 in decoded[1]:
            raise LookupError(decoded)
        return decoded

gc.disable()
picky = df.Dataset.from_files(folder, format=Picky())
for taken in (0, 1, 4, 5, 6, 13):
    with nothing_left():
        made = loader(picky)
        passing, failed = iter(made), 0
        for _ in range(taken):
            try:
                next(passing, None)
            except LookupError:
                failed += 1
        assert failed == (taken > 4) + (taken > 7)
        if taken == 13:
            assert next(passing, "end") == "end"
        made.close()
        del passing
with nothing_left():
    for i in (9, 15, 3):
        try:
            picky[i]
        except LookupError:
            pass
    picky.close()
""",
    )


def test_close_waits_for_the_decoders_at_work_and_begins_no_more(folder):
    run_records(
        folder,
        """
with nothing_left():
    made = loader(slow)
    passing = iter(made)
    next(passing), going.acquire(), going.acquire()
    closer = threading.Thread(target=made.close)
    closer.start()
    begun = len(slow.format.decoded)
    closer.join(0.2)
    assert closer.is_alive()
    released.set()
    closer.join()
    assert len(slow.format.decoded) == begun == 4
    assert held()["rings"] == 0
""",
    )


def test_breaking_off_waits_for_no_decoder(folder):
    run_records(
        folder,
        """
with nothing_left():
    for batch in loader(slow):
        going.acquire(), going.acquire()
        break
    del batch
    assert held()["rings"] == 1 and not released.is_set()
    released.set()
    assert come_true(lambda: held()["rings"] == 0)
""",
    )


def test_ctrl_c_ends_the_wait_for_a_decoder_and_closing_with_it(folder):
    run_records(
        folder,
        """
def press():
    going.acquire(), going.acquire()
    assert come_true(inside_next)
    os.kill(os.getpid(), signal.SIGINT)
    assert interrupted.wait(10)
    os.kill(os.getpid(), signal.SIGINT)

with nothing_left():
    interrupted = threading.Event()
    made = loader(slow)
    presser = threading.Thread(target=press)
    presser.start()
    try:
        with contextlib.closing(made):
            try:
                passing = iter(made)
                while True:
                    next(passing)
            except KeyboardInterrupt:
                print("first")
                interrupted.set()  # and now it waits for the decoders in close()
    except KeyboardInterrupt:
        print("second")
    presser.join()
    released.set()
    del passing
""",
    )


def test_a_loader_may_be_closed_and_a_pass_dropped_by_a_decoder(folder):
    run_records(
        folder,
        """
class Closing(Records):
    def decode(self, *arguments):
        end()
        return super().decode(*arguments)

closing = df.Dataset.from_files(folder, format=Closing())
for way in ("close", "drop"):
    with nothing_left():
        made = loader(closing)
        end = made.close if way == "close" else lambda: globals().pop("passing", None)
        try:
            passing = iter(made)
            while "passing" in globals():
                next(passing, None)
                time.sleep(0)
        except (ClosedError, NameError):
            pass
        globals().pop("passing", None)
        end = None
        del made
""",
    )


def test_a_pass_in_a_cycle_may_be_collected_by_its_own_decoder_or_another_ones(folder):
    """Two passes share what is kept: who collects the one must not wait for its decoder."""
    run_records(
        folder,
        """
import weakref
class Collecting(Records):
    def decode(self, *arguments):
        while alive:
            gc.collect()
        return super().decode(*arguments)

gc.disable()
collecting = df.Dataset.from_files(folder, format=Collecting())
with nothing_left():
    for others in (0, 1) * 10:
        alive = [True]
        made = loader(collecting, batch_size=1)  # so that threads wait for another's block
        other = [iter(made) for _ in range(others)]
        passing = iter(made)
        weakref.finalize(passing, alive.clear)
        cycle = [passing]
        cycle.append(cycle)
        del passing, cycle
        assert come_true(lambda: not alive)
        for one in other:
            assert all_ids(one) == ALL
        del other, made
        one = None
""",
    )


EXITS = [
    "",
    "sys.exit(0)",
    "threading.Thread(target=list, args=(made,), daemon=True).start()",
    "import atexit; atexit.register(lambda: next(passing))",
    "sys.modules['keep'] = passing",
    "cycle = [passing]; cycle.append(cycle); del passing",
    "del passing",
]
LONG = ["that never ends", "that never ends and holds no GIL"]


@pytest.mark.parametrize(
    ("decoder", "end"),
    [("that ends", end) for end in EXITS] + [(decoder, end) for decoder in LONG for end in EXITS[1::2]],
)
def test_the_interpreter_exits_silently_while_decoders_are_at_work(folder, decoder, end):
    run_records(
        folder,
        f"""
class Busy(Records):
    def decode(self, path, *arguments):
        decoded = super().decode(path, *arguments)
        if not path.endswith("000.rec"):
            going.release()
            if {decoder!r} == "that ends":
                for _ in range(1000):
                    sum(range(1000))
            elif {decoder!r} == "that never ends":
                while True:
                    sum(range(1000))
            else:
                time.sleep(100)
        return decoded

made = loader(df.Dataset.from_files(folder, format=Busy()))
passing = iter(made)
batch = next(passing)
going.acquire(), going.acquire()
{end}
""",
    )


CHILD = """
def use_all():
    released.set()
    assert refused(lambda: next(passing))
    made.stats()
    assert all_ids(made) == ALL
    assert int(slow[3]["y"]) == 3
    with loader(data) as other:
        assert all_ids(other) == ALL
    passing.close()
    made.close()
    slow.close()
    assert come_true(lambda: held()["threads"] == 1), held()
    assert (held()["rings"], held()["ring_threads"]) == (0, 0), held()
"""


@pytest.mark.parametrize("exit", ["os._exit", "sys.exit"])
def test_a_child_forked_while_a_decoder_is_at_work_is_on_its_own(folder, exit):
    run_records(
        folder,
        CHILD
        + f"""
with nothing_left():
    made = loader(slow, batch_size=1)  # so that threads wait for another's block
    passing = iter(made)
    next(passing), going.acquire()
    assert ended_well([fork(use_all, exit={exit}) for _ in range(3)])
    released.set()
    assert all_ids(passing) == ALL[1:]
    del passing
    made.close()
""",
    )


def test_forking_at_every_moment_of_decoding_harms_neither(folder):
    run_records(
        folder,
        CHILD
        + """
def consume():
    while alive:
        assert all_ids(made) == ALL

sys.setswitchinterval(1e-5)
with nothing_left():
    slow = data
    alive = [True]
    made = loader(data, batch_size=1)
    passing = iter(made)
    consumers = [threading.Thread(target=consume) for _ in range(2)]
    for consumer in consumers:
        consumer.start()
    for _ in range(30):
        assert ended_well([fork(use_all)])
    alive.clear()
    for consumer in consumers:
        consumer.join()
    del passing
    made.close()
    data.close()
""",
    )


def test_a_decoder_may_fork(folder):
    run_records(
        folder,
        """
children = []
class Forking(Records):
    def decode(self, *arguments):
        children.append(fork(lambda: all_ids(loader(data)) == ALL or 1 / 0))
        return super().decode(*arguments)

with nothing_left():
    assert all_ids(loader(df.Dataset.from_files(folder, format=Forking()))) == ALL
    assert len(children) == 12 and ended_well(children)
""",
    )


def test_threads_collect_close_and_read_at_every_moment(folder):
    run_records(
        folder,
        """
sys.setswitchinterval(1e-5)
gc.set_threshold(1)
errors = []
def consume():
    try:
        for _ in range(5):
            cycle = [iter(made)]
            cycle.append(cycle)
            next(cycle[0])
            del cycle
            assert all_ids(made) == ALL
            assert int(data[7]["y"]) == 7
    except BaseException as error:
        errors.append(error)
with nothing_left():
    made = loader(data, batch_size=3)
    consumers = [threading.Thread(target=consume) for _ in range(3)]
    for consumer in consumers:
        consumer.start()
    for consumer in consumers:
        consumer.join()
    assert not errors, errors
    made.close()
    data.close()
    gc.collect()
""",
    )
