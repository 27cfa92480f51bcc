"""The child process that decodes pictures: those of one set's folder, or a grid.

Run as a script: ``python -P unpicture.py OUT SECONDS BYTES CHANNELS FORMATS FOLDER``; CHANNELS is 0
where the dataset is not known yet. ``OUT/files.json`` lists the pictures, each with the name that
errors call it. A picture's size is compared with the limit before it is decoded, and that of all
of them before the first is kept; what lies about its size meets the memory limit of this process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ddranking.distilled.arrayfile import AGAIN
from ddranking.distilled.picturefile import FORMATS, read_picture
from ddranking.distilled.unpickle import limit_process
from ddranking.errors import BadFile, BadInput


class Frame(NamedTuple):
    """What pictures are read into: the dataset's channels (0 where not known), and the limit."""

    channels: int
    byte_limit: int


def stacked(
    pictures: Iterable[tuple[str, Path | bytes]],
    count: int,
    frame: Frame,
    formats: Sequence[str] = FORMATS,
) -> np.ndarray:
    """uint8 ``[N, C, H, W]`` out of ``count`` pictures, all of the first one's size.

    Args:
        pictures: what errors call each, and its file or its encoded bytes.
        count: N.
        frame: a grey picture gets three equal channels where the dataset has three, and one of
            three equal ones where it has one.
        formats: Pillow's names of those that are read.

    Raises:
        BadFile: a picture that is damaged, of another size or in colour where the dataset is grey;
            more bytes than the limit; another number of pictures.
    """
    images: np.ndarray | None = None
    row = 0
    for where, source in pictures:
        image = read_picture(source, frame.byte_limit, tuple(formats), where).transpose(2, 0, 1)
        if frame.channels == 1 and image.shape[0] == 3:
            if not (image == image[:1]).all():
                raise BadFile(where, expected="a grey picture", got="colours")
            image = image[:1]
        if frame.channels == 3 and image.shape[0] == 1:
            image = np.repeat(image, 3, axis=0)
        if images is None:
            if count * image.size > frame.byte_limit:
                raise BadFile(
                    where,
                    expected=f"at most {frame.byte_limit} bytes when decoded",
                    got=f"{count} pictures of {image.size}",
                    hint="If you trust it, pass --max-gb.",
                )
            # Filled in place: a list to be stacked would take twice the memory.
            images = np.empty((count, *image.shape), np.uint8)
        if image.shape != images.shape[1:]:
            _, channels, height, width = images.shape
            raise BadFile(
                where,
                expected=f"{width}x{height} pixels and {channels} channel(s), as the first",
                got=f"{image.shape[2]}x{image.shape[1]} and {image.shape[0]}",
                hint="Save all images at the size they were distilled at.",
            )
        if row >= count:
            raise BadFile(where, expected=f"{count} pictures, as declared", got="more", hint=AGAIN)
        images[row] = image
        row += 1
    if images is None or row != count:
        raise BadFile(
            "pictures", expected=f"{max(count, 1)} of them, as declared", got=str(row), hint=AGAIN
        )
    return images


def answer(out: Path, frame: Frame, formats: Sequence[str]) -> dict[str, Any]:
    """What goes back to the parent: where the images are, or the fault that stopped it."""
    listed = json.loads((out / "files.json").read_text())
    try:
        pictures = ((name, Path(place)) for name, place in listed)
        np.save(out / "images.npy", stacked(pictures, len(listed), frame, formats))
    except BadInput as error:
        return {"refused": [error.what, error.expected, error.got, error.hint]}
    except MemoryError:
        needs = "it needs more memory than allowed"
        return {"refused": [listed[0][0], "pictures that fit into memory", needs, AGAIN]}
    return {"tree": {"array": "images.npy"}}


def main(arguments: list[str]) -> None:
    out, seconds, byte_limit = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    limit_process(seconds, byte_limit)
    reply = answer(out, Frame(int(arguments[3]), byte_limit), arguments[4].split(","))
    (out / "outline.json").write_text(json.dumps(reply))


if __name__ == "__main__":
    main(sys.argv[1:])
