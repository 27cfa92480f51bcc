import numpy as np
import pytest

from ddranking.data.catalog import CIFAR10, DATASETS, facts
from ddranking.data.layouts import READERS
from ddranking.errors import UnknownName

NAMES = [
    *("digits", "mnist", "fashion-mnist", "svhn", "cifar10", "cifar100", "tiny-imagenet"),
    *("imagenet-1k", "imagenette", "imagewoof", "imagefruit", "imageyellow", "imagemeow"),
    "imagesquawk",
]

# FACTS: MTT's class indices, whose order is the order of labels.
INDICES = {
    "imagenette": "0 217 482 491 497 566 569 571 574 701",
    "imagewoof": "193 182 258 162 155 167 159 273 207 229",
    "imagemeow": "281 282 283 284 285 291 292 290 289 287",
    "imagesquawk": "84 130 88 144 145 22 96 9 100 89",
    "imagefruit": "953 954 949 950 951 957 952 945 943 948",
    "imageyellow": "309 986 954 951 987 779 599 291 72 11",
}


def test_every_dataset_of_the_field_is_there() -> None:
    assert list(DATASETS) == NAMES


@pytest.mark.parametrize("name", DATASETS)
def test_an_entry_is_whole(name) -> None:
    entry = facts(name)
    assert entry.name == name
    assert entry.reader in READERS
    assert entry.title and entry.licence and entry.citation
    assert entry.source.startswith("http")
    assert 2 <= entry.num_classes <= 1000
    assert len(entry.class_names) in (0, entry.num_classes)
    assert len(set(entry.class_names)) == len(entry.class_names)
    for mean, std in ((entry.mean, entry.std), *entry.lineages.values()):
        assert len(mean) == len(std) == entry.channels
        assert all(0 < value < 1 for value in (*mean, *std))
    for digest, title in entry.known_copies.items():
        assert digest.startswith("sha256:") and len(digest) == 71
        assert title.startswith(entry.title)


@pytest.mark.parametrize("name", INDICES)
def test_subsets_have_the_classes_of_mtt_in_its_order(name) -> None:
    assert facts(name).class_indices == tuple(int(i) for i in INDICES[name].split())


def test_names_of_subset_classes_are_those_of_imagenet() -> None:
    meta = pytest.importorskip("torchvision.models._meta")
    for name in INDICES:
        expected = [meta._IMAGENET_CATEGORIES[i].lower() for i in facts(name).class_indices]
        assert [label.lower() for label in facts(name).class_names] == expected


def test_names_of_cifar100_classes_are_in_the_order_of_its_labels() -> None:
    names = facts("cifar100").class_names
    assert list(names) == sorted(names)


def test_two_lineages_of_cifar100() -> None:
    entry = facts("cifar100")
    assert entry.lineages["mtt"] == CIFAR10
    assert entry.lineages["dc"] == (entry.mean, entry.std)
    np.testing.assert_allclose(entry.mean, (0.5071, 0.4866, 0.4409))


def test_a_wrong_name_gets_the_closest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'cifar10'"):
        facts("cifar-10")
