import pytest
import yaml

from ddranking.data.catalog import DATASETS
from ddranking.errors import BadProtocol, UnknownName
from ddranking.models import table
from ddranking.protocol.canonical import content_hash
from ddranking.protocol.recipe import find_recipe
from ddranking.protocol.shelf import locked
from ddranking.protocol.track import Track, find_track, override_track, resolve, tracks
from ddranking.training.optim import rate_factor

SHIPPED = list(tracks().values())
each_track = pytest.mark.parametrize("track", SHIPPED, ids=lambda track: track.id)


@each_track
def test_a_shipped_track_is_whole_and_round_trips(track) -> None:
    assert track.title
    assert "{" not in track.name + track.title
    assert f"ipc{track.ipc}-" in track.name
    assert Track.model_validate_json(track.model_dump_json()) == track
    assert find_track(track.id) == track
    assert not track.custom


@each_track
def test_a_shipped_track_follows_the_rules_of_fairness(track) -> None:
    """Hard labels, several seeds, one dataset of the catalogue, nothing read from the entry."""
    assert track.seeds >= 5
    assert track.dataset in DATASETS
    for rules in (track.hard, track.whole):
        assert rules.labels.kind == "hard"
        assert rules.learning_rate != "stored"
        assert rules.augmentation == ()


@pytest.mark.parametrize("ipc", [1, 10, 50])
@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_the_tracks_of_the_first_release_are_there(dataset, ipc) -> None:
    track = find_track(f"{dataset}-ipc{ipc}-convnet3")
    assert (track.dataset, track.ipc, track.student) == (dataset, ipc, "convnet3")
    assert track.hard == find_recipe("hard@1").resolve(dataset, ipc).training
    assert track.whole == find_recipe("whole@1").resolve(dataset, ipc).training


SUBSETS = ("nette", "woof", "fruit", "yellow", "meow", "squawk")
FAMILIES = {
    "cifar10": ("convnet3", "convnet3-bn", "resnet18-bn"),
    "cifar100": ("convnet3", "convnet3-bn", "resnet18-bn"),
    "tinyimagenet": ("convnet4", "convnet4-bn", "resnet18-bn"),
    "imagenet1k": ("resnet18",),
    **{f"image{subset}": ("convnet5",) for subset in SUBSETS},
}
HYPHENATED = {"tinyimagenet": "tiny-imagenet", "imagenet1k": "imagenet-1k"}


@pytest.mark.parametrize("ipc", [1, 10, 50])
@pytest.mark.parametrize("prefix", FAMILIES)
def test_every_dataset_of_the_field_has_its_tracks(prefix, ipc) -> None:
    """At 1, 10 and 50 images per class, for the students that methods publish with."""
    for name in FAMILIES[prefix]:
        track = find_track(f"{prefix}-ipc{ipc}-{name}")
        assert (track.dataset, track.ipc) == (HYPHENATED.get(prefix, prefix), ipc)
        assert track.student.rpartition(":")[2] == name
        assert track.real_hard == "reference"
        assert track.whole == find_track(f"{prefix}-ipc1-{name}").whole


@each_track
def test_the_student_of_a_shipped_track_takes_its_images(track) -> None:
    facts = DATASETS[track.dataset]
    shape = (facts.channels, facts.image_size, facts.image_size)
    assert table.check(track.student, shape) == track.student


@each_track
def test_a_shipped_track_leaves_enough_real_images(track) -> None:
    """Ten validation images a class or more, but no more than a quarter; the subsets fit in."""
    facts = DATASETS[track.dataset]
    train = facts.train_size or 12_000  # ImageNet's classes have 732 to 1,300 images
    assert 10 * facts.num_classes <= track.validation_size <= train / 4
    assert track.ipc * facts.num_classes < train - track.validation_size


def test_a_title_counts_its_images() -> None:
    values = {"name": "t-ipc{ipc}", "dataset": "digits", "student": "mlp", "ipc": [1, 2]}
    rules = {"hard": "dc", "whole": "dc"}
    family = resolve(values | rules | {"title": "{images} per class, {ipc}"}, "track t")
    assert [track.title for track in family] == ["1 image per class, 1", "2 images per class, 2"]


def test_imagenet_has_rules_of_its_scale() -> None:
    track = find_track("imagenet1k-ipc10-resnet18")
    assert (track.hard.epochs, track.hard.batch_size) == (300, 256)
    assert (track.whole.epochs, track.whole.learning_rate) == (90, 0.1)
    assert track.whole.optimizer.weight_decay == 1e-4
    for epoch, factor in ((29, 1), (30, 0.1), (59, 0.1), (60, 0.01), (89, 0.01)):
        assert rate_factor(track.whole.schedule, epoch, 90) == pytest.approx(factor)


def test_the_hash_is_of_the_rules_and_nothing_else() -> None:
    track = find_track("cifar10-ipc1-convnet3")
    same = track.model_copy(update={"title": "x", "real_hard": "train"})
    assert same.hash == track.hash
    changes = {
        "name": "other",
        "version": 2,
        "dataset": "cifar100",
        "ipc": 10,
        "student": "mlp",
        "seeds": 6,
        "validation_size": 1000,
        "selection": "halving",
        "hard": track.whole,
        "whole": track.hard,
    }
    hashes = {track.model_copy(update={key: value}).hash for key, value in changes.items()}
    assert track.hash not in hashes
    assert len(hashes) == len(changes)
    assert set(Track.model_fields) == {*changes, "title", "real_hard"}


@each_track
def test_a_full_search_is_not_written_and_keeps_the_hash_of_before(track) -> None:
    """So released tracks and records from before there was another rule stay as they were."""
    assert track.selection == "full"
    assert "selection" not in track.to_values()
    assert Track.model_validate(track.to_values()) == track
    before = track.model_dump(mode="json", exclude={"title", "real_hard", "selection"})
    assert track.hash == content_hash(before) == locked()[f"track {track.id}"]


def test_a_track_may_declare_halving() -> None:
    track = find_track("cifar10-ipc1-convnet3", ["selection=halving"])
    assert track.custom
    assert track.to_values()["selection"] == "halving"
    assert Track.model_validate(track.to_values()) == track
    values = {"name": "t", "dataset": "digits", "student": "mlp", "hard": "dc", "whole": "dc"}
    [family] = resolve(values | {"ipc": 1, "selection": "halving"}, "track t")
    assert family.selection == "halving"
    with pytest.raises(BadProtocol, match=r"selection: expected 'full' or 'halving'"):
        find_track("cifar10-ipc1-convnet3", ["selection=test-best"])


@pytest.mark.parametrize("ipc", [[], [0], "one", [1, 2], None])
def test_a_users_track_holds_one_ipc(tmp_path, ipc) -> None:
    values = {"name": "t", "dataset": "digits", "student": "mlp", "hard": "dc", "whole": "dc"}
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(values | {"ipc": ipc}))
    with pytest.raises(BadProtocol):
        find_track(str(path))
    path.write_text(yaml.safe_dump(values | {"ipc": 3}))
    track = find_track(str(path), ["seeds=2"])
    assert (track.ipc, track.seeds, track.custom) == (3, 2, True)


def test_a_family_names_its_members() -> None:
    values = {"name": "t-ipc{ipc}", "dataset": "digits", "student": "mlp", "ipc": [1, 2]}
    family = resolve(values | {"hard": "dc", "whole": "dc"}, "track t")
    assert [(track.name, track.ipc) for track in family] == [("t-ipc1", 1), ("t-ipc2", 2)]


@pytest.mark.parametrize(
    "change",
    [
        "seeds=1",
        "seeds=101",
        "seeds=five",
        "ipc=0",
        "validation_size=0",
        "hard.epochs=0",
        "hard.augmentation=[{kind: none}]",
        "real_hard=guess",
        "bogus=1",
        "hard",
    ],
)
def test_a_bad_override_is_one_line(change) -> None:
    with pytest.raises(BadProtocol) as caught:
        find_track("cifar10-ipc1-convnet3", [change])
    assert len(str(caught.value).splitlines()) == 1


def test_an_override_makes_a_custom_track() -> None:
    track = find_track("cifar10-ipc1-convnet3", ["hard.epochs=3", "seeds=2"])
    assert (track.hard.epochs, track.seeds, track.custom) == (3, 2, True)
    assert override_track(track, ["hard.epochs=1000", "seeds=5"]).custom is False


def test_an_unknown_track_offers_the_closest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'cifar10-ipc1-convnet3'"):
        find_track("cifar10-ipc1-convnet")
