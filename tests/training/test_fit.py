"""The training loop against an independent plain one, and its promises."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from ddranking import seeds
from ddranking.models import table
from ddranking.protocol import rules
from ddranking.protocol.trial import Trial
from ddranking.training import losses, optim, targets
from ddranking.training.augment import augment
from ddranking.training.fit import Job, LabelledImages, accuracy, fit, fit_each

CPU = torch.device("cpu")
CONVNET = "convnet1-w8"


def data(count: int, classes: int = 3, seed: int = 0, size: int = 8) -> LabelledImages:
    """Images whose class shows as a brighter stripe, under noise."""
    chance = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    images = torch.randn(count, 1, size, size, generator=chance)
    for index, label in enumerate(labels):
        images[index, :, int(label)] += 2.0
    return LabelledImages(images, labels)


def trial(**changes) -> Trial:
    training = {"epochs": 4, "batch_size": 4, "learning_rate": 0.05} | changes
    values = {
        "arm": "syn_any",
        "training_set": {"kind": "distilled", "digest": "sha256:" + "0" * 64},
        "space": {"kind": "pixel"},
        "student": training.pop("student", CONVNET),
        "seed": training.pop("seed", 0),
        "dataset": "sha256:" + "1" * 64,
        "validation_size": 1,
        "evaluate": "test",
    }
    return Trial.model_validate({**values, "training": training})


def job(**changes) -> Job:
    return Job(trial(**changes), data(10), data(30, seed=1), num_classes=3)


def plain_loop(work: Job) -> tuple[list[float], dict[str, torch.Tensor]]:
    """SGD with momentum and weight decay written out by hand; returns epoch losses and weights."""
    spec, settings = work.trial, work.trial.training
    assert isinstance(settings.optimizer, rules.Sgd)
    network = table.build(spec.student, (1, 8, 8), 3, seed=spec.seed)
    order = torch.Generator().manual_seed(seeds.derive(spec.seed, "order"))
    velocity = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    images, labels = work.training.images, work.training.labels
    history = []
    for epoch in range(settings.epochs):
        rate = spec.rate * (0.1 if epoch / settings.epochs >= 0.5 else 1.0)
        total = 0.0
        for batch in torch.randperm(len(images), generator=order).split(settings.batch_size):
            logits = network(images[batch])
            value = -logits.log_softmax(1)[torch.arange(len(batch)), labels[batch]].mean()
            grads = torch.autograd.grad(value, list(network.parameters()))
            with torch.no_grad():
                for (name, p), g in zip(network.named_parameters(), grads, strict=True):
                    g = g + settings.optimizer.weight_decay * p
                    velocity[name] = settings.optimizer.momentum * velocity[name] + g
                    p -= rate * velocity[name]
            total += float(value.detach()) * len(batch)
        history.append(total / len(images))
    return history, dict(network.state_dict())


def test_training_equals_a_plain_loop() -> None:
    work = job(schedule={"kind": "step", "milestones": [0.5], "factor": 0.1})
    history, weights = plain_loop(work)
    [result] = fit([work], CPU)
    assert result.train_loss == pytest.approx(history[-1], abs=1e-6)
    assert history[-1] < history[0]
    assert result.steps == 4 * 3
    for name, value in weights.items():
        torch.testing.assert_close(result.weights[name], value, atol=1e-6, rtol=1e-5)


def test_a_result_does_not_depend_on_its_neighbours_or_their_order() -> None:
    jobs = [job(seed=seed, augmentation=[{"kind": "dsa"}]) for seed in range(3)]
    together, backwards = fit(jobs, CPU), fit(jobs[::-1], CPU)[::-1]
    for alone, left, right in zip(
        (fit([j], CPU)[0] for j in jobs), together, backwards, strict=True
    ):
        for other in (left, right):
            assert other.accuracy == alone.accuracy
            assert other.train_loss == alone.train_loss
            assert all(torch.equal(other.weights[n], w) for n, w in alone.weights.items())


GROUPED = {
    "instance norm, dsa": {"augmentation": [{"kind": "dsa"}], "batch_size": 10},
    "batch norm, adam": {"student": "convnet1-w8-bn", "optimizer": {"kind": "adam"}},
    "layer norm, adamw, cosine": {
        "student": "convnet1-w8-ln",
        "optimizer": {"kind": "adamw"},
        "schedule": {"kind": "cosine"},
    },
    "mlp, mixed, smoothed": {
        "student": "mlp",
        "augmentation": [{"kind": "cutmix"}, {"kind": "noise"}],
        "loss": {"kind": "cross_entropy", "label_smoothing": 0.1},
    },
    "resnet, torchvision": {
        "student": "resnet18",
        "augmentation": [{"kind": "torchvision", "name": "RandomHorizontalFlip"}],
        "epochs": 1,
    },
}


@pytest.mark.parametrize("name", GROUPED)
def test_a_group_in_turns_gives_what_each_gives_alone(name: str) -> None:
    """Different rates, seeds and data; state, statistics of batch norm too, bit for bit."""
    jobs = [
        replace(
            job(**GROUPED[name], seed=seed, learning_rate=0.01 * (seed + 1)),
            training=data(10, seed=seed),
        )
        for seed in range(3)
    ]
    for alone, beside in zip(fit(jobs, CPU), fit(jobs, CPU, together=True), strict=True):
        assert (alone.accuracy, alone.train_loss) == (beside.accuracy, beside.train_loss)
        assert alone.steps == beside.steps
        for key, value in alone.weights.items():
            assert torch.equal(beside.weights[key], value), key


def test_images_that_a_group_shares_go_to_the_device_once(monkeypatch) -> None:
    moved: list[LabelledImages] = []
    to = LabelledImages.to

    def counted(images: LabelledImages, device: torch.device) -> LabelledImages:
        moved.append(images)
        return to(images, device)

    monkeypatch.setattr(LabelledImages, "to", counted)
    one = job()
    same = replace(job(seed=1), training=replace(one.training), evaluation=one.evaluation)
    other = replace(job(seed=2), training=data(10, seed=2), evaluation=one.evaluation)
    fit([one, same, other], CPU, together=True)
    assert len(moved) == 3, "two training sets and one to evaluate on"


def test_a_group_may_hold_what_is_only_evaluated() -> None:
    first, second = job(seed=0), job(seed=1)
    [trained] = fit([first], CPU)
    read, other = fit([replace(first, weights=trained.weights), second], CPU, together=True)
    assert (read.accuracy, read.steps, read.train_loss) == (trained.accuracy, 0, None)
    assert other.steps == 12


def test_a_group_that_does_not_fit_is_halved_and_gives_the_same(monkeypatch) -> None:
    from ddranking.training import fit as room

    whole, tried = room._in_turns, []

    def narrow(group, *rest):
        tried.append(len(group))
        if len(group) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return whole(group, *rest)

    jobs = [job(seed=seed) for seed in range(3)]
    wide = fit(jobs, CPU, together=True)
    monkeypatch.setattr(room, "_in_turns", narrow)
    halved = fit(jobs, CPU, together=True)
    assert tried == [3, 1, 2, 1, 1]
    for one, other in zip(wide, halved, strict=True):
        assert one.accuracy == other.accuracy
        assert all(torch.equal(other.weights[name], w) for name, w in one.weights.items())


@dataclass
class InventedGpu:
    """How far trainings are, and the seconds of a device that does ``speed(n)`` epochs a second."""

    speed: Callable[[int], float]
    told: list[int] = field(default_factory=list)
    counted: int = 0
    seconds: float = 0.0

    def listener(self, index: int):
        return lambda lesson, share, seconds: self.told.append(index)

    def clock(self) -> float:
        new = self.told[self.counted :]
        self.seconds += len(new) / self.speed(len(set(new)) or 1)
        self.counted = len(self.told)
        return self.seconds


@pytest.mark.parametrize(
    ("speed", "measured", "after"),
    [
        (lambda size: size, [0] * 4 + [1, 2] * 4 + [3, 0, 1, 2] * 4, [0, 1, 2, 3]),
        (lambda size: 1, [0] * 4 + [1, 2] * 4, [0, 0, 0, 0]),
    ],
)
def test_as_many_at_once_as_pay_give_the_same(monkeypatch, speed, measured, after) -> None:
    """As on a GPU, with the seconds of an invented one; of a second group it is known already."""
    from ddranking.training import fit as room

    jobs = [job(seed=seed, epochs=30) for seed in range(4)]
    alone = fit(jobs, CPU)
    monkeypatch.setattr(room, "STEPS", 2)
    monkeypatch.setattr(room, "_FOUND", {})
    for before in (measured, []):
        gpu = InventedGpu(speed)
        numbered = dict(enumerate(jobs))
        found = dict(room._in_turns(numbered, CPU, gpu.listener, True, gpu.clock))
        assert gpu.told[: len(before) + 4] == before + after
        for number, one in enumerate(alone):
            other = found[number]
            assert (one.accuracy, one.train_loss) == (other.accuracy, other.train_loss)
            assert all(torch.equal(other.weights[name], w) for name, w in one.weights.items())


def test_a_result_is_there_when_its_training_has_ended(monkeypatch) -> None:
    """A run that is killed loses those that train at that moment, not all of their group."""
    from ddranking.training import fit as room

    gpu = InventedGpu(lambda size: 1)
    jobs = {seed: job(seed=seed, epochs=30) for seed in range(6)}
    monkeypatch.setattr(room, "_FOUND", {room._kind(jobs, CPU, True): 2})
    for number, _ in room._in_turns(jobs, CPU, gpu.listener, True, gpu.clock):
        assert len(set(gpu.told)) <= number + 2


def test_what_has_ended_holds_no_memory_of_its_own(monkeypatch) -> None:
    """On a GPU a training that is over would keep its gradients and recordings from the others."""
    from ddranking.training import fit as room

    networks: dict[int, weakref.ref] = {}
    whole = room._lesson

    def watched(work: Job, *rest):
        lesson = whole(work, *rest)
        networks[work.trial.seed] = weakref.ref(lesson.network)
        return lesson

    monkeypatch.setattr(room, "_lesson", watched)
    jobs = [job(seed=seed, epochs=3 - seed) for seed in range(3)]
    for number, _ in fit_each(jobs, CPU, together=True):
        gc.collect()
        assert networks[number]() is None
    assert len(networks) == 3


def test_a_network_with_dropout_has_its_own_chance(monkeypatch) -> None:
    """Dropout draws from torch's global generator, whatever was drawn there before."""
    built = table.build

    def dropping(*arguments, **named):
        return torch.nn.Sequential(torch.nn.Dropout(0.3), built(*arguments, **named))

    monkeypatch.setattr(table, "build", dropping)
    alone = fit([job()], CPU)[0]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    again, beside = fit([job(seed=1), job()], CPU)[1], fit([job(seed=1), job()], CPU, together=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert again.train_loss == beside[1].train_loss == alone.train_loss
    assert beside[0].train_loss != beside[1].train_loss


def test_seeds_differ() -> None:
    first, second = fit([job(seed=0), job(seed=1)], CPU)
    assert first.train_loss != second.train_loss


@pytest.mark.parametrize("student", ["mlp", "convnet1-w8-bn"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_every_optimiser_learns(optimizer: str, student: str) -> None:
    rate = 0.05 if optimizer == "sgd" else 0.005
    work = job(optimizer={"kind": optimizer}, epochs=30, learning_rate=rate, student=student)
    [result] = fit([work], CPU)
    assert result.accuracy > 0.8


def test_weights_that_are_given_are_only_evaluated() -> None:
    work = job(epochs=10)
    [trained] = fit([work], CPU)
    again = Job(work.trial, work.training, work.evaluation, 3, weights=trained.weights)
    [read] = fit([again], CPU)
    assert (read.accuracy, read.steps) == (trained.accuracy, 0)


def test_a_training_that_diverges_has_no_loss_but_an_accuracy() -> None:
    [result] = fit([job(learning_rate=1000.0, epochs=20, student="mlp")], CPU)
    assert result.train_loss is None
    assert 0 <= result.accuracy <= 1


def test_no_global_state_is_touched() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    fit([job(augmentation=[{"kind": "dsa"}])], CPU)
    assert torch.equal(torch.get_rng_state(), before)


def test_progress_tells_every_epoch_once() -> None:
    told: list[tuple[int, float]] = []
    fit([job(), job(seed=1)], CPU, lambda index, share: told.append((index, share)))
    assert told == [(i, share) for i in (0, 1) for share in (0.25, 0.5, 0.75, 1.0)]


def test_accuracy_counts_every_image_once_whatever_the_batch() -> None:
    class FirstPixel(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return F.one_hot(images[:, 0, 0, 0].long(), 3).float()

    images = torch.zeros(123, 1, 8, 8)
    images[:, 0, 0, 0] = torch.arange(123) % 3
    labels = torch.arange(123) % 3
    labels[:23] = (labels[:23] + 1) % 3
    assert accuracy(FirstPixel(), LabelledImages(images, labels), CPU) == 100 / 123


def test_stored_labels_that_say_what_hard_ones_do_train_alike() -> None:
    """One-hot probabilities under soft cross-entropy, with mixed images: hard labels' training."""
    plain = data(10)
    soft = replace(plain, soft=F.one_hot(plain.labels, 3).float(), soft_kind="probabilities")
    mixing = [{"kind": "flip"}, {"kind": "mixup"}, {"kind": "cutmix"}]
    stored = {"labels": {"kind": "stored"}, "loss": {"kind": "soft_cross_entropy"}}
    for augmentation in ([], mixing):
        rules = {"augmentation": augmentation, "epochs": 6}
        one = Job(trial(**rules), plain, plain, num_classes=3)
        other = Job(trial(**rules, **stored), soft, plain, num_classes=3)
        first, second = fit([one, other], CPU)
        assert second.train_loss == pytest.approx(first.train_loss, abs=1e-5)
        for name, value in first.weights.items():
            torch.testing.assert_close(second.weights[name], value, atol=1e-4, rtol=1e-3)


def test_labels_that_are_left_behind_would_show() -> None:
    """Mixed images whose labels were not mixed have another loss from the first step on."""
    work = job(augmentation=[{"kind": "mixup", "alpha": 50}], epochs=1, batch_size=10)
    [result] = fit([work], CPU)
    network = table.build(work.trial.student, (1, 8, 8), 3, seed=0)
    chance = torch.Generator().manual_seed(seeds.derive(0, "augmentation"))
    made = augment(work.training.images, work.trial.training.augmentation, chance)
    [mix], logits = made.mixes, network(made.images).detach()
    own = F.cross_entropy(logits, work.training.labels)
    other = F.cross_entropy(logits, work.training.labels[mix.partner])
    lam = float(mix.lam[0])
    assert result.train_loss == pytest.approx(float(lam * own + (1 - lam) * other), abs=1e-6)
    assert result.train_loss != pytest.approx(float(own), abs=1e-3)


def test_a_soft_view_of_each_epoch_is_seen() -> None:
    """Two views that contradict each other: training on both is training on neither."""
    plain = data(10)
    right, wrong = (F.one_hot((plain.labels + k) % 3, 3).float() * 20 for k in (0, 1))
    stored = {"labels": {"kind": "stored"}, "loss": {"kind": "kl"}, "epochs": 30}
    accuracies = []
    for soft in (right, torch.stack([wrong, wrong], 1)):
        given = replace(plain, soft=soft, soft_kind="logits")
        accuracies.append(fit([Job(trial(**stored), given, plain, 3)], CPU)[0].accuracy)
    assert accuracies[0] > 0.8
    assert accuracies[1] < 0.2


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (rules.Constant(), [1, 1, 1, 1]),
        (rules.Step(milestones=(0.5,), factor=0.1), [1, 1, 0.1, 0.1]),
        (rules.Step(milestones=(0.25, 0.75), factor=0.5), [1, 0.5, 0.5, 0.25]),
        (rules.Cosine(), [1, 0.85355339, 0.5, 0.14644661]),
        (rules.HalfCosine(), [1, 0.96193977, 0.85355339, 0.69134172]),
    ],
)
def test_schedules(spec: rules.Schedule, expected: list[float]) -> None:
    factors = [optim.rate_factor(spec, epoch, 4) for epoch in range(4)]
    assert factors == pytest.approx(expected)


def test_the_tables_hold_every_kind_that_a_recipe_may_name() -> None:
    def kinds(union: object) -> set[str]:
        members = get_args(get_args(union)[0]) if get_args(union) else (union,)
        return {member.model_fields["kind"].default for member in members}

    assert set(optim.OPTIMIZERS) == kinds(rules.Optimizer)
    assert set(optim.SCHEDULES) == kinds(rules.Schedule)
    assert set(losses.LOSSES) == kinds(rules.Loss)
    assert set(targets.TARGETS) == kinds(rules.Labels)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_training_within_float32() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    work = job(augmentation=[{"kind": "dsa"}], epochs=10)
    [here], [there] = fit([work], CPU), fit([work], torch.device("cuda"))
    assert here.train_loss is not None
    assert there.train_loss == pytest.approx(here.train_loss, abs=1e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("name", GROUPED)
def test_on_a_gpu_groups_and_recordings_change_nothing(name: str, monkeypatch) -> None:
    """Beside others or alone, recorded or not: the same kernels on the same numbers."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    from ddranking.training import fit as room

    monkeypatch.setattr(room, "STEPS", 2)  # so that ten epochs are enough to measure
    cuda = torch.device("cuda")
    rules_ = {"epochs": 10} | GROUPED[name]
    jobs = [
        replace(job(**rules_, seed=seed, learning_rate=0.01), training=data(10, seed=seed))
        for seed in range(4)
    ]
    alone = [fit([one], cuda, record=False)[0] for one in jobs]
    together = [fit(jobs, cuda), fit(jobs, cuda, record=False), fit(jobs, cuda, together=True)]
    numbered = dict(enumerate(jobs))
    monkeypatch.setattr(room, "_FOUND", {room._kind(numbered, cuda, True): 1})
    together.append(fit(jobs, cuda))
    for beside in together:
        for one, other in zip(alone, beside, strict=True):
            assert other.accuracy == pytest.approx(one.accuracy, abs=0.04)
            for key, value in one.weights.items():
                torch.testing.assert_close(other.weights[key], value, rtol=1e-3, atol=1e-4)
