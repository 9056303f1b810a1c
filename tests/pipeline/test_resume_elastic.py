"""Lives of a training run: each goes on from a state of the one before, with other ranks and batch sizes."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.pipeline.sampler import SHUFFLES, Sampler
from dlio_fast.pipeline.state import Progress, make_state, read_state
from tests.pipeline.files import numbered, write_files

EPOCHS = 3
TO_THE_END = 1000


def in_order(shares: list[list[int]]) -> list[int]:
    """What ranks that take turns got, in the order of the epoch."""
    rounds = itertools.zip_longest(*shares)
    return [number for one in rounds for number in one if number is not None]


class Rank:
    """What a loader does on one rank, without any data: from a state, so many batches, to a state."""

    def __init__(self, state, **share):
        self.whole = Sampler(**share)
        self.epoch, start = read_state(state, self.whole, self.whole.batch_size) if state else (0, 0)
        self.sampler = Sampler(**share, start=start)
        self.progress = Progress(self.sampler, self.epoch, self.whole.batch_size, whole=True)

    def next(self) -> list[int]:
        """The next batch; an empty one at the end, of which the consumer is told."""
        begin = self.progress.delivered * self.sampler.batch_size
        count = min(self.sampler.batch_size, len(self.sampler) - begin)
        if count <= 0:
            self.progress.finished = True
            return []
        self.progress.delivered += 1
        return self.sampler.ids(self.epoch, begin, count).tolist()

    def state(self):
        if self.progress.finished:
            return make_state(self.whole, self.epoch + 1, 0, self.whole.batch_size)
        return make_state(self.sampler, self.epoch, self.progress.position(), self.sampler.batch_size)


@st.composite
def orders(draw):
    """Arguments of a sampler that are the same in all lives."""
    samples_per_file = draw(st.integers(1, 7))
    return {
        "n": draw(st.integers(1, 150)) * samples_per_file,
        "samples_per_file": samples_per_file,
        "shuffle": draw(st.sampled_from(SHUFFLES)),
        "window_files": draw(st.integers(0, 5)),
        "seed": draw(st.integers(0, 2**64)),
        "reshuffle": draw(st.booleans()),
    }


def lives(most_ranks: int, largest_batch: int):
    """World size, batch size, steps and the rank whose state the next life gets; the last go to the end."""
    steps = st.integers(0, 4) | st.just(TO_THE_END)
    ranks, batch_sizes = (st.integers(1, 4) | st.integers(1, most) for most in (most_ranks, largest_batch))
    life = st.tuples(ranks, batch_sizes, steps, st.integers(0, most_ranks - 1))
    return st.lists(life, max_size=12).map(lambda drawn: [*drawn, *[(2, 3, TO_THE_END, 0)] * EPOCHS])


@settings(max_examples=300)
@given(orders(), st.sampled_from(["uneven", "drop_last", "pad"]), lives(64, 40))
def test_over_all_ranks_and_lives_every_sample_comes_once_an_epoch(order, rest, lives):
    """Whenever a life ends, whichever rank saves, and whatever world_size and batch_size follow."""
    exactly = Sampler(**order)
    order |= {rest: True} if rest != "uneven" else {}
    seen = [[] for _ in range(EPOCHS + len(lives))]
    over = [0] * len(seen)  # what the last life of an epoch has to leave out or to repeat
    state = None
    for world_size, batch_size, steps, saving in lives:
        share = order | {"world_size": world_size, "batch_size": batch_size}
        ranks = [Rank(state, **share, rank=rank) for rank in range(world_size)]
        epoch, left = ranks[0].epoch, exactly.n - ranks[0].sampler.start
        if left:
            over[epoch] = left % (world_size * batch_size) if rest == "drop_last" else -left % world_size
        for _ in range(steps):
            batches = [rank.next() for rank in ranks]
            seen[epoch] += in_order(batches)
            if not any(batches):
                break
        state = json.loads(json.dumps(ranks[saving % world_size].state()))
    assert state["epoch"] >= EPOCHS
    for epoch in range(state["epoch"]):
        whole = exactly.ids(epoch, 0, exactly.n).tolist()
        assert sorted(whole) == list(range(exactly.n))
        if rest == "uneven":
            assert seen[epoch] == whole
        elif rest == "drop_last":
            assert seen[epoch] == whole[: len(whole) - over[epoch]]
        else:
            assert seen[epoch] == list(itertools.islice(itertools.cycle(whole), len(whole) + over[epoch]))


def identity(batch):
    return batch


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """6 files with 4 samples each; a sample's first element is three times its number."""
    folder = tmp_path_factory.mktemp("elastic")
    write_files(folder, numbered(6, (4, 3)))
    with df.Loader(df.Dataset.from_files(folder, sample_axis=0)) as loader:
        yield loader.dataset


readings = st.fixed_dictionaries(
    {
        "threads": st.integers(1, 3),
        "prefetch_bytes": st.sampled_from([1 << 20, 200, 0]),
        "transform": st.sampled_from([None, identity]),
    }
)


@settings(max_examples=50)
@given(
    st.sampled_from(SHUFFLES), st.integers(0, 2**32), lives(4, 7), st.lists(readings, min_size=1, max_size=4),
    st.booleans(),
)  # fmt: skip
def test_loaders_that_read_ahead_neither_lose_nor_repeat_a_sample(
    dataset, shuffle, seed, lives, readings, set_epoch
):
    """Real loaders: what is in flight when the state is taken comes again."""
    seen = [[] for _ in range(EPOCHS + len(lives))]
    state, epoch = None, 0
    for (world_size, batch_size, steps, saving), reading in zip(
        lives, itertools.cycle(readings), strict=False
    ):
        share = reading | {"batch_size": batch_size, "world_size": world_size}
        loaders = [
            df.Loader(dataset, shuffle=shuffle, shuffle_window=200, seed=seed, rank=rank, **share)
            for rank in range(world_size)
        ]
        for loader in loaders:
            if state is not None:
                loader.load_state_dict(json.loads(state))
            if set_epoch:
                loader.set_epoch(epoch)
        passes = [iter(loader) for loader in loaders]
        for _ in range(steps):
            batches = [next(one, {"x": []}) for one in passes]
            got = [[int(x.flat[0]) // 3 for x in batch["x"]] for batch in batches]
            seen[epoch] += in_order(got)
            if not any(got):
                break
        saved = loaders[saving % world_size].state_dict()
        state, epoch = json.dumps(saved), saved["epoch"]
        for loader in loaders:
            loader.close()
    assert epoch >= EPOCHS
    whole = Sampler(24, shuffle, seed, samples_per_file=4, window_files=2)
    for number in range(epoch):
        assert sorted(seen[number]) == list(range(24))
        assert seen[number] == whole.ids(number, 0, 24).tolist()
