"""Which objects a user's address, pattern, list or manifest means, and what a listing tells of them."""

import io
import os
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dlio_fast as df
from dlio_fast.errors import ConfigError, DlioFastFileNotFoundError, FormatError, UnsupportedError
from dlio_fast.storage.files import list_files, list_folder
from dlio_fast.storage.listing import list_remote, list_remote_folder, names_remote
from dlio_fast.storage.listing_cache import ListingCache
from dlio_fast.storage.settings import settings_for
from dlio_fast.storage.versions import versions_of

SUFFIXES = (".npz",)


def listed(store, address, **options):
    return list_remote(address, SUFFIXES, store.storage_options, **options)


def test_a_folder_s_objects_come_sorted_with_size_and_version(store):
    etags = {
        key: store.put(f"data/{key}", b"x" * size) for size, key in enumerate(("b.npz", "a.npz", "C.NPZ"))
    }
    for other in (".hidden.npz", "notes.txt"):
        store.put(f"data/{other}", b"")
    for address in ("data", "data/"):
        files = listed(store, store.address(address))
        assert list(files) == [store.address(f"data/{name}") for name in ("C.NPZ", "a.npz", "b.npz")]
        assert files.sizes.tolist() == [2, 1, 0]
        assert (
            files.versions.tolist() == versions_of([etags[n] for n in ("C.NPZ", "a.npz", "b.npz")]).tolist()
        )


def test_where_the_first_entry_is_a_folder_the_objects_below_all_folders_count(store):
    for i in range(6):
        store.put(f"data/{i % 2}/img_{i}_of_6.npz", b"x" * i)
    store.put("data/1/deeper/img_9.npz", b"")
    store.put("data/zz.npz", b"")
    files = listed(store, store.address("data"))
    assert list(files) == [store.address(f"data/{i % 2}/img_{i}_of_6.npz") for i in range(6)]
    assert files.sizes.tolist() == list(range(6))


def test_the_bucket_itself_is_a_folder(store):
    store.put("a.npz", b"")
    assert list(listed(store, store.root)) == [store.address("a.npz")]
    assert list(listed(store, f"{store.root}/")) == [store.address("a.npz")]


def test_odd_names_come_as_they_are(store):
    odd = ["a b.npz", "a%20b.npz", "a+b.npz", "a#b.npz", "é漢.npz", "a&<b>.npz", "'q'.npz", "a=b.npz"]
    for name in odd:
        store.put(f"data/{name}", b"")
    assert sorted(listed(store, store.address("data"))) == sorted(store.address(f"data/{n}") for n in odd)


def test_a_listing_goes_on_over_the_pages_of_the_store(moto):
    for i in range(1100):
        moto.put(f"data/img_{i:04d}.npz", b"")
    assert list(listed(moto, moto.address("data"))) == [
        moto.address(f"data/img_{i:04d}.npz") for i in range(1100)
    ]


def test_one_object_is_a_list_of_one(store):
    etag = store.put("data/a.npz", b"xyz")
    files = listed(store, store.address("data/a.npz"))
    assert (list(files), files.sizes.tolist()) == ([store.address("data/a.npz")], [3])
    assert files.versions.tolist() == versions_of([etag]).tolist()


@pytest.mark.parametrize("name", ["missing", "missing/", "data/b.npz", "data/b*.npz", "dat"])
def test_what_is_not_there_is_an_error_that_names_it(moto, name):
    moto.put("data/a.npz", b"")
    with pytest.raises(DlioFastFileNotFoundError) as caught:
        listed(moto, moto.address(name))
    assert caught.value.filename == moto.address(name)


PATTERNS = [
    "*.npz",
    "d*/*.npz",
    "d/[ab]*.npz",
    "d/?.npz",
    "**/*.npz",
    "d/**",
    "[!d]*/a.npz",
    "d/.*",
    "d/[!a].npz",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mean_what_they_mean_for_local_files(moto, tmp_path, pattern):
    for name in ("a.npz", "d/a.npz", "d/b.npz", "d/.h.npz", "d/e/a.npz", "e/a.npz", "d/notes", ".d/a.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        moto.put(name, b"")
    here = [os.path.relpath(path, tmp_path) for path in list_files(f"{tmp_path}/{pattern}", SUFFIXES)]
    assert list(listed(moto, moto.address(pattern))) == [moto.address(name) for name in here]


def test_a_list_of_addresses_stays_in_its_order_and_asks_no_server():
    files = list_remote(["s3://bucket/b", "s3://bucket/a"], SUFFIXES, {"anon": True})
    assert (list(files), files.sizes, files.versions) == (["s3://bucket/b", "s3://bucket/a"], None, None)
    with pytest.raises(UnsupportedError, match="one bucket"):
        list_remote(["s3://bucket/b", "s3://other/a"], SUFFIXES, {"anon": True})
    with pytest.raises(UnsupportedError, match="one bucket"):
        list_remote(["s3://bucket/b", "/local"], SUFFIXES, {"anon": True})


MANIFEST = '# all of it\ns3://bucket/x/b.npz\t7\t"abc"\n\ns3://bucket/a.npz\r\nc.npz\t9\n'


def test_a_local_manifest_may_tell_sizes_and_etags(tmp_path):
    path = tmp_path / "files.txt"
    path.write_text(MANIFEST)
    assert names_remote(path)
    files = list_remote(path, SUFFIXES, {"anon": True})
    assert list(files) == ["s3://bucket/x/b.npz", "s3://bucket/a.npz", "s3://bucket/x/c.npz"]
    assert files.sizes.tolist() == [7, 2**64 - 1, 9]
    assert files.versions.tolist() == [*versions_of(["abc"]).tolist(), 0, 0]


def test_a_manifest_may_be_an_object(store):
    store.put("data/files.lst", f"b.npz\t1\n{store.address('a.npz')}\n".encode())
    files = listed(store, store.address("data/files.lst"))
    assert list(files) == [store.address("data/b.npz"), store.address("a.npz")]


@pytest.mark.parametrize(
    "line", ["s3://b/a\tx", "s3://b/a\t-1", "s3://b/a\t1\te\tmore", f"s3://b/a\t{2**63}"]
)
def test_a_manifest_s_bad_line_is_named(tmp_path, line):
    path = tmp_path / "files.txt"
    path.write_text(f"s3://b/ok\n{line}\n")
    with pytest.raises(FormatError, match="line 2"):
        list_remote(path, SUFFIXES, {"anon": True})


def test_local_files_and_manifests_of_them_are_not_taken_for_remote(tmp_path):
    (tmp_path / "files.txt").write_text("a.npz\n")
    for local in (tmp_path, tmp_path / "files.txt", tmp_path / "none.txt", "x.npz", ["x.npz"], []):
        assert not names_remote(local)
    assert names_remote("s3://b") and names_remote(["s3://b/x"])


def test_a_kept_listing_is_used_until_it_is_too_old(moto, tmp_path):
    moto.put("data/a.npz", b"x")
    first = listed(moto, moto.address("data"), cache=ListingCache(tmp_path, 1e6))
    moto.put("data/b.npz", b"x")
    kept = listed(moto, moto.address("data"), cache=ListingCache(tmp_path, 1e6))
    assert list(kept) == list(first) and kept.sizes.tolist() == [1]
    assert kept.versions.tolist() == first.versions.tolist()
    assert len(listed(moto, moto.address("data"), cache=ListingCache(tmp_path, -1))) == 2
    assert len(listed(moto, moto.address("data"), cache=ListingCache(tmp_path, 1e6))) == 2
    assert len(os.listdir(tmp_path)) == 1


@pytest.mark.parametrize("fault", ["cut", "flip", "empty"])
def test_a_damaged_listing_is_made_anew(moto, tmp_path, caplog, fault):
    moto.put("data/a.npz", b"x")
    listed(moto, moto.address("data"), cache=ListingCache(tmp_path, 1e6))
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[data.index(b"a.npz")] ^= 1
    path.write_bytes({"cut": data[: len(data) // 2], "flip": data, "empty": b""}[fault])
    assert list(listed(moto, moto.address("data"), cache=ListingCache(tmp_path, 1e6))) == [
        moto.address("data/a.npz")
    ]
    assert "listing anew" in caplog.text


def test_versions_are_those_of_the_core():
    # FNV-1a's published test vectors, http://www.isthe.com/chongo/src/fnv/test_fnv.c
    vectors = {"a": 0xAF63DC4C8601EC8C, "foobar": 0x85944171F73967E8}
    for text, expected in vectors.items():
        assert versions_of([text, f'"{text}"', f'W/"{text}"', ""]).tolist() == [expected] * 3 + [0]


def test_a_list_keeps_sizes_and_versions_when_shortened_and_pickled():
    names, numbers = [b"a", b"b"], np.arange(2, dtype=np.uint64)
    files = type(list_remote(["s3://b/x"], (), {"anon": True}))(
        b"s3://b/", names, sizes=numbers, versions=numbers
    )
    for copy in (files.head(1), pickle.loads(pickle.dumps(files.head(1)))):
        assert (list(copy), copy.sizes.tolist(), copy.versions.tolist()) == (["s3://b/a"], [0], [0])


FILES = st.sampled_from(["a.npz", "b.npz", "A.NPZ", ".b.npz", "c.npy", "a-b.npz", "zz.npz"])
FOLDERS = st.sampled_from(["0", "1", "a", "a-", "zz", ".h"])
BELOW = st.builds("{}/{}".format, FOLDERS, FILES)
DEEPER = st.builds("{}/deep/{}".format, FOLDERS, FILES)
TREES = st.sets(FILES | BELOW | DEEPER, min_size=1, max_size=8)


@given(tree=TREES)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_folders_of_any_shape_are_read_as_local_ones_are(tmp_path_factory, tree):
    import fsspec

    folder = tmp_path_factory.mktemp("tree")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    for name in tree:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        memory.pipe_file(f"/tree/{name}", b"")
    here = [os.path.relpath(path, folder) for path in list_folder(folder, SUFFIXES)]
    there = list_remote_folder("memory://tree", SUFFIXES, settings_for("memory://tree"))
    assert list(there) == [f"memory://tree/{name}" for name in here]


@given(trees=st.lists(TREES, min_size=20, max_size=20))
@settings(max_examples=2, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_store_s_folders_of_any_shape_are_read_as_local_ones_are(tmp_path_factory, moto, trees):
    folder = tmp_path_factory.mktemp("trees")
    wanted = settings_for(moto.root, moto.storage_options)
    for number, tree in enumerate(trees):
        top = folder / str(number)
        for name in tree:
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).touch()
            moto.put(f"{folder.name}/{number}/{name}", b"")
        here = [os.path.relpath(path, top) for path in list_folder(top, SUFFIXES)]
        there = list_remote_folder(moto.address(f"{folder.name}/{number}"), SUFFIXES, wanted)
        assert list(there) == [moto.address(f"{folder.name}/{number}/{name}") for name in here]


def test_a_data_set_starts_from_the_listing_that_was_kept(moto, tmp_path):
    moto.put("data/train/a.npy", npy(1))
    options = {**moto.storage_options, "listing_cache": str(tmp_path), "listing_max_age": 1000}
    config = {"dataset": {"data_folder": moto.root + "/data", "format": "npy"}}
    assert len(df.Dataset(config, storage_options=options).files) == 1
    moto.put("data/train/b.npy", npy(2))
    assert len(df.Dataset(config, storage_options=options).files) == 1
    again = df.Dataset.from_files(f"{moto.root}/data/train", format="npy", storage_options=options)
    assert len(again.files) == 1
    assert len(df.Dataset(config, storage_options=moto.storage_options).files) == 2
    with pytest.raises(ConfigError, match="listing_max_age"):
        len(df.Dataset(config, storage_options={**options, "listing_max_age": "soon"}).files)


def npy(value):
    file = io.BytesIO()
    np.save(file, np.full(3, value))
    return file.getvalue()
