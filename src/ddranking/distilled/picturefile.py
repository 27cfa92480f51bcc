"""Reads the pictures of strangers: one here, with its size known beforehand; a set's in a child.

The parent names the files, starts :mod:`ddranking.distilled.unpicture` as a script, once for all
pictures of a set, and reads one array back.
"""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ddranking.distilled.arrayfile import AGAIN
from ddranking.distilled.guarded import Limits, read_reply, run_child
from ddranking.errors import BadFile

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
#: 8-bit modes and the number of channels they are read as.
MODES = {"1": "L", "L": "L", "RGB": "RGB", "P": "RGB", "RGBA": "RGB", "LA": "L"}


def read_pictures(
    files: Sequence[Path], channels: int, limits: Limits, formats: Sequence[str] = FORMATS
) -> np.ndarray:
    """uint8 ``[N, C, H, W]``, decoded in one child process with limits on memory and time.

    Args:
        files: at least one, all in one folder or below it.
        channels: of the dataset; 0 where it is not known.
        limits: bytes of all decoded pictures, and seconds for reading them.
        formats: Pillow's names of those that are read.

    Raises:
        BadFile: damaged, over the limits, of several sizes, or in colour where all is grey.
    """
    with tempfile.TemporaryDirectory(prefix="ddranking-") as folder:
        out = Path(folder)
        listed = [[str(file), str(file.resolve())] for file in files]
        (out / "files.json").write_text(json.dumps(listed))
        words = (str(channels), ",".join(formats))
        called = files if len(files) == 1 else [files[0].parent]
        reply = run_child("unpicture.py", called, out, limits, *words)
        return read_reply(reply, out, limits.bytes)


def read_picture(
    source: Path | bytes, byte_limit: int, formats: tuple[str, ...] = FORMATS, name: str = ""
) -> np.ndarray:
    """The picture as uint8 ``[H, W, 3]`` or, for a grey one, ``[H, W, 1]``.

    Args:
        source: a file, or an encoded picture by itself.
        byte_limit: largest decoded picture.
        formats: Pillow's names of those that are read.
        name: what errors call it, where it is no file.

    Raises:
        BadFile: missing, damaged, too large, not 8 bits deep, or with transparent pixels (whose
            colour under the transparency nobody meant to show).
    """
    what = name or (str(source) if isinstance(source, Path) else "picture")
    opened = source if isinstance(source, Path) else io.BytesIO(source)
    try:
        with warnings.catch_warnings():
            # Pillow's own warning about large pictures; the limit below is stricter and final.
            warnings.simplefilter("ignore")
            return _decode(opened, what, byte_limit, formats)
    except BadFile:
        raise
    except Exception as error:
        # A decoder that meets damage raises anything from SyntaxError to struct.error.
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise BadFile(
            what,
            expected=f"a {' or '.join(formats)} picture",
            got=reason.splitlines()[0][:160],
            hint="" if isinstance(source, Path) and not source.exists() else AGAIN,
        ) from None


def _decode(
    opened: Path | io.BytesIO, what: str, byte_limit: int, formats: tuple[str, ...]
) -> np.ndarray:
    with Image.open(opened, formats=list(formats)) as picture:
        width, height = picture.size
        if width * height * 4 > byte_limit:
            raise BadFile(
                what, expected=f"at most {byte_limit} bytes", got=f"{width}x{height} pixels"
            )
        if picture.mode not in MODES:
            raise BadFile(what, expected="8 bits a channel", got=f"mode {picture.mode}")
        if "A" in picture.mode or "transparency" in picture.info:
            alpha = np.asarray(picture.convert("RGBA"))[..., 3]
            if int(alpha.min()) < 255:
                raise BadFile(
                    what,
                    expected="an opaque picture",
                    got="transparent pixels",
                    hint="Save it without an alpha channel.",
                )
        pixels = np.array(picture.convert(MODES[picture.mode]), dtype=np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels
