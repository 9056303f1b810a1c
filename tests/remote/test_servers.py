"""What the tests rely on their servers for."""

import hashlib

DATA = hashlib.shake_256(b"objects").digest(300_000)


def test_an_object_that_was_put_is_listed_and_read(store):
    etag = store.put("data/a.bin", DATA)
    store.put("data/b.bin", b"")
    store.put("else", b"1")
    assert etag.strip('"')
    assert store.get("data/a.bin") == DATA
    assert store.list("data/") == {"data/a.bin": len(DATA), "data/b.bin": 0}
    store.delete("data/a.bin")
    assert store.list() == {"data/b.bin": 0, "else": 1}


def test_fsspec_reaches_it_with_the_options(store):
    store.put("data/a.bin", DATA)
    filesystem = store.filesystem()
    assert filesystem.cat_file(store.address("data/a.bin")) == DATA
    assert filesystem.cat_file(store.address("data/a.bin"), start=1000, end=2000) == DATA[1000:2000]
    assert filesystem.info(store.address("data/a.bin"))["size"] == len(DATA)
    filesystem.pipe_file(store.address("data/b.bin"), DATA[:5])
    assert store.get("data/b.bin") == DATA[:5]
    assert [item["name"] for item in filesystem.ls(store.address("data"), detail=True)] == [
        f"{store.container}/data/a.bin",
        f"{store.container}/data/b.bin",
    ]
