import hashlib

import numpy as np
import pytest

from ddranking.data.digest import digest_of, digest_of_pixels, image_hash


def halves():
    pixels = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)
    return (pixels[:3], np.array([0, 1, 0])), (pixels[3:], np.array([1]))


def test_the_digest_is_the_one_that_its_docstring_describes() -> None:
    (train, train_labels), (test, test_labels) = halves()
    text = b"ddranking.dataset/1 2 3 3\n"
    for name, pixels, labels in (("train", train, train_labels), ("test", test, test_labels)):
        text += f"{name} {len(labels)}\n".encode()
        for image, label in zip(pixels, labels, strict=True):
            text += hashlib.sha256(image.tobytes()).digest() + int(label).to_bytes(8, "little")
    assert digest_of_pixels(*halves()) == f"sha256:{hashlib.sha256(text).hexdigest()}"


def test_a_changed_pixel_label_order_or_half_changes_the_digest() -> None:
    (train, labels), test = halves()
    same = digest_of_pixels((train, labels), test)
    brighter = train.copy()
    brighter[0, 0, 0, 0] += 1
    others = [
        digest_of_pixels((brighter, labels), test),
        digest_of_pixels((train, labels[::-1] * 0 + 1), test),
        digest_of_pixels((train[::-1], labels), test),
        digest_of_pixels(test, (train, labels)),
        digest_of(
            (2, 6, 6), (map(image_hash, train.copy()), labels), (map(image_hash, test[0]), test[1])
        ),
    ]
    assert len({same, *others}) == 6


def test_memory_layout_is_no_part_of_it() -> None:
    (train, labels), test = halves()
    channels_last = np.ascontiguousarray(train.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not channels_last.flags.c_contiguous
    assert digest_of_pixels((channels_last, labels), test) == digest_of_pixels(*halves())


def test_hashes_and_labels_must_match() -> None:
    with pytest.raises(ValueError):
        digest_of((1, 1, 1), ([b"a"], np.array([0, 1])), ([], np.array([])))
