"""Encoded images to uint8 arrays of one size: decoded once, in parallel, never squashed.

Conventions, the same as the field's evaluators (torchvision's ``Resize`` and ``CenterCrop`` on
Pillow images): the short side is resized to the target with Pillow's antialiased **bilinear**
filter, because that is what published ImageNet numbers were evaluated with; then the centre is
cropped. EXIF rotation is not applied. Images already of the target size are left as they are.

Encoded images come from outside: a decompression bomb, a truncated or an unknown file ends as
:class:`~ddranking.errors.BadFile` that names the file and row.
"""

from __future__ import annotations

import io
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ddranking.data.digest import image_hash
from ddranking.errors import BadFile, BadInput
from ddranking.files import open_regular

LOSSLESS = frozenset({"PNG", "BMP", "PPM"})
"""Formats that every decoder reads alike: their raw pixels count as the encoded bytes, so that a
Parquet file of PNGs has the same digest as the arrays that it was made from."""

FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF", "GIF", "MPO")
"""What is decoded. Pillow knows more, some of which start other programs (EPS: Ghostscript)."""

MODES = {1: "L", 3: "RGB"}
BATCH = 64
"""Images per task: large enough to hide the hand-over, small enough to keep all threads busy."""


class Encoded(NamedTuple):
    """One image before decoding: its bytes, its file, or its raw pixels ``[C, H, W]`` uint8."""

    where: str
    content: bytes | Path | np.ndarray


class Decoded(NamedTuple):
    """A batch of images after decoding, in order. ``lossy`` is true if any was stored lossily."""

    pixels: np.ndarray
    hashes: list[bytes]
    lossy: bool


def decode_all(
    images: Iterable[Encoded], channels: int, size: int, *, threads: int | None = None
) -> Iterator[Decoded]:
    """Decode in parallel, give back in order, hold only a few batches in memory.

    Threads, not processes: Pillow releases the interpreter while it decodes and resizes.

    Args:
        images: in order; read from as needed.
        channels: 1 or 3 (raw pixels: any number).
        size: height and width of the results.
        threads: all processors when left out.

    Raises:
        BadFile: naming the file and row that cannot be decoded.
    """
    workers = threads or _processors()
    source = iter(images)
    waiting: deque[Future[Decoded]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        with warnings.catch_warnings():
            # Odd EXIF blocks are nobody's concern here. Pillow warns of a bomb before it refuses
            # one; a dataset image is never that large.
            warnings.filterwarnings("ignore", module=r"PIL\..*")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            while batch := list(islice(source, BATCH)):
                waiting.append(pool.submit(_decode_batch, batch, channels, size))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def fit_into(image: Image.Image, size: int) -> Image.Image:
    """Resize the short side to ``size``, then crop the centre to ``size`` x ``size``."""
    width, height = image.size
    if (width, height) == (size, size):
        return image
    # Truncation of the long side and rounding of the offset are torchvision's.
    if width <= height:
        shape = (size, max(size, int(size * height / width)))
    else:
        shape = (max(size, int(size * width / height)), size)
    image = image.resize(shape, Image.Resampling.BILINEAR)
    left, top = round((shape[0] - size) / 2.0), round((shape[1] - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Any Pillow image as 8-bit grey (1) or RGB (3).

    Transparent pixels are laid on white, because their stored colour is arbitrary. 16-bit grey is
    scaled to 8 bits (Pillow's own conversion would clip it). CMYK goes through Pillow's inversion.
    """
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "F":
        raise ValueError("floating-point pixels have no fixed range")
    return image if image.mode == MODES[channels] else image.convert(MODES[channels])


def is_grey(content: bytes | Path) -> bool:
    """Whether an encoded image is stored without colour, from its header alone.

    Raises:
        BadFile: not an image.
    """
    try:
        with _opened(content) as image:
            return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
    except Exception as error:
        where = "image" if isinstance(content, bytes) else str(content)
        raise BadFile(where, expected="an image", got=_reason(error)) from error


def size_of(image: Encoded) -> tuple[int, int]:
    """Height and width of an image in pixels, from its header alone where it is encoded.

    Raises:
        BadFile: not an image.
    """
    content = image.content
    if isinstance(content, np.ndarray):
        return content.shape[1], content.shape[2]
    try:
        with _opened(content) as opened:
            return opened.height, opened.width
    except Exception as error:
        raise BadFile(image.where, expected="an image", got=_reason(error)) from error


@contextmanager
def _opened(content: bytes | Path) -> Iterator[Image.Image]:
    """The image, its header read and no pixel."""
    source = io.BytesIO(content) if isinstance(content, bytes) else open_regular(content)
    with source, Image.open(source, formats=FORMATS) as image:
        yield image


def _whole(file: Path) -> bytes:
    with open_regular(file) as stream:
        return stream.read()


def _processors() -> int:
    """Those that this process may use; macOS and Windows do not tell, so all there are."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _decode_batch(batch: list[Encoded], channels: int, size: int) -> Decoded:
    pixels, hashes, lossy = [], [], False
    for where, content in batch:
        try:
            if isinstance(content, np.ndarray):
                one, digest = _resized_raw(content, size), image_hash(content.tobytes())
            else:
                encoded = content if isinstance(content, bytes) else _whole(content)
                one, digest, lossless = _decoded(encoded, channels, size)
                lossy |= not lossless
        except BadInput:
            raise
        except Exception as error:  # a decoder fed with foreign bytes may raise anything
            raise BadFile(
                where,
                expected="an image that Pillow can read whole",
                got=_reason(error),
                hint="Fetch this file again.",
            ) from error
        pixels.append(one)
        hashes.append(digest)
    return Decoded(np.stack(pixels), hashes, lossy)


def _decoded(encoded: bytes, channels: int, size: int) -> tuple[np.ndarray, bytes, bool]:
    with _opened(encoded) as opened:
        lossless = opened.format in LOSSLESS
        opened.load()
        image = with_channels(opened, channels)
    digest = image_hash(_chw(image).tobytes() if lossless else encoded)
    return _chw(fit_into(image, size)), digest, lossless


def _chw(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _resized_raw(pixels: np.ndarray, size: int) -> np.ndarray:
    if pixels.shape[1:] == (size, size):
        return pixels
    return np.stack([np.asarray(fit_into(Image.fromarray(one), size)) for one in pixels])


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:120]}".removesuffix(": ")
