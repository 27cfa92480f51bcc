"""The keys of an evaluation configuration of the old tool, each of the kind that it must be.

What nobody asked for is told in the end: most of it is said elsewhere here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ddranking.errors import BadProtocol

#: Keys that say something about other things than how a method trains, and where that is said here.
ELSEWHERE = {
    "real_data_path": "where the real data lies is said with --data-root, or by data prepare",
    "real_batch_size": "batches of the whole real set are the track's",
    "custom_val_trans": "test images are put into the set's space, at the dataset's size",
    "use_aug_for_hard": "augmentation with hard labels is the track's",
    "num_eval": "the number of seeds is the track's, or --seeds",
    "num_workers": "images lie in memory as a whole",
    "device": "said with --device",
    "dist": "several devices are used when they are there; machines share work with --shard",
    "save_path": "said with --out",
    "random_data_path": "random images are drawn anew for every seed and kept by that seed",
    "random_data_format": "random images are never written as pictures",
    "eval_full_data": "the accuracy on the whole set is a reference, or --train-real",
    "im_size": "the size is the dataset's",
    "nclass": "the number of classes is the dataset's",
    "teacher_dir": "teachers are trained here, published, or given with --teacher FILE",
    "stu_use_torchvision": "networks are named by the track",
    "use_torchvision": "networks are named by the track",
    "tea_use_torchvision": "teachers are networks by name",
    "momentum": "of sgd alone",
    "step_size": "of lr_scheduler step alone",
    **dict.fromkeys(
        ("soft_label_criterion", "temperature", "scale_loss", "loss_fn_kwargs"),
        "of soft labels alone",
    ),
    "teacher_model_names": "of soft_label_mode M alone",
    "log_interval": "every training is logged",
    "test_interval": "accuracy is that of the last epoch",
}


class Keys:
    """Values by key, with the keys that were looked at; the others are warned about.

    Each method looks one up: a value of another kind raises :func:`wrong`'s error.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = {
            key: None if value in ("None", "none", "null", "") else value
            for key, value in ((str(key), value) for key, value in values.items())
        }
        self.seen: set[str] = set()

    def given(self, key: str) -> Any:
        self.seen.add(key)
        return self.values.get(key)

    def text(self, key: str, default: str) -> str:
        value = self.given(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
            raise wrong(key, "a name", value)
        return value

    def number(self, key: str, default: float) -> float:
        return number(self.given(key), key, default)

    def whole(self, key: str, default: int) -> int:
        value = self.number(key, default)
        if value != int(value):
            raise wrong(key, "a whole number", value)
        return int(value)

    def flag(self, key: str) -> bool:
        value = self.given(key)
        if isinstance(value, str) and value.lower() in ("true", "false"):
            value = value.lower() == "true"
        if value not in (None, True, False):
            raise wrong(key, "true or false", value)
        return bool(value)

    def mapping(self, key: str) -> dict[str, Any]:
        value = self.given(key)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise wrong(key, "names with values", value)
        return value

    def unused(self) -> list[str]:
        """A line for every key that nobody asked for."""
        lines = []
        for key, value in self.values.items():
            if key in self.seen or value is None:
                continue
            why = ELSEWHERE.get(key, "not a key that DD-Ranking documents; it has no meaning here")
            lines.append(f"{shown(key)}: {why}")
        return lines


def number(value: Any, key: str, default: float | None = None) -> float:
    """A number, also one that YAML reads as text (``1e-3``); ``default`` where there is none."""
    if value is None and default is not None:
        return default
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise wrong(key, "a number", value) from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise wrong(key, "a number", value)
    return value


def as_list(value: Any, key: str) -> list[Any]:
    """A list, which a value must be."""
    if isinstance(value, list):
        return value
    raise wrong(key, "a list", value)


def shown(text: object) -> str:
    """The beginning of a text that nobody vouches for, on one line."""
    return "".join(each if each.isprintable() else "?" for each in str(text)[:60])


def wrong(key: str, expected: str, got: Any, hint: str = "") -> BadProtocol:
    """The error for a value that is not one of the old tool's, or has no counterpart here."""
    return BadProtocol(
        f"configuration, {key}", expected=expected[:300], got=shown(repr(got)), hint=hint
    )
