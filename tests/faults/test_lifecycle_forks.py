"""Forks in the middle of things: the child is told so, or reads for itself; neither process hangs."""

import pytest

from tests.faults.lifecycle import KINDS, run

each_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without = pytest.mark.parametrize("kind", KINDS[:2])

CHILD = """
def use_all():
    '''What a child does with the parent's `passing`, `made` and `data`.'''
    assert refused(lambda: next(passing)) and refused(lambda: next(passing))
    made.stats(), made.state_dict(), passing.get_state()
    assert all_ids(made) == ALL
    assert ids({"x": [data[3]["x"]]}) == [3]
    with loader(data, kind) as other:
        assert all_ids(other) == ALL
    passing.close()
    next(iter(made))
    made.close()
    assert refused(lambda: next(passing))
    data.close()
    assert come_true(lambda: held()["threads"] == 1), held()
    assert (held()["rings"], held()["ring_threads"]) == (0, 0), held()
"""


@each_kind
@pytest.mark.parametrize("exit", ["os._exit", "sys.exit"])
def test_a_child_forked_in_the_middle_of_a_pass_is_on_its_own(folder, kind, exit):
    run(
        folder,
        CHILD
        + f"""
with nothing_left():
    made = loader(data, kind)
    passing = iter(made)
    next(passing), data[5]
    assert ended_well([fork(use_all, exit={exit}) for _ in range(3)])
    assert all_ids(passing) == ALL[2:]
    data.close()
""",
        kind=kind,
    )


@with_and_without
@pytest.mark.parametrize("exit", ["os._exit", "sys.exit"])
def test_a_child_may_leave_all_that_it_has_inherited_as_it_is(folder, kind, exit):
    run(
        folder,
        f"""
made = loader(data, kind)
passing = iter(made)
kept = next(passing), data[5]
assert ended_well([fork(lambda: ids(kept[0]), exit={exit}) for _ in range(3)])
assert ended_well([fork(lambda: globals().pop("passing"), exit={exit}) for _ in range(3)])
assert all_ids(passing) == ALL[2:]
""",
        kind=kind,
    )


@with_and_without
@pytest.mark.parametrize("forking", ["the main thread", "another thread"])
def test_forking_while_other_threads_are_inside_next_harms_neither(folder, kind, forking):
    """Whatever they hold at that moment, the child does not wait for it."""
    run(
        folder,
        CHILD
        + """
def consume():
    while going:
        assert all_ids(made) == ALL
        assert ids({"x": [data[7]["x"]]}) == [7]
    consumed.append(True)

def share():
    while next(passing, None):
        shared.append(True)

def forks():
    for _ in range(30):
        assert ended_well([fork(use_all)])
    forked.append(True)

with nothing_left():
    going, consumed, shared, forked = True, [], [], []
    made = loader(data, kind)
    passing = iter(loader(df.Dataset.from_files([folder + "/00.npz"] * 5000), kind))
    threads = [threading.Thread(target=each) for each in (consume, consume, share, share)]
    for thread in threads:
        thread.start()
    if forking == "the main thread":
        forks()
    else:
        forker = threading.Thread(target=forks)
        forker.start()
        forker.join()
    going = False
    for thread in threads:
        thread.join()
    assert forked and len(consumed) == 2 and len(shared) == 2500, (forked, consumed, len(shared))
    data.close()
    del passing, made
""",
        kind=kind,
        forking=forking,
    )


def test_a_fork_while_a_transform_runs_is_none_of_its_business(folder):
    run(
        folder,
        CHILD
        + """
kind = "per batch"
inside, released = threading.Semaphore(0), threading.Event()
def slow(fields):
    inside.release()
    assert released.wait(10)
    return fields

with nothing_left():
    made = loader(data, kind, transform=slow)
    passing = iter(made)
    inside.acquire(), inside.acquire()
    def released_child():
        released.set()
        use_all()
    children = [fork(released_child, exit=each) for each in (os._exit, sys.exit)]
    assert ended_well(children)
    released.set()
    assert all_ids(passing) == ALL
""",
    )


@with_and_without
def test_a_transform_may_fork(folder, kind):
    run(
        folder,
        CHILD
        + """
children = []
def forking(fields):
    children.append(fork(use_all))
    return fields

with nothing_left():
    made = loader(data, kind)
    passing = iter(made)
    next(passing)
    assert all_ids(loader(data, "per batch", transform=forking, batch_size=8)) == ALL
    assert len(children) == 3 and ended_well(children)
    assert all_ids(passing) == ALL[2:]
""",
        kind=kind,
    )


def test_a_child_does_not_wait_for_a_listing_that_the_parent_had_under_way(tmp_path, folder):
    """Other data sets are no concern of a child that lists its own."""
    many = tmp_path / "many"
    many.mkdir()
    for i in range(5000):
        (many / f"{i}.npz").touch()
    run(
        folder,
        """
def listed(folder):
    return df.Dataset({"dataset": {"data_folder": folder, "format": "npz"}}).files

def list_many():
    while going:
        assert len(listed(many)) == 5000

with nothing_left():
    going = True
    thread = threading.Thread(target=list_many)
    thread.start()
    for _ in range(30):
        assert ended_well([fork(lambda: len(listed(folder)))])
    going = False
    thread.join()
""",
        many=str(many),
    )
