"""``dlio-fast index``: the indexes of TFRecord files, as DALI's tfrecord2idx writes them."""

import gzip
import json

import pytest

import dlio_fast as df
from dlio_fast.cli import main
from dlio_fast.workload.generate import generate

from .tfrecords import image, read, record, write

RECORDS = [image(bytes(n)) for n in (10, 200, 30)]
SIZES = [len(record(one)) for one in RECORDS]
LINES = f"0 {SIZES[0]}\n{SIZES[0]} {SIZES[1]}\n{SIZES[0] + SIZES[1]} {SIZES[2]}\n"


def test_an_index_goes_beside_its_file(tmp_path, capsys):
    path = write(tmp_path / "f.tfrecord", *RECORDS)
    assert main(["index", path]) == 0
    assert (tmp_path / "f.tfrecord.idx").read_text() == LINES
    assert capsys.readouterr().out == f"{path}: 3 records, {path}.idx\n"
    assert len(read(path)) == 3


def test_below_train_and_valid_it_goes_where_dlio_has_it(tmp_path):
    for split in ("train", "valid"):
        (tmp_path / split / "0").mkdir(parents=True)
        write(tmp_path / split / "0" / "f.tfrecord", *RECORDS)
    assert main(["index", str(tmp_path), "--quiet"]) == 0
    for split in ("train", "valid"):
        assert (tmp_path / "index" / split / "f.tfrecord.idx").read_text() == LINES


def test_it_is_what_the_generator_writes(tmp_path):
    dataset = {
        "format": "tfrecord",
        "num_files_train": 2,
        "num_samples_per_file": 3,
        "data_folder": str(tmp_path),
    }
    generate(df.load_config({"dataset": dataset}))
    index = tmp_path / "index" / "train" / "img_1_of_2.tfrecord.idx"
    written = index.read_text()
    assert main(["index", "--force", str(tmp_path)]) == 0
    assert index.read_text() == written and written.count("\n") == 3


def test_one_that_does_not_fit_is_reported_and_made_anew_by_force(tmp_path, capsys):
    path = write(tmp_path / "f.tfrecord", *RECORDS)
    (tmp_path / "f.tfrecord.idx").write_text("0 20\n")
    assert main(["index", path]) == 1
    assert "index does not fit" in capsys.readouterr().err
    assert main(["index", "--force", path]) == 0
    assert (tmp_path / "f.tfrecord.idx").read_text() == LINES


def test_compressed_and_damaged_files_get_none(tmp_path, capsys):
    (tmp_path / "a.tfrecord").write_bytes(gzip.compress(b"".join(map(record, RECORDS))))
    (tmp_path / "b.tfrecord").write_bytes(record(RECORDS[0])[:-1])
    write(tmp_path / "c.tfrecord", *RECORDS)
    assert main(["index", "--json", str(tmp_path)]) == 1
    a, b, c = json.loads(capsys.readouterr().out)
    assert "compressed" in a["error"] and "ends inside a record" in b["error"] and c["records"] == 3
    assert [path.name for path in tmp_path.glob("*.idx")] == ["c.tfrecord.idx"]


@pytest.mark.parametrize("name", ["nothing.tfrecord"])
def test_a_file_that_is_not_there(tmp_path, name, capsys):
    assert main(["index", str(tmp_path / name)]) == 1
    assert "No such file" in capsys.readouterr().err
