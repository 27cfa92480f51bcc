"""The child process that decodes pictures: once for a folder, under limits of memory and time."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from ddranking.distilled import picturefile
from ddranking.distilled.guarded import Limits
from ddranking.distilled.picturefile import read_pictures
from ddranking.distilled.unpicture import Frame, answer, stacked
from ddranking.errors import BadFile

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)


def save(folder, images=PIXELS):
    files = [folder / f"{index}.png" for index in range(len(images))]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    return files


def test_all_pictures_are_decoded_in_one_child(tmp_path, monkeypatch):
    files = save(tmp_path)
    calls = []
    run = picturefile.run_child
    monkeypatch.setattr(picturefile, "run_child", lambda *a: calls.append(a[0]) or run(*a))
    monkeypatch.setattr(picturefile, "read_picture", None)  # nothing is decoded here
    np.testing.assert_array_equal(read_pictures(files, 3, Limits()), PIXELS.transpose(0, 3, 1, 2))
    assert calls == ["unpicture.py"]


def test_paths_are_those_of_the_caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    save(tmp_path / "in")
    here = [each.relative_to(tmp_path) for each in sorted((tmp_path / "in").iterdir())]
    assert read_pictures(here, 0, Limits()).shape == (3, 3, 8, 8)
    here[1].write_bytes(b"no picture")
    with pytest.raises(BadFile, match=r"^in/1\.png: expected a PNG or JPEG"):
        read_pictures(here, 0, Limits())
    here[1].unlink()
    with pytest.raises(BadFile, match=r"^in/1\.png"):
        read_pictures(here, 0, Limits())


def test_channels_follow_the_dataset(tmp_path):
    grey = np.repeat(PIXELS[..., :1], 3, axis=3)
    pictures = [(str(file), file) for file in save(tmp_path, grey)]
    assert stacked(pictures, 3, Frame(1, 1 << 20)).shape == (3, 1, 8, 8)
    assert stacked(pictures, 3, Frame(0, 1 << 20)).shape == (3, 3, 8, 8)
    single = [(str(file), file) for file in save(tmp_path, grey[..., 0])]
    assert stacked(single, 3, Frame(3, 1 << 20)).shape == (3, 3, 8, 8)
    assert stacked(single, 3, Frame(0, 1 << 20)).shape == (3, 1, 8, 8)


def test_limits(tmp_path):
    files = save(tmp_path)
    with pytest.raises(BadFile, match=r"at most 500 bytes when decoded, got 3 pictures of 192"):
        read_pictures(files, 3, Limits(500))
    with pytest.raises(BadFile, match="--max-seconds"):
        read_pictures(files, 3, Limits(seconds=0))
    with pytest.raises(BadFile, match="of them, as declared"):
        stacked([], 0, Frame(0, 1 << 20))
    with pytest.raises(BadFile, match="2 pictures, as declared, got more"):
        stacked([(str(file), file) for file in files], 2, Frame(0, 1 << 20))
    with pytest.raises(BadFile, match="a PNG picture"):
        Image.fromarray(PIXELS[0]).save(tmp_path / "x.jpg")
        read_pictures([tmp_path / "x.jpg"], 0, Limits(), ("PNG",))


def test_a_picture_that_lies_about_its_size_meets_the_memory_limit(tmp_path):
    """Text chunks unpack beside the pixels, which alone are compared beforehand."""

    def chunk(name: bytes, body: bytes) -> bytes:
        whole = struct.pack(">I", len(body)) + name + body
        return whole + struct.pack(">I", zlib.crc32(name + body))

    [file] = save(tmp_path, PIXELS[:1])
    content = file.read_bytes()
    text = b"a\0\0" + zlib.compress(b"x" * (1 << 20))
    file.write_bytes(content[:33] + chunk(b"zTXt", text) * 200 + content[33:])
    with pytest.raises(BadFile):
        read_pictures([file], 3, Limits(1 << 20))


def test_what_the_child_answers_is_json(tmp_path):
    files = save(tmp_path)
    (tmp_path / "files.json").write_text(json.dumps([[each.name, str(each)] for each in files]))
    reply = answer(tmp_path, Frame(3, 1 << 20), ["PNG"])
    assert json.loads(json.dumps(reply)) == {"tree": {"array": "images.npy"}}
    reply = answer(tmp_path, Frame(3, 100), ["PNG"])
    assert reply["refused"][0] == "0.png"
