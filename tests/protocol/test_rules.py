"""The vocabulary: every kind round-trips, has bounds, and fits what stands beside it."""

from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from ddranking.errors import BadProtocol
from ddranking.protocol import rules
from ddranking.protocol.recipe import find_recipe

UNIONS = (rules.Augmentation, rules.Labels, rules.Loss, rules.Optimizer, rules.Schedule)
MEMBERS = [member for union in UNIONS for member in get_args(get_args(union)[0])]
NEEDED = {"torchvision": {"name": "RandomRotation", "parameters": {"degrees": [-10, 10.5]}}}


def made(member, **values):
    return member(**NEEDED.get(member.model_fields["kind"].default, {}), **values)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
def test_a_kind_round_trips_and_knows_no_other_field(member) -> None:
    value = made(member)
    [union] = [union for union in UNIONS if member in get_args(get_args(union)[0])]
    assert TypeAdapter(union).validate_json(value.model_dump_json()) == value
    assert (member.__doc__ or "").splitlines()[0].endswith(".")
    with pytest.raises(ValidationError):
        made(member, bogus=1)


def test_kinds_are_told_apart() -> None:
    for union in UNIONS:
        members = get_args(get_args(union)[0])
        kinds = [member.model_fields["kind"].default for member in members]
        assert len(set(kinds)) == len(kinds)
        with pytest.raises(ValidationError):
            TypeAdapter(union).validate_python({"kind": "none"})


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("augmentation=[{kind: flip, p: 1.5}]", "augmentation.0.flip.p"),
        ("augmentation=[{kind: crop, padding: 0}]", "padding"),
        ("augmentation=[{kind: crop, mode: wrap}]", "mode"),
        ("augmentation=[{kind: resized_crop, scale: [0, 1]}]", "scale: expected 0 < low"),
        ("augmentation=[{kind: resized_crop, scale: [0.5, 0.2]}]", "scale: expected"),
        ("augmentation=[{kind: resized_crop, ratio: [2, 1]}]", "ratio: expected"),
        ("augmentation=[{kind: color_jitter, hue: 0.6}]", "hue"),
        ("augmentation=[{kind: color_jitter, brightness: -1}]", "brightness"),
        ("augmentation=[{kind: cutout, side: 0}]", "side"),
        ("augmentation=[{kind: noise, std: -1}]", "std"),
        ("augmentation=[{kind: patch_shuffle, factor: 0}]", "factor"),
        ("augmentation=[{kind: mixup, alpha: 0}]", "alpha"),
        ("augmentation=[{kind: cutmix, alpha: -1}]", "alpha"),
        ("augmentation=[{kind: torchvision, name: ColorJitter}]", "RandomErasing"),
        ("augmentation=[{kind: torchvision}]", "name"),
        ("augmentation=[{kind: torchvision, name: RandomErasing, parameters: {p: {}}}]", "p"),
        ("labels.kind=stored", "loss: expected one for soft labels"),
        ("labels={kind: stored, view: best}", "view"),
        ("loss={kind: kl, temperature: 20}", "loss: expected one for hard labels"),
        ("loss={kind: kl, temperature: 0}", "temperature"),
        ("loss={kind: soft_cross_entropy, temperature: -1}", "temperature"),
        ("loss={kind: mse_gt, weight: -1}", "weight"),
    ],
)
def test_what_is_out_of_range_or_does_not_fit_is_one_line(change, word) -> None:
    with pytest.raises(BadProtocol) as caught:
        find_recipe("dc").resolve("cifar10", 1, [change])
    assert word in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_soft_losses_are_losses() -> None:
    kinds = {member.model_fields["kind"].default for member in get_args(get_args(rules.Loss)[0])}
    assert kinds > rules.SOFT_LOSSES
