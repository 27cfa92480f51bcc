"""Teachers in a plan: which networks make an arm's labels, and how each comes by its weights.

A recipe says how a teacher is made; a trial names what was made. Networks that are trained here
become trials of their own on the whole real training set, and stand in the student's trial by the
key of that trial, so that it stays fully determined and small.

A teacher looks at images in the space that it was trained in: the dataset's usual one, so that one
training serves every entry, or the entry's own where that is whitened (whitened images cannot be
brought back exactly). Only one network is trained for all seeds of the students, as the field does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ddranking.errors import BadProtocol
from ddranking.protocol.rules import KnownWeights, Network, Training
from ddranking.protocol.track import Track
from ddranking.protocol.trial import Trial, Whole

Space = Mapping[str, Any]

IMAGENET: Space = {
    "kind": "standardized",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}
"""The space of published weights, where a recipe does not name another."""


class Taught(NamedTuple):
    """Rules whose teacher is named by what it is, and the trainings that it takes."""

    training: Training
    teachers: tuple[Trial, ...] = ()


def taught(
    training: Training, track: Track, dataset: str, spaces: tuple[Space, Space], implementation: int
) -> Taught:
    """``training`` with its teacher's networks resolved; as it came where it has none.

    Args:
        training: rules of an arm.
        track: whose ``real_hard`` network is the default teacher.
        dataset: digest of the real copy.
        spaces: the dataset's usual space, and the arm's own.
        implementation: the training code's number.

    Raises:
        BadProtocol: weights of a file or of a library, for images that are whitened.
    """
    if training.labels.kind != "teacher":
        return Taught(training)
    usual, own = spaces
    whitened = own["kind"] == "zca"
    space = dict(own if whitened else usual)
    networks, trials = [], []
    for network in training.labels.networks:
        made = _made_here(network, track)
        if made is None:
            networks.append(_from_elsewhere(network, usual, own))
            continue
        trial = Trial(
            # In the usual space the track's network is that of the arm real_hard, seed 0.
            arm="teacher" if whitened or network.weights.kind != "track" else "real_hard",
            training_set=Whole(),
            space=space,
            training=made.rules,
            student=made.model,
            seed=made.seed,
            dataset=dataset,
            validation_size=track.validation_size,
            evaluate="test",
            implementation=implementation,
        )
        trials.append(trial)
        weights = KnownWeights(key=trial.key)
        networks.append(Network(model=made.model, weights=weights, space=space))
    labels = training.labels.model_copy(update={"networks": tuple(networks)})
    return Taught(training.model_copy(update={"labels": labels}), tuple(trials))


class _Made(NamedTuple):
    """How a network is trained here."""

    rules: Training
    model: str
    seed: int


def _made_here(network: Network, track: Track) -> _Made | None:
    weights = network.weights
    if weights.kind == "track":
        return _Made(track.whole, track.student, 0)
    if weights.kind == "trained":
        rules = weights.training
        assert isinstance(rules, Training), "a resolved recipe holds the rules, not their name"
        assert network.model is not None, "the rules ask for a model beside trained weights"
        return _Made(rules, network.model, weights.seed)
    return None


def _from_elsewhere(network: Network, usual: Space, own: Space) -> Network:
    """A network of a file or a library, with the space that it was trained in."""
    space = dict(network.space or (IMAGENET if network.weights.kind == "published" else usual))
    if own["kind"] == "zca" and own != space:
        raise BadProtocol(
            f"teacher {network.model}",
            expected="images in a space that can be brought into the one it was trained in",
            got="whitened images",
            hint="Use a teacher that is trained here, with weights of kind trained or track.",
        )
    return network.model_copy(update={"space": space})
