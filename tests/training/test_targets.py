"""Label strategies: which label an image has in which epoch."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from ddranking.protocol.rules import Hard, Network, Stored, Teacher
from ddranking.training.augment import Augmented
from ddranking.training.mixing import Mix
from ddranking.training.targets import LabelledImages, prepared, targets

NETWORKS = (Network(),)
LABELS = torch.tensor([0, 1, 2, 1])
VIEWS = torch.arange(4 * 3 * 5, dtype=torch.float32).reshape(4, 3, 5)


def data(soft=None) -> LabelledImages:
    return LabelledImages(
        torch.zeros(4, 1, 2, 2), LABELS, soft, "logits" if soft is not None else None
    )


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_hard_labels_are_as_they_came_whatever_else_is_stored() -> None:
    made = targets(Hard(), data(VIEWS), 0, chance())
    assert made.soft is None
    assert torch.equal(made.classes(5), LABELS)
    assert torch.equal(made.take(torch.tensor([2, 0])).classes(5), LABELS[[2, 0]])


def test_one_stored_label_an_image_is_that_of_every_epoch() -> None:
    for view in ("epoch", "random"):
        for epoch in range(3):
            made = targets(Stored(view=view), data(VIEWS[:, 0]), epoch, chance())
            assert torch.equal(made.logits(), VIEWS[:, 0])
            assert torch.equal(made.take(torch.tensor([3, 1])).logits(), VIEWS[[3, 1], 0])


def test_views_follow_the_epochs() -> None:
    for epoch in range(7):
        made = targets(Stored(view="epoch"), data(VIEWS), epoch, chance())
        assert torch.equal(made.logits(), VIEWS[:, epoch % 3])


def test_random_views_are_uniform_and_drawn_for_each_image() -> None:
    source, seen = chance(1), []
    for epoch in range(500):
        made = targets(Stored(view="random"), data(VIEWS), epoch, source).logits()
        found = (made[:, None] == VIEWS).all(2)
        assert (found.sum(1) == 1).all()
        seen.append(found.int().argmax(1).numpy())
    views = np.array(seen)
    for column in views.T:
        assert stats.chisquare(np.bincount(column, minlength=3)).pvalue > 0.001
    assert any(len(set(row)) > 1 for row in views)


def test_random_views_are_those_of_the_seed() -> None:
    rules = Stored(view="random")
    first, again, other = (
        torch.stack([targets(rules, data(VIEWS), e, source).logits() for e in range(9)])
        for source in (chance(3), chance(3), chance(4))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_mixing_comes_after_the_batch_is_taken_and_after_the_temperature() -> None:
    mix = Mix(torch.tensor([1, 0]), torch.tensor([0.75, 0.75]))
    taken = targets(Stored(), data(VIEWS), 0, chance()).take(torch.tensor([2, 0]))
    batch = taken.after(Augmented(torch.zeros(2, 1, 2, 2), (mix,)))
    soft = (VIEWS[[2, 0], 0] / 2).softmax(1)
    torch.testing.assert_close(batch.probabilities(2), 0.75 * soft + 0.25 * soft.flip(0))
    assert batch.classes(3).tolist() == [[0.25, 0, 0.75], [0.75, 0, 0.25]]


class Sums(torch.nn.Module):
    """A teacher whose logits are the image's sum, times 0 to 4; it counts what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[int] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.shown.append(len(images))
        return images.sum((1, 2, 3))[:, None] * torch.arange(5.0)


IMAGES = torch.arange(16.0).reshape(4, 1, 2, 2)
MIX = Mix(torch.tensor([1, 0]), torch.tensor([0.75, 0.75]))


def test_a_teacher_labels_the_mixed_batch_and_its_labels_are_not_mixed_again() -> None:
    rules, network = Teacher(networks=NETWORKS), Sums()
    labelled = LabelledImages(IMAGES, LABELS, teacher=network)
    assert prepared(rules, labelled) is labelled
    made = Augmented(IMAGES[:2] / 8, (MIX,))
    batch = targets(rules, labelled, 0, chance()).take(torch.tensor([2, 0])).after(made)
    assert network.shown == [2]
    seen = Sums()(IMAGES[:2] / 8)
    torch.testing.assert_close(batch.logits(), seen)
    torch.testing.assert_close(batch.probabilities(3), (seen / 3).softmax(1))
    assert batch.classes(3).tolist() == [[0.25, 0, 0.75], [0.75, 0, 0.25]]  # the true classes are


def test_a_teacher_that_sees_images_labels_each_once_and_those_labels_are_mixed() -> None:
    rules, network = Teacher(networks=NETWORKS, sees="images"), Sums()
    labelled = prepared(rules, LabelledImages(IMAGES, LABELS, teacher=network))
    for epoch in range(3):
        taken = targets(rules, labelled, epoch, chance()).take(torch.tensor([2, 0]))
        batch = taken.after(Augmented(torch.full((2, 1, 2, 2), 7.0), (MIX,)))
        soft = Sums()(IMAGES)[[2, 0]]
        torch.testing.assert_close(batch.logits(), 0.75 * soft + 0.25 * soft.flip(0))
    assert network.shown == [4]
