"""Signal handlers that raise in the middle of what the library does: Ctrl-C, alarms."""

import pytest

from tests.faults.lifecycle import KINDS, run

each_kind = pytest.mark.parametrize("kind", KINDS)

ALARMS = """
class Alarm(Exception):
    pass

class Alarms:
    '''Raises Alarm inside the with block, again and again.'''
    count = 0
    armed = False

    def __init__(self, seconds):
        signal.signal(signal.SIGALRM, self.ring)
        signal.setitimer(signal.ITIMER_REAL, seconds, seconds)

    def ring(self, *_):
        if self.armed:
            self.armed = False
            self.count += 1
            raise Alarm

    def stop(self):
        signal.setitimer(signal.ITIMER_REAL, 0)
"""


@pytest.mark.parametrize("kind", KINDS[1:])
def test_ctrl_c_ends_the_wait_for_a_transform_at_once_and_the_pass_can_go_on(folder, kind):
    run(
        folder,
        """
sent, released, got = [], threading.Event(), []
def slow(fields):
    if int(np.ravel(fields["x"])[0]) == 4 and not sent:
        assert come_true(lambda: len(got) == 2 and inside_next())
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)
        assert released.wait(10)
    return fields

with nothing_left():
    passing = iter(loader(data, kind, transform=slow))
    try:
        for batch in passing:
            got.append(ids(batch))
        raise AssertionError
    except KeyboardInterrupt:
        assert time.perf_counter() - sent[0] < 0.2
    released.set()
    got += [ids(batch) for batch in passing]
    assert got == PAIRS, got
    batch = None
""",
        kind=kind,
    )


@each_kind
def test_ctrl_c_during_a_transform_ends_the_program_as_it_ends_others(folder, kind):
    run(
        folder,
        """
import subprocess
program = '''
from tests.faults.lifecycle import *
import os, signal, sys, threading
def press():
    come_true(inside_next)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=press).start()
while True:
    for batch in loader(df.Dataset.from_files(sys.argv[1]), sys.argv[2]):
        pass
'''
done = subprocess.run([sys.executable, "-c", program, folder, kind], capture_output=True, text=True)
assert done.returncode == -signal.SIGINT
assert done.stderr.count("Traceback") == 1 and done.stderr.endswith("\\nKeyboardInterrupt\\n"), done.stderr
""",
        kind=kind,
    )


@each_kind
def test_a_handler_that_raises_anywhere_in_next_loses_and_doubles_nothing(folder, kind):
    """One that comes in the very instant of handing over swallows the batch; the state counts it, then."""
    out = run(
        folder,
        ALARMS
        + """
with nothing_left():
    made, lost, alarms = loader(data, kind, batch_size=1), 0, Alarms(2e-4)
    end = time.monotonic() + 5
    while time.monotonic() < end and alarms.count < 2000:
        passing, got, before = iter(made), [], 0
        while True:
            batch = None
            try:
                alarms.armed = True
                batch = next(passing)
                alarms.armed = False
            except Alarm:
                pass
            except StopIteration:
                alarms.armed = False
                break
            now = passing.progress.delivered
            if batch is None and now != before:
                got += range(before, now)
                lost += 1
            elif batch is not None:
                got += ids(batch)
            before = now
        assert got == ALL, got
        assert made.state_dict()["epoch"] == made.stats()["epoch"] + 1
    alarms.stop()
    batch = None
print(alarms.count, lost)
""",
        kind=kind,
    )
    alarms, lost = map(int, out.split())
    assert alarms >= 200
    assert lost < alarms / 4


@each_kind
def test_a_handler_that_raises_while_a_pass_begins_or_ends_leaves_nothing(folder, kind):
    out = run(
        folder,
        ALARMS
        + """
with nothing_left():
    alarms = Alarms(2e-4)
    end = time.monotonic() + 5
    while time.monotonic() < end and alarms.count < 1000:
        made = loader(data, kind)
        passing = None
        try:
            alarms.armed = True
            passing = iter(made)
            next(passing)
            made.close()
            alarms.armed = False
        except Alarm:
            pass
        made.close()
        try:
            next(passing or iter(made))
            raise AssertionError
        except ClosedError:
            pass
    alarms.stop()
    del passing, made
print(alarms.count)
""",
        kind=kind,
    )
    assert int(out) >= 100


def test_a_handler_that_raises_while_a_sample_is_read_leaves_no_other_for_the_next(folder):
    out = run(
        folder,
        ALARMS
        + """
with nothing_left():
    alarms = Alarms(2e-4)
    end = time.monotonic() + 5
    while time.monotonic() < end and alarms.count < 1000:
        for i in ALL:
            sample = None
            try:
                alarms.armed = True
                sample = data[i]
                alarms.armed = False
            except Alarm:
                continue
            assert sample["x"][0] == i
    alarms.stop()
    sample = None
    data.close()
print(alarms.count)
""",
    )
    assert int(out) >= 100
