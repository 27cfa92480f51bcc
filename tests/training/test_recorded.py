"""Recorded steps: what a GPU replays is the training that it would have run."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from tests.training.tape import HostTalks, tape

from ddranking.models import table
from ddranking.protocol import augmentations, rules
from ddranking.protocol.trial import Trial
from ddranking.training import recorded
from ddranking.training.drawn import tensors
from ddranking.training.lesson import Lesson, recordable
from ddranking.training.recorded import Recorded
from ddranking.training.targets import LabelledImages
from ddranking.training.teacher import Seeing, Teacher

CPU = torch.device("cpu")


def images(count: int = 20) -> LabelledImages:
    chance = torch.Generator().manual_seed(0)
    teaching = table.build("convnet2-w8", (3, 16, 16), 4, seed=9)
    return LabelledImages(
        torch.randn(count, 3, 16, 16, generator=chance),
        torch.arange(count) % 4,
        torch.randn(count, 3, 4, generator=chance),
        "logits",
        Teacher([Seeing(teaching, (1.0, 1.0, 1.0), (0.5, 0.0, 0.0), classes=(1, 0, 2, 3))]),
    )


def trial(**changes: Any) -> Trial:
    training = {"epochs": 8, "batch_size": 8, "learning_rate": 2**-7} | changes  # exact in float32
    values = {
        "arm": "syn_any",
        "training_set": {"kind": "distilled", "digest": "sha256:" + "0" * 64},
        "space": {"kind": "pixel"},
        "student": training.pop("student", "convnet2-w8"),
        "seed": 0,
        "dataset": "sha256:" + "1" * 64,
        "validation_size": 1,
        "evaluate": "test",
    }
    return Trial.model_validate({**values, "training": training})


def trained(spec: Trial, record: recorded.Recorder | None) -> Lesson:
    network, shared = table.build(spec.student, (3, 16, 16), 4, seed=spec.seed), images()
    lesson = Lesson(network, shared, spec, CPU, record=record)
    assert list(lesson.epochs())[-1] == 1
    for left, before in zip(tensors(shared), tensors(images()), strict=True):
        assert torch.equal(left, before), "trainings beside this one have the same images"
    return lesson


def test_reading_a_network_between_epochs_changes_nothing() -> None:
    spec = trial(student="convnet2-w8-bn")
    alone, read = (
        Lesson(table.build(spec.student, (3, 16, 16), 4, seed=0), images(), spec, CPU)
        for _ in range(2)
    )
    list(alone.epochs())
    for _ in read.epochs():
        with torch.no_grad():
            read.network.eval()(images().images)
    for name, value in alone.network.state_dict().items():
        assert torch.equal(value, read.network.state_dict()[name]), name


FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "one batch": {"batch_size": 50},
    "schedule": {"schedule": {"kind": "cosine"}},
    "batch norm": {"student": "convnet2-w8-bn"},
    "layer norm": {"student": "convnet2-w8-ln"},
    "mlp": {"student": "mlp"},
    "bf16": {"precision": "bf16"},
    "nesterov": {"optimizer": {"kind": "sgd", "nesterov": True}},
    "adam": {"optimizer": {"kind": "adam", "weight_decay": 0.01}},
    "adamw": {"optimizer": {"kind": "adamw"}},
    "smoothed": {"loss": {"kind": "cross_entropy", "label_smoothing": 0.1}},
    "stored": {"labels": {"kind": "stored"}, "loss": {"kind": "soft_cross_entropy"}},
    "stored at random": {
        "labels": {"kind": "stored", "view": "random"},
        "loss": {"kind": "kl", "temperature": 4.0},
    },
    "ground truth": {"labels": {"kind": "stored"}, "loss": {"kind": "mse_gt"}},
    "teacher": {
        "labels": {"kind": "teacher"},
        "loss": {"kind": "kl", "temperature": 20.0},
        "augmentation": [{"kind": "cutmix"}],
    },
    "teacher of images": {
        "labels": {"kind": "teacher", "sees": "images"},
        "loss": {"kind": "kl", "multiply_t2": True},
        "augmentation": [{"kind": "mixup"}],
    },
    **{
        kind: {"augmentation": [{"kind": kind}], "epochs": 16}
        for kind in (
            "dsa", "flip", "crop", "resized_crop", "color_jitter", "cutout", "noise",
            "patch_shuffle", "mixup", "cutmix",
        )
    },
    "reflected crop": {"augmentation": [{"kind": "crop", "mode": "reflect"}]},
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_recorded_training_is_the_same_training(name: str, monkeypatch) -> None:
    monkeypatch.setenv("DDRANKING_FUSED", "0")
    spec = trial(**FORMS[name])
    made: list[int] = []

    def counted(function):
        made.append(1)
        return tape(function)

    plain, replayed = trained(spec, None), trained(spec, counted)
    assert made, "nothing was recorded"
    assert plain.steps == replayed.steps
    assert replayed.mean_loss() == pytest.approx(plain.mean_loss(), rel=1e-5)
    expected = dict(plain.network.state_dict())
    torch.testing.assert_close(dict(replayed.network.state_dict()), expected, rtol=1e-4, atol=1e-6)


def test_every_augmentation_is_recorded_or_said_not_to_be() -> None:
    every = get_args(get_args(augmentations.Augmentation)[0])
    kinds = {one.model_fields["kind"].default for one in every}
    assert kinds - FORMS.keys() == {"torchvision"}
    named = {"kind": "torchvision", "name": "GaussianBlur", "parameters": {"kernel_size": 3}}
    plain = table.build("convnet2-w8", (3, 16, 16), 4, seed=0)
    for augmentation, able in (([named], False), ([{"kind": "dsa"}], True)):
        spec = trial(augmentation=augmentation).training
        assert recordable(spec, plain, "convnet2-w8", (3, 16, 16), 20) is able


def test_a_network_that_draws_for_itself_is_not_recorded() -> None:
    rules_ = trial().training
    plain = table.build("convnet2-w8", (3, 16, 16), 4, seed=0)
    drawing = torch.nn.Sequential(torch.nn.Dropout(0.3), plain)
    assert not recordable(rules_, drawing, "torchvision:vgg11", (3, 16, 16), 20)
    assert not recordable(rules_, plain, "my.networks:network", (3, 16, 16), 20)
    assert recordable(rules_, plain, "timm:resnet18", (3, 16, 16), 20)


def test_steps_that_keep_a_gpu_busy_are_not_recorded() -> None:
    plain = table.build("convnet2-w8", (3, 16, 16), 4, seed=0)
    for size, batch, count, able in (
        (32, 256, 50_000, True),
        (224, 256, 10_000, False),
        (224, 256, 10, True),  # one batch of ten images
        (224, 16, 10_000, True),
    ):
        spec = trial(batch_size=batch).training
        assert recordable(spec, plain, "convnet2-w8", (3, size, size), count) is able


def test_every_loss_optimiser_and_label_strategy_is_recorded() -> None:
    def kinds(union: Any) -> set[str]:
        return {one.model_fields["kind"].default for one in get_args(get_args(union)[0])}

    specs = [trial(**changes).training for changes in FORMS.values()]
    assert {spec.loss.kind for spec in specs} == kinds(rules.Loss)
    assert {spec.optimizer.kind for spec in specs} == kinds(rules.Optimizer)
    assert {spec.labels.kind for spec in specs} == kinds(rules.Labels)


def test_the_tape_refuses_what_a_graph_refuses() -> None:
    value = torch.ones(3)
    for talk in (
        lambda: value.sum().item(),
        lambda: torch.tensor([1.0]),
        lambda: value[[0, 1]],
        lambda: torch.randn(3),
        lambda: bool(value.any()),
    ):
        with pytest.raises(HostTalks):
            tape(talk)


def test_a_form_is_recorded_at_its_second_sight_and_then_replayed() -> None:
    told: list[str] = []
    state = torch.zeros(3)

    def step(value: torch.Tensor, family: str) -> None:
        told.append(family)
        state.add_(value * (2 if family == "b" else 1))

    run = Recorded(step, tape)
    for value, family in [(1, "a"), (2, "a"), (3, "a"), (1, "b"), (4, "a"), (1, "b"), (5, "b")]:
        run(torch.full((3,), float(value)), family)
    assert state.tolist() == [1 + 2 + 3 + 4 + 2 * (1 + 1 + 5)] * 3
    assert told == ["a", "a", "b", "b"], "replays do not come back to Python"


def test_where_recording_fails_the_training_goes_on_as_it_is() -> None:
    def never(function):
        raise RuntimeError("operation not permitted when stream is capturing")

    state = torch.zeros(1)
    run = Recorded(lambda value: state.add_(value), never)
    for _ in range(5):
        run(torch.ones(1))
    assert state.item() == 5
    assert run.reason == "operation not permitted when stream is capturing"


def test_no_more_forms_are_recorded_than_agreed(monkeypatch) -> None:
    monkeypatch.setattr(recorded, "MOST_FORMS", 2)
    made: list[int] = []
    state = torch.zeros(1)

    def counted(function):
        made.append(1)
        return tape(function)

    run = Recorded(lambda value, family: state.add_(value), counted)
    for family in "abc" * 4:
        run(torch.ones(1), family)
    assert state.item() == 12
    assert len(made) == 2


def test_a_recording_that_finds_no_memory_is_tried_again_when_some_is_free(monkeypatch) -> None:
    """What is cached cannot be given back while something is recorded."""
    freed: list[int] = []
    monkeypatch.setattr(recorded, "release", lambda: freed.append(1))
    state = torch.zeros(1)

    def full_at_first(function):
        if not freed:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tape(function)

    run = Recorded(lambda value: state.add_(value), full_at_first)
    for _ in range(4):
        run(torch.ones(1))
    assert (state.item(), freed, run.reason) == (4, [1], None)


def test_a_device_that_stays_full_runs_the_step_as_it_is(monkeypatch) -> None:
    """If there is no memory for that either, the step says so, and the group is halved."""
    monkeypatch.setattr(recorded, "release", lambda: None)
    ran: list[float] = []

    def full(function):
        raise torch.OutOfMemoryError("CUDA out of memory")

    def step(value: torch.Tensor) -> None:
        ran.append(value.item())
        if len(ran) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    run = Recorded(step, full)
    run(torch.ones(1))
    with pytest.raises(torch.OutOfMemoryError):
        run(torch.ones(1))
    assert len(ran) == 2
