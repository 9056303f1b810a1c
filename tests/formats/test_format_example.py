"""The example of CONTRIBUTING.md, a package that adds a format; and packages that fail to."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = re.search(r"## How to add a format\n(.*?)\n## ", (ROOT / "CONTRIBUTING.md").read_text(), re.S)
MODULE, PROJECT = re.findall(r"```(?:python|toml)\n(.*?)```", SECTION[1], re.S)

USE = """
import sys, warnings
import numpy as np
import dlio_fast as df
from dlio_fast.workload.generate import generate

folder = sys.argv[1]
config = {"dataset": {
    "format": "pic", "data_folder": folder, "num_files_train": 7,
    "record_dims": [30, 50], "record_element_type": "uint16",
}}
generate(df.load_config(config))
made = df.Dataset.from_files(folder + "/train")
whole = [open(path, "rb").read() for path in made.files]
expected = np.stack([np.frombuffer(content[14:], "<u2").reshape(30, 50) for content in whole])
for data in (made, df.Dataset(config)):
    for scheme in ("", "direct://"):
        with df.Loader(data, batch_size=3, threads=2, shuffle=True) as loader:
            got = {picture.tobytes() for batch in loader for picture in batch["picture"]}
            assert got == {picture.tobytes() for picture in expected}
assert (made[4]["picture"] == expected[4]).all()
with open(made.files[2], "r+b") as file:
    file.truncate(1000)
try:
    made[2]
except df.errors.FormatError as error:
    assert made.files[2] in str(error)
else:
    raise AssertionError
print("done")
"""


def install(folder, modules, entry_points):
    """What pip leaves of a package."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    about = folder / "pictures-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pictures\nVersion: 1\n")
    (about / "entry_points.txt").write_text(entry_points)


def run(folder, program, *args):
    program = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(ROOT)!r}]\n{program}"
    return subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=60)


def test_the_example_reads_and_writes_its_format(tmp_path):
    group, line = re.fullmatch(r'\[project\.entry-points\."(.+)"\]\n(.+)\n', PROJECT).groups()
    install(tmp_path, {"pic": MODULE}, f"[{group}]\n{line.replace(chr(34), '')}\n")
    done = run(tmp_path, USE, tmp_path / "data")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_the_example_is_short():
    assert len(MODULE.splitlines()) <= 60


BROKEN = {
    "no such module": ("", "broken = absent:FORMAT", "ModuleNotFoundError"),
    "no such object": ("", "broken = broken:FORMAT", "AttributeError"),
    "fails when imported": ("1 / 0", "broken = broken:FORMAT", "ZeroDivisionError"),
    "no format": ("FORMAT = 7", "broken = broken:FORMAT", "it must be a dlio_fast.formats.Format"),
    "of another name": (
        "from dlio_fast.formats.npy import FORMAT", "broken = broken:FORMAT", "Format of that name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_package_is_named_and_does_not_get_in_the_way_of_others(tmp_path, how):
    text, line, expected = BROKEN[how]
    install(tmp_path, {"broken": text}, f"[dlio_fast.formats]\n{line}\n")
    done = run(
        tmp_path,
        """
import warnings
import numpy as np
import dlio_fast as df
from dlio_fast.errors import ConfigError
from dlio_fast.formats import format_named
np.save(sys.argv[1], np.arange(3))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    assert df.Dataset.from_files(sys.argv[1])[0]["x"].tolist() == [0, 1, 2]
print(*{str(warning.message) for warning in caught})
try:
    format_named("broken")
except ConfigError as error:
    print(error)
""",
        tmp_path / "a.npy",
    )
    assert (done.returncode, done.stderr) == (0, "")
    warned, raised = done.stdout.splitlines()
    assert warned == raised and expected in raised and "'broken'" in raised


def test_a_configuration_with_an_unknown_format_says_which_there_are(tmp_path):
    install(tmp_path, {"pic": MODULE}, "[dlio_fast.formats]\npic = pic:FORMAT\n")
    done = run(
        tmp_path,
        """
import dlio_fast as df
for name in ("pic", "PNG", "pix"):
    try:
        print(df.load_config({"dataset": {"format": name}}).dataset.format)
    except df.errors.ConfigError as error:
        print(error)
""",
    )
    assert (done.returncode, done.stderr) == (0, "")
    pic, png, error = done.stdout.splitlines()
    assert (pic, png) == ("pic", "png") and "'pix'" in error and "'pic'" in error and "'tfrecord'" in error
