import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddranking.data.draws import random_subset, stratified_split
from ddranking.errors import BadInput

GOLDEN_SPLIT = [10, 23, 33, 40, 45, 59]
GOLDEN_SUBSET = [57, 54, 1, 49, 56, 41]
GOLDEN_SUBSET_1 = [18, 33, 25, 55, 2, 35]

labels_of_some_classes = st.lists(st.integers(1, 30), min_size=2, max_size=12).flatmap(
    lambda counts: st.permutations(np.repeat(np.arange(len(counts)), counts).tolist())
)


@given(labels_of_some_classes, st.data(), st.integers(0, 5))
def test_a_split_is_a_partition_in_proportion_that_leaves_every_class_an_image(
    some, data, seed
) -> None:
    labels = np.array(some, np.int64)
    counts = np.bincount(labels)
    size = data.draw(st.integers(0, len(labels) - len(counts)))
    split = stratified_split(labels, size, seed=seed)

    both = np.concatenate([split.train, split.validation])
    assert sorted(both) == list(range(len(labels)))
    assert len(split.validation) == size
    for part in split:
        assert (np.diff(part) > 0).all()
        assert part.dtype == np.int64
    taken = np.bincount(labels[split.validation], minlength=len(counts))
    assert (taken < counts).all()
    uncapped = taken < counts - 1
    # Every class that is not at its limit gets its share, give or take what the limits displace.
    share = size * counts / counts.sum()
    displaced = np.maximum(share - (counts - 1), 0).sum()
    assert (np.abs(taken - share)[uncapped] < 1 + displaced).all()


def test_a_balanced_split_of_a_size_that_does_not_divide_gives_the_rest_to_low_classes() -> None:
    labels = np.arange(100) % 10
    split = stratified_split(labels, 13)
    assert np.bincount(labels[split.validation]).tolist() == [2, 2, 2, 1, 1, 1, 1, 1, 1, 1]


def test_a_class_of_one_image_keeps_it() -> None:
    split = stratified_split(np.array([0, 1, 1, 1]), 2)
    assert 0 in split.train
    assert len(split.validation) == 2


@pytest.mark.parametrize("size", [-1, 3, 100])
def test_a_split_that_takes_too_much_is_refused(size) -> None:
    with pytest.raises(BadInput, match="validation size: expected 0 to 2"):
        stratified_split(np.array([0, 0, 1, 1]), size)


def test_draws_are_the_same_for_ever() -> None:
    """Goldens: published random baselines have to be drawn again years later."""
    labels = np.arange(60) % 3
    assert stratified_split(labels, 6, seed=0).validation.tolist() == GOLDEN_SPLIT
    assert random_subset(labels, 2, seed=0).tolist() == GOLDEN_SUBSET
    assert random_subset(labels, 2, seed=1).tolist() == GOLDEN_SUBSET_1


@given(labels_of_some_classes, st.data(), st.integers(0, 5))
def test_a_random_subset_has_ipc_distinct_images_of_each_class_from_those_allowed(
    some, data, seed
) -> None:
    labels = np.array(some, np.int64)
    room = len(labels) - len(np.bincount(labels))
    split = stratified_split(labels, data.draw(st.integers(0, room)), seed=seed)
    least = np.bincount(labels[split.train]).min()
    ipc = data.draw(st.integers(1, int(least)))

    drawn = random_subset(labels, ipc, seed=seed, among=split.train)
    assert labels[drawn].tolist() == np.repeat(np.arange(labels.max() + 1), ipc).tolist()
    assert len(set(drawn.tolist())) == len(drawn)
    assert set(drawn.tolist()) <= set(split.train.tolist())
    shuffled = data.draw(st.permutations(split.train.tolist()))
    assert (random_subset(labels, ipc, seed=seed, among=np.array(shuffled)) == drawn).all()
    fewer = random_subset(labels, 1, seed=seed, among=split.train)
    assert (fewer == drawn.reshape(-1, ipc)[:, 0]).all()


def test_every_image_is_drawn_about_equally_often() -> None:
    labels = np.arange(40) % 2
    seen = np.zeros(40)
    for seed in range(1000):
        seen[random_subset(labels, 5, seed=seed)] += 1
    # 1,000 draws of 5 of 20: mean 250, standard deviation 13.7; five of them on either side.
    assert seen.min() > 181
    assert seen.max() < 319


def test_a_class_with_too_few_images_is_named() -> None:
    with pytest.raises(BadInput, match="all that class 1 has to draw from, got 3"):
        random_subset(np.array([0, 0, 0, 1, 1]), 3, seed=0)
    with pytest.raises(BadInput, match="at least 1"):
        random_subset(np.array([0, 1]), 0, seed=0)
