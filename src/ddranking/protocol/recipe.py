"""Recipes: how a method's authors train on their distilled set (the arms ``syn_any``, ``rdm_any``).

A recipe file holds ``training`` rules, their ``source``, how they differ from it, and ``variants``
for the datasets and numbers of images per class where the source uses other values. A recipe is
resolved for one dataset and ipc before use; its hash is over the resolved training rules alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError

from ddranking.errors import BadProtocol, UnknownName
from ddranking.protocol import shelf
from ddranking.protocol.canonical import content_hash
from ddranking.protocol.rules import Frozen, GivenWeights, Training

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
Text = Annotated[str, Field(max_length=2000)]


class Variant(Frozen):
    """Other values for some datasets or numbers of images per class."""

    datasets: tuple[str, ...] | None = None
    ipc: tuple[int, ...] | None = None
    training: dict[str, Any]

    def applies(self, dataset: str, ipc: int) -> bool:
        return (self.datasets is None or dataset in self.datasets) and (
            self.ipc is None or ipc in self.ipc
        )


class Recipe(Frozen):
    """A resolved recipe, as it stands in a record."""

    name: Name
    version: Annotated[int, Field(ge=1)] = 1
    title: Text = ""
    source: Text = ""
    differs_from_source: tuple[Text, ...] = ()
    training: Training

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @cached_property
    def hash(self) -> str:
        """Content hash of what affects a training; names and sources do not."""
        return content_hash({"training": self.training.model_dump(mode="json")})


class RecipeFile(Frozen):
    """A recipe file before it is resolved.

    ``student`` says what the source trains, for people: the network that is trained is the track's.
    """

    name: Name
    version: Annotated[int, Field(ge=1)] = 1
    title: Text = ""
    source: Text
    differs_from_source: tuple[Text, ...] = ()
    datasets: tuple[str, ...] | None = None
    student: Text = ""
    training: Training
    variants: tuple[Variant, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @cached_property
    def _hashes(self) -> dict[tuple[str, int], str]:
        """Hashes of what the file resolves to, by dataset and ipc, once they were asked for."""
        return {}

    def hash_for(self, dataset: str, ipc: int) -> str | None:
        """The hash of the recipe for one dataset and ipc; None where it is not for that dataset."""
        if self.datasets is not None and dataset not in self.datasets:
            return None
        if (dataset, ipc) not in self._hashes:
            self._hashes[dataset, ipc] = self.resolve(dataset, ipc).hash
        return self._hashes[dataset, ipc]

    @property
    def lock_hash(self) -> str:
        return content_hash(
            self.model_dump(mode="json", include={"training", "variants", "datasets"})
        )

    def resolve(self, dataset: str, ipc: int, changes: Sequence[str] = ()) -> Recipe:
        """The recipe for one dataset and ipc, with a user's ``key=value`` changes applied.

        Raises:
            BadProtocol: the recipe is not for this dataset, or the result does not validate.
        """
        if self.datasets is not None and dataset not in self.datasets:
            raise BadProtocol(
                f"recipe {self.id}",
                expected=f"one of its datasets, {', '.join(self.datasets)}",
                got=dataset,
                hint="See: ddranking list recipes",
            )
        training = self.training.model_dump(mode="json")
        for variant in self.variants:
            if variant.applies(dataset, ipc):
                training = _merge(training, variant.training)
        training = shelf.override(training, changes, f"recipe {self.name}")
        kept = self.model_dump(exclude={"variants", "datasets", "student", "training"})
        try:
            rules = Training.model_validate(training)
            return Recipe(**kept, training=_with_teachers(rules, dataset, ipc))
        except ValidationError as error:
            raise shelf.explain(error, f"recipe {self.id}") from None


def with_given_weights(recipe: Recipe, digest: str) -> Recipe:
    """A recipe whose teacher has the weights of a file; it is then a custom one.

    Raises:
        BadProtocol: it has no teacher, or one of several networks.
    """
    rules = recipe.training
    given = GivenWeights(digest=digest)
    networks = rules.labels.networks if rules.labels.kind == "teacher" else ()
    if any(network.weights == given for network in networks):
        return recipe
    if len(networks) != 1 or networks[0].model is None:
        raise BadProtocol(
            f"recipe {recipe.id}, --teacher",
            expected="a recipe whose teacher is one network with a name",
            got=f"{rules.labels.kind} labels"
            + (f" of {len(networks)} networks" if networks else ""),
            hint="Name the file's digest in a recipe of your own: "
            f"weights: {{kind: given, digest: {digest[:19]}...}}.",
        )
    network = networks[0].model_copy(update={"weights": given})
    labels = rules.labels.model_copy(update={"networks": (network,)})
    return recipe.model_copy(update={"training": rules.model_copy(update={"labels": labels})})


def _with_teachers(rules: Training, dataset: str, ipc: int) -> Training:
    """``rules`` with the named rules of each trained teacher written out.

    Raises:
        BadProtocol: a teacher that is itself trained with soft labels or without one single rate.
    """
    if rules.labels.kind != "teacher":
        return rules
    networks = []
    for network in rules.labels.networks:
        weights = network.weights
        if weights.kind == "trained":
            made = weights.training
            if isinstance(made, str):
                made = find_recipe(made).resolve(dataset, ipc).training
            if made.labels.kind != "hard" or not isinstance(made.learning_rate, float):
                raise BadProtocol(
                    f"labels.networks, training of {network.model}",
                    expected="hard labels and one learning rate, a number",
                    got=f"{made.labels.kind} labels, learning rate {made.learning_rate}",
                )
            weights = weights.model_copy(update={"training": made})
        networks.append(network.model_copy(update={"weights": weights}))
    labels = rules.labels.model_copy(update={"networks": tuple(networks)})
    return rules.model_copy(update={"labels": labels})


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """``base`` with ``change`` laid over it; a mapping of the same ``kind`` is merged in depth."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        same_kind = (
            isinstance(old, dict)
            and isinstance(value, dict)
            and value.get("kind", old.get("kind")) == old.get("kind")
        )
        result[key] = {**old, **value} if same_kind and old is not None else value
    return result


@cache
def recipe_files() -> dict[str, RecipeFile]:
    """The shipped recipes by ``name@N``."""
    parsed = [parse(values, f"recipe {name}") for name, values in shelf.shipped("recipes").items()]
    return {file.id: file for file in parsed}


def parse(values: dict[str, Any], what: str) -> RecipeFile:
    """A recipe file from a mapping.

    Raises:
        BadProtocol: names the field, what was expected and what came.
    """
    try:
        return RecipeFile.model_validate(values)
    except ValidationError as error:
        raise shelf.explain(error, what) from None


def find_recipe(name: str) -> RecipeFile:
    """A shipped recipe by ``name`` (newest version) or ``name@N``, or a user's by path.

    Raises:
        UnknownName: offers the closest name.
        BadFile, BadProtocol: a user's file that cannot be read or does not validate.
    """
    if shelf.looks_like_path(name):
        return parse(shelf.read_yaml(Path(name), "recipe"), f"recipe {name}")
    return newest(recipe_files(), name, "recipe")


T = TypeVar("T")


def newest(table: dict[str, T], name: str, kind: str) -> T:
    """The entry ``name@N`` or, without ``@N``, the one with the highest version."""
    if name in table:
        return table[name]
    versions = [key for key in table if key.rpartition("@")[0] == name]
    if versions:
        return table[max(versions, key=lambda key: int(key.rpartition("@")[2]))]
    raise UnknownName(
        kind,
        name,
        {key.rpartition("@")[0] for key in table},
        hint=f"See: ddranking list {kind}s",
    )


def is_released(recipe: Recipe, dataset: str, ipc: int) -> bool:
    """Whether ``recipe`` is, by name and content, the released one for this dataset and ipc."""
    file = recipe_files().get(recipe.id)
    return file is not None and file.hash_for(dataset, ipc) == recipe.hash
