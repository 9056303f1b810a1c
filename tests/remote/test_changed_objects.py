"""Objects that others change, and bytes that rot: an error names the object, and there is never a mix."""

import base64
import hashlib
import io

import numpy as np
import pytest

import dlio_fast as df
from dlio_fast import _core
from dlio_fast.errors import ChecksumError, DlioFastFileNotFoundError, FileChangedError, UnsupportedError
from tests.remote.epochs import (
    COUNT,
    ROADS,
    SMALL,
    assert_whole,
    contents,
    data_set,
    epoch,
    fill,
    key,
    named,
    npy,
    options,
)

LARGE = key(SMALL)


@pytest.fixture(params=["radosgw", "azurite"])
def filled(request, new_store):
    store = new_store(request.param)
    fill(store)
    return store


@pytest.mark.parametrize("road", ROADS)
def test_objects_changed_since_they_were_listed_are_errors(filled, road):
    dataset = data_set(filled, road)
    assert len(dataset) == COUNT
    filled.put(key(2), npy(contents(2, other=1)))
    filled.put(key(5), npy(contents(5))[:-400])
    filled.put(key(6), npy(contents(6)) + b"more")
    filled.delete(key(9))
    filled.put(LARGE, npy(contents(SMALL, other=1)))
    result = epoch(dataset)
    assert_whole(result, filled)
    kinds = {named(error, filled): type(error) for error in result.errors}
    assert kinds == dict.fromkeys((2, 5, 6, SMALL), FileChangedError) | {9: DlioFastFileNotFoundError}
    fresh = epoch(data_set(filled, road), other={2: 1, SMALL: 1})
    assert 2 in fresh.seen and SMALL in fresh.seen  # what is there now is read by who lists it now


@pytest.mark.parametrize("road", ROADS)
def test_an_object_that_is_replaced_between_two_ranges_of_it_is_an_error(filled, new_proxy, road):
    proxy = new_proxy(filled)
    dataset = data_set(proxy.store, road)
    assert len(dataset) == COUNT
    replaced = []

    def replace():
        replaced.append(filled.put(LARGE, npy(contents(SMALL, other=1))))

    proxy.inject(method="GET", key=LARGE, skip=1, before=replace)
    result = epoch(dataset)
    assert replaced
    assert_whole(result, filled)
    assert [(named(error, filled), type(error)) for error in result.errors] == [(SMALL, FileChangedError)]


def test_nor_does_a_retry_go_on_in_another_object(filled, new_proxy):
    """Not even where nothing was known of it before: the first answer tells which object it is."""
    proxy = new_proxy(filled)
    proxy.inject(method="GET", key=LARGE, skip=1, reset_after=1_000_000)
    proxy.inject(
        method="GET", key=LARGE, skip=2, before=lambda: filled.put(LARGE, npy(contents(SMALL, other=1)))
    )
    with pytest.raises(FileChangedError, match=LARGE):
        df.read(proxy.store.address(LARGE), storage_options=options(proxy.store))


@pytest.mark.parametrize("road", ROADS)
def test_an_object_deleted_in_mid_epoch_is_missed_at_its_batch(filled, new_proxy, road):
    proxy = new_proxy(filled)
    dataset = data_set(proxy.store, road)
    assert len(dataset) == COUNT
    proxy.inject(method="GET", key=key(1), before=lambda: filled.delete(key(10)))
    result = epoch(dataset, batch_size=1, threads=1)
    assert_whole(result, filled)
    assert [type(error) for error in result.errors] == [DlioFastFileNotFoundError]
    assert named(result.errors[0], filled) == 10


def npz(values):
    file = io.BytesIO()
    np.savez(file, x=values)
    return file.getvalue()


def tfrecord(values):
    """One record, which is a tf.train.Example of one bytes feature, "x"."""

    def message(field, data):
        size, head = len(data), bytes([field << 3 | 2])
        while size > 127:
            head, size = head + bytes([size & 127 | 128]), size >> 7
        return head + bytes([size]) + data

    feature = message(1, message(1, values.tobytes()))
    payload = message(1, message(1, message(1, b"x") + message(2, feature)))
    length = len(payload).to_bytes(8, "little")

    def masked(data):
        crc = _core.crc32c(data)
        return ((((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF).to_bytes(4, "little")

    return length + masked(length) + payload + masked(payload)


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("form", [npz, tfrecord])
def test_a_flipped_bit_is_found_by_the_format_s_checksum(filled, road, form):
    for i in range(3):
        data = bytearray(form(contents(i)))
        if i == 1:
            data[20_000] ^= 4
        filled.put(f"rotten/{i}.{form.__name__}", bytes(data))
    dataset = df.Dataset.from_files(f"{filled.root}/rotten", storage_options=options(filled, road))
    with df.Loader(dataset, batch_size=1) as loader:
        batches, seen = iter(loader), []
        with pytest.raises(ChecksumError, match=rf"rotten/1\.{form.__name__}"):
            seen.extend(map(only, batches))
        seen.extend(map(only, batches))
    assert seen == [contents(0).tobytes(), contents(2).tobytes()]


def only(batch):
    """The bytes of a batch's one array of one sample."""
    (values,) = batch.values()
    return values[0].tobytes()


@pytest.mark.parametrize("size", [40_000, 3_000_000])
def test_the_store_s_own_checksum_is_compared_where_the_format_has_none(radosgw, new_proxy, size):
    """The proxy tells it as Amazon does: neither radosgw 16 nor moto know CRC-32C."""
    values = np.arange(size // 4, dtype=np.int32)
    proxy = new_proxy(radosgw)
    crc = base64.b64encode(_core.crc32c(npy(values)).to_bytes(4, "big")).decode()
    for i in range(3):
        radosgw.put(f"sums/{i}.npy", npy(values))
    dataset = df.Dataset.from_files(f"{radosgw.root}/sums", storage_options=options(proxy.store))
    assert len(dataset) == 3
    told = {"method": "GET", "times": None, "headers": {"x-amz-checksum-crc32c": crc}}
    proxy.inject(key="sums/1", corrupt_at=size // 2, **told)
    proxy.inject(key="sums/", **told)
    with df.Loader(dataset, batch_size=1) as loader:
        batches, seen = iter(loader), []
        with pytest.raises(ChecksumError, match=r"sums/1\.npy.*CRC-32C"):
            seen.extend(map(only, batches))
        seen.extend(map(only, batches))
    assert seen == [values.tobytes()] * 2
    assert all(seen.head.get("x-amz-checksum-mode") for seen in proxy.requests[-3:])


@pytest.mark.parametrize("size", [40_000, 3_000_000])
def test_the_md5_that_azure_keeps_is_compared_where_that_is_asked_for(azurite, new_proxy, size):
    """The Azure SDK stores it with a blob that it uploads in one piece."""
    values = np.arange(size // 4, dtype=np.int32)
    proxy = new_proxy(azurite)
    for i in range(3):
        blob, settings = azurite.client.get_blob_client(f"sums/{i}.npy"), azurite_md5(npy(values))
        blob.upload_blob(npy(values), content_settings=settings)
    dataset = df.Dataset.from_files(
        f"{azurite.root}/sums", storage_options={**options(proxy.store), "verify_md5": True}
    )
    assert len(dataset) == 3
    proxy.inject(key="sums/1", corrupt_at=size // 2, method="GET", times=None)
    with df.Loader(dataset, batch_size=1) as loader:
        batches, seen = iter(loader), []
        with pytest.raises(ChecksumError, match=r"sums/1\.npy.*MD5"):
            seen.extend(map(only, batches))
        seen.extend(map(only, batches))
    assert seen == [values.tobytes()] * 2


def azurite_md5(data):
    from azure.storage.blob import ContentSettings

    return ContentSettings(content_md5=bytearray(hashlib.md5(data).digest()))


@pytest.mark.parametrize("name", ["tab\tx.npy", "line\nx.npy", "x.npy?versionId=abc"])
def test_keys_that_fsspec_s_file_systems_take_for_others_are_refused_on_their_road(azurite, name):
    """adlfs would read ``tabx.npy``."""
    values = {name: npy(contents(1)), "tabx.npy": npy(contents(2)), "x.npy": npy(contents(3))}
    for each, data in values.items():
        azurite.put(each, data)
    read = {road: options(azurite) | {"road": road} for road in ROADS}
    assert bytes(df.read(azurite.address(name), storage_options=read["http"])) == values[name]
    with pytest.raises(UnsupportedError, match="another"):
        df.read(azurite.address(name), storage_options=read["fsspec"])
