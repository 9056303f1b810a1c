"""Inspecting files of formats of samples: what a format says of itself is enough."""

import json

import pytest

from dlio_fast import cli
from dlio_fast.errors import FormatError
from dlio_fast.formats import base, register
from dlio_fast.workload.inspect import inspect_file
from tests.formats.records import HEAD, Records, write_records


@pytest.fixture
def path(tmp_path):
    """Five samples of three int64, in blocks of two."""
    write_records(tmp_path / "a.rec", 0, 5, 2)
    return tmp_path / "a.rec"


@pytest.fixture
def _registered():
    register(Records())
    yield
    del base._formats["records"]


@pytest.mark.parametrize("scheme", ["", "direct://"])
def test_fields_samples_and_blocks_are_described(path, scheme):
    info = inspect_file(f"{scheme}{path}", format=Records())
    assert (info.format, info.nbytes, info.samples) == ("records", HEAD.size + 5 * 24, 5)
    x, y = info.members
    assert (x.name, x.dtype, x.shape, x.nbytes) == ("x", "int64", (3,), 120)
    assert (y.name, y.dtype, y.shape, y.nbytes, y.crc_state) == ("y", "int32", (), 20, "none")
    assert [(block.samples, block.extents) for block in info.blocks] == [
        (2, [(16, 48)]), (2, [(64, 48)]), (1, [(112, 24)]),
    ]  # fmt: skip
    assert not info.problems


def test_what_is_wrong_with_the_samples_is_found_by_reading_them_all(path):
    class Picky(Records):
        checksums = True

        def decode(self, path, block, data, spec):
            if data[0][8:] and data[0][0] == 4:
                raise FormatError(f"{path}: no sample 4", path)
            return super().decode(path, block, data, spec)

    info = inspect_file(path, format=Picky())
    assert info.problems == [f"{path}: no sample 4"] and info.members[0].crc_state == "unchecked"
    assert not inspect_file(path, format=Picky(), verify=False).problems
    write_records(path, 10, 5, 2)
    assert [member.crc_state for member in inspect_file(path, format=Picky()).members] == ["ok", "ok"]


@pytest.mark.usefixtures("_registered")
def test_the_suffix_or_the_user_says_which_format_it_is(path, tmp_path, capsys):
    assert inspect_file(path).format == "records"
    other = path.rename(tmp_path / "a.npz")
    with pytest.raises(FormatError, match="neither"):
        inspect_file(other)
    assert cli.main(["inspect", str(other), "--format", "records"]) == 0
    out = capsys.readouterr().out
    assert "records, 136 bytes" in out and "5 samples" in out
    assert "decoded in 3 blocks of 1 to 2 samples, 24 to 48 bytes" in out
    assert cli.main(["inspect", str(other), "--format", "records", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["members"][0]["shape"]) == (5, [3])


@pytest.mark.usefixtures("_registered")
def test_a_file_that_cannot_be_read_ends_with_status_1(path, capsys):
    path.write_bytes(path.read_bytes()[:-1])
    assert cli.main(["inspect", str(path), "--no-verify"]) == 1
    assert f"{path}: no records" in capsys.readouterr().err
