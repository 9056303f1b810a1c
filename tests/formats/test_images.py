"""JPEG and PNG: the pixels are Pillow's, and bad files are typed errors."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import dlio_fast as df
from dlio_fast.errors import (
    ChecksumError,
    DataError,
    FormatError,
    MemberError,
    TruncatedError,
    UnsupportedError,
)
from dlio_fast.formats import format_named, jpeg
from tests.formats.decoded import check_refused, read

MODES = {"jpeg": ["L", "RGB", "CMYK"], "png": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]}


def picture(mode: str, size=(23, 17), seed: int = 0) -> Image.Image:
    """Noise over a ramp."""
    width, height = size
    rng = np.random.default_rng(seed)
    if mode == "I;16":
        return Image.fromarray(rng.integers(0, 65536, (height, width), dtype=np.uint16))
    ramp = np.linspace(0, 200, height * width * 4).reshape(height, width, 4)
    noisy = (ramp + rng.integers(0, 56, ramp.shape)).astype(np.uint8)
    return Image.fromarray(noisy, "RGBA" if mode != "CMYK" else mode).convert(mode)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, bits: int, colour: int, pixels: bytes, interlace: int = 0) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(pixels, 9)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def as_documented(data: bytes) -> np.ndarray:
    """What Pillow makes of an image, converted as the formats' docstrings say."""
    image = Image.open(io.BytesIO(data))
    if image.mode == "P":
        return np.asarray(image.convert("RGBA" if "transparency" in image.info else "RGB"))
    return np.asarray(image.convert({"CMYK": "RGB", "1": "L"}.get(image.mode, image.mode)))


@pytest.fixture(params=["with simplejpeg", "Pillow alone"])
def decoder(request, monkeypatch):
    if request.param == "with simplejpeg":
        pytest.importorskip("simplejpeg")
    else:
        monkeypatch.setattr(jpeg, "_simplejpeg", lambda: None)


@given(data=st.data(), kind=st.sampled_from(["jpeg", "png"]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pixels_are_those_of_pillow(decoder, tmp_path, data, kind):
    size = data.draw(st.tuples(st.integers(1, 70), st.integers(1, 70)))
    image = picture(data.draw(st.sampled_from(MODES[kind])), size, data.draw(st.integers(0, 9)))
    options = {}
    if kind == "jpeg":
        options = {
            "quality": data.draw(st.integers(1, 100)), "progressive": data.draw(st.booleans()),
            "optimize": data.draw(st.booleans()),
        }  # fmt: skip
        if image.mode == "RGB":
            choices = [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2}, {"keep_rgb": True}]
            options |= data.draw(st.sampled_from(choices))
    elif image.mode in ("P", "L") and data.draw(st.booleans()):
        options["transparency"] = 0
    raw = encoded(image, kind, **options)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(raw)
    (ours,) = read(path)
    pillows = as_documented(raw)
    assert ours.dtype == pillows.dtype and ours.shape == pillows.shape
    assert (ours == pillows).all()
    spec = format_named(kind).inspect(str(path))
    assert (spec.fields[0].dtype, spec.fields[0].shape, spec.samples) == (ours.dtype, ours.shape, 1)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grays_of_few_bits_are_scaled_to_bytes(tmp_path, bits):
    (tmp_path / "a.png").write_bytes(png(8 // bits, 1, bits, 0, b"\0\xff"))
    (x,) = read(tmp_path / "a.png")
    assert x.dtype == np.uint8 and x.tolist() == [[255] * (8 // bits)]


@pytest.mark.parametrize("scheme", ["", "direct://"])
@pytest.mark.parametrize("suffix", [".jpeg", ".jpg", ".png", ".PNG"])
def test_images_of_one_size_are_an_array(tmp_path, scheme, suffix):
    for i in range(6):
        picture("RGB", seed=i).save(tmp_path / f"{i}{suffix}")
    with df.Loader(df.Dataset.from_files(f"{scheme}{tmp_path}"), batch_size=6, threads=2) as batches:
        (batch,) = batches
        stats = batches.stats()
    assert batch["x"].shape == (6, 17, 23, 3) and batch["x"].dtype == np.uint8
    for i, x in enumerate(batch["x"]):
        assert (x == np.asarray(Image.open(tmp_path / f"{i}{suffix}"))).all()
    assert bool(stats["direct_bytes"]) is (bool(scheme) and not stats["fallbacks"])


def test_images_that_differ_are_a_list(tmp_path):
    for i, (mode, size) in enumerate([("L", (5, 4)), ("RGB", (5, 4)), ("L", (7, 9))]):
        picture(mode, size).save(tmp_path / f"{i}.png")
    batch = df.Dataset.from_files(tmp_path).batch([0, 1, 2])
    assert [x.shape for x in batch["x"]] == [(4, 5), (4, 5, 3), (9, 7)]


def test_a_dlio_config_reads_images(tmp_path):
    (tmp_path / "train").mkdir()
    for i in range(3):
        picture("L", seed=i).save(tmp_path / f"train/img_{i}_of_3.jpeg")
    config = {"dataset": {"format": "jpeg", "data_folder": str(tmp_path), "num_files_train": 3}}
    assert df.Dataset(config).batch([0, 1, 2])["x"].shape == (3, 17, 23)


@given(st.tuples(st.integers(1, 20), st.integers(1, 20)), st.sampled_from([(1, 0), (8, 0), (8, 2), (8, 6)]))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_interlaced_pngs_are_read_as_pillow_reads_them(tmp_path, size, kind):
    (width, height), (bits, colour) = size, kind
    channels = {0: 1, 2: 3, 6: 4}[colour]
    lines = b""
    for x, dx, y, dy in [
        (0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2),
    ]:  # fmt: skip
        columns = len(range(x, width, dx))
        for row in range(y, height, dy) if columns else ():
            lines += b"\0" + np.random.default_rng(row).bytes((columns * bits * channels + 7) // 8)
    data = png(width, height, bits, colour, lines, interlace=1)
    (tmp_path / "a.png").write_bytes(data)
    assert (read(tmp_path / "a.png")[0] == as_documented(data)).all()


def test_inspecting_reads_headers_alone(tmp_path):
    for kind in MODES:
        data = encoded(picture("RGB", (300, 200)), kind)
        (tmp_path / f"a.{kind}").write_bytes(data[:700])
        assert format_named(kind).inspect(str(tmp_path / f"a.{kind}")).fields[0].shape == (200, 300, 3)


def test_there_is_no_other_field(tmp_path):
    picture("L").save(tmp_path / "a.png")
    with pytest.raises(MemberError, match="one field 'x'"):
        df.Dataset.from_files(tmp_path / "a.png", fields="y")[0]


def test_without_pillow_the_error_says_what_to_install(tmp_path):
    picture("L").save(tmp_path / "a.png")
    program = (
        "import sys; sys.modules['PIL'] = None; import dlio_fast as df\n"
        f"df.Dataset.from_files({str(tmp_path / 'a.png')!r})[0]"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 1
    assert "MissingDependencyError" in done.stderr and "pip install dlio-fast[image]" in done.stderr


@pytest.mark.parametrize("kind, mode", [(kind, mode) for kind in MODES for mode in MODES[kind]])
def test_an_image_that_is_cut_is_never_a_partial_one(decoder, tmp_path, kind, mode):
    good = encoded(picture(mode), kind)
    (tmp_path / f"good.{kind}").write_bytes(good)
    whole = read(tmp_path / f"good.{kind}")[0]
    path = tmp_path / f"cut.{kind}"
    for length in range(1, len(good), 7):
        path.write_bytes(good[:length])
        try:
            (x,) = read(path)
        except FormatError as error:
            assert error.path == str(path)
        else:  # only the mark of the end was missing
            assert length >= len(good) - 2 and kind == "jpeg" and (x == whole).all()


def test_a_jpeg_whose_data_stop_early_is_truncated_though_it_has_an_end(tmp_path):
    pytest.importorskip("simplejpeg")
    good = encoded(picture("RGB", (100, 100)), "jpeg")
    (tmp_path / "good.jpeg").write_bytes(good)
    (tmp_path / "bad.jpeg").write_bytes(good[: len(good) // 2] + b"\xff\xd9")
    check_refused(TruncatedError, tmp_path / "bad.jpeg", tmp_path / "good.jpeg")


JPEG, PNG = encoded(picture("RGB"), "jpeg"), encoded(picture("RGB"), "png")
SOF = JPEG.index(b"\xff\xc0")
PROGRESSIVE = encoded(picture("L"), "jpeg", progressive=True)
LAST_SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]


def frame(**changes) -> bytes:
    """The good JPEG with another frame header."""
    fields = {"marker": 0xC0, "length": 17, "precision": 8, "height": 17, "width": 23, "components": 3}
    packed = struct.pack(">BBHBHHB", 0xFF, *(fields | changes).values())
    return JPEG[:SOF] + packed + JPEG[SOF + len(packed) :]


def header(width: int, height: int, bits: int, colour: int, tail: bytes = PNG[33:], rest=(0, 0, 0)) -> bytes:
    """The good PNG with another IHDR, whose checksum fits."""
    return PNG[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, *rest)) + tail


BAD_JPEG = {
    "empty": (b"", TruncatedError),
    "a PNG": (PNG, FormatError),
    "text": (b"hello, world\n" * 100, FormatError),
    "zeros": (bytes(5000), FormatError),
    "only the first marker": (b"\xff\xd8", TruncatedError),
    "no frame": (b"\xff\xd8\xff\xd9", FormatError),
    "fill bytes without end": (b"\xff\xd8" + b"\xff" * 1_000_000, FormatError),
    "segments without end": (b"\xff\xd8" + b"\xff\xe1\x00\x02" * 1_000_000, FormatError),
    "a segment of no length": (b"\xff\xd8\xff\xe1\x00\x00" + JPEG[2:], FormatError),
    "a segment beyond the file": (b"\xff\xd8\xff\xe1\xff\xff" + JPEG[2:], TruncatedError),
    "a frame too short": (frame(length=9), FormatError),
    "no width": (frame(width=0), FormatError),
    "the height after the scan": (frame(height=0), UnsupportedError),
    "12 bits": (frame(precision=12), UnsupportedError),
    "2 components": (frame(length=14, components=2), UnsupportedError),
    "255 components": (frame(length=8 + 765, components=255), UnsupportedError),
    "lossless": (frame(marker=0xC3), UnsupportedError),
    "arithmetic": (frame(marker=0xC9), UnsupportedError),
    "a size that cannot be in the file": (frame(height=6000, width=6000), TruncatedError),
    "a size over the cap": (frame(height=65535, width=65535), UnsupportedError),
    "scans without end": (PROGRESSIVE[:-2] + LAST_SCAN * 1000 + b"\xff\xd9", UnsupportedError),
    "garbage behind the header": (JPEG[: SOF + 19] + bytes(1000), DataError),
}
BAD_PNG = {
    "empty": (b"", TruncatedError),
    "a JPEG": (JPEG, FormatError),
    "only the signature": (PNG[:8], TruncatedError),
    "no IHDR": (PNG[:8] + chunk(b"tEXt", b"a\0b") + PNG[8:], FormatError),
    "3 bits": (header(23, 17, 3, 0), FormatError),
    "an unknown colour type": (header(23, 17, 8, 5), FormatError),
    "an unknown compression": (header(23, 17, 8, 2, rest=(1, 0, 0)), FormatError),
    "no height": (header(23, 0, 8, 2), FormatError),
    "16 bits of colour": (header(23, 17, 16, 2), UnsupportedError),
    "a size that cannot be in the file": (header(8000, 8000, 8, 0), TruncatedError),
    "a size over the cap": (header(0x7FFFFFFF, 0x7FFFFFFF, 8, 2), UnsupportedError),
    "a larger image than its pixels": (header(23, 100, 8, 2), TruncatedError),
    "a flipped checksum": (PNG[:-13] + bytes([PNG[-13] ^ 1]) + PNG[-12:], ChecksumError),
    "a flipped pixel": (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], ChecksumError),
    "a chunk of 4 GiB": (header(23, 17, 8, 2, struct.pack(">I4s", 0xFFFFFFFF, b"IDAT")), TruncatedError),
    "no pixels": (header(23, 17, 8, 2, chunk(b"IEND", b"")), FormatError),
    "pixels that do not inflate": (
        header(23, 17, 8, 2, chunk(b"IDAT", bytes(500)) + chunk(b"IEND", b"")), FormatError,
    ),
    "a palette that is missing": (png(23, 17, 8, 3, bytes(17 * 24)), DataError),
    "no end": (PNG[:-12], TruncatedError),
    "chunks without end": (header(23, 17, 8, 2, chunk(b"IDAT", b"") * 200_000), UnsupportedError),
    "chunks without end before a palette": (
        header(23, 17, 8, 3, chunk(b"tEXt", b"") * 200_000), UnsupportedError,
    ),
}  # fmt: skip
BAD = [("jpeg", name, *case) for name, case in BAD_JPEG.items()] + [
    ("png", name, *case) for name, case in BAD_PNG.items()
]


@pytest.mark.parametrize("kind, data, kinds", [pytest.param(k, d, e, id=f"{k}: {n}") for k, n, d, e in BAD])
def test_bad_images_are_typed_errors(decoder, tmp_path, kind, data, kinds):
    good, bad = tmp_path / f"good.{kind}", tmp_path / f"bad.{kind}"
    good.write_bytes({"jpeg": JPEG, "png": PNG}[kind])
    bad.write_bytes(data)
    check_refused(kinds, bad, good)


def test_the_cap_is_pillows_and_can_be_raised(tmp_path, monkeypatch):
    picture("L").save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 23 * 17 - 1)
    with pytest.raises(UnsupportedError, match="MAX_IMAGE_PIXELS"):
        read(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert read(tmp_path / "a.png")[0].shape == (17, 23)


def test_texts_that_unpack_without_end_are_not_unpacked(tmp_path):
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100 << 20), 9))
    (tmp_path / "a.png").write_bytes(PNG[:33] + bomb + PNG[33:])
    assert read(tmp_path / "a.png")[0].shape == (17, 23, 3)


@given(kind=st.sampled_from(["jpeg", "png"]), data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_damage_it_is_a_typed_error_or_an_image(decoder, tmp_path, kind, data):
    raw = bytearray({"jpeg": JPEG, "png": PNG}[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(raw[: data.draw(st.integers(1, len(raw)))]) if data.draw(st.booleans()) else bytes(raw)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(raw)
    try:
        (x,) = read(path)
    except DataError as error:
        assert error.path == str(path)
    else:
        assert (x == as_documented(raw)).all()
