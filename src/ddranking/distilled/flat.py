"""Pictures side by side in one folder: the class of each, by a list beside them or by its name.

A name tells the class by the word before a number (``class003_id012``), by a WordNet id, by one of
the dataset's class names (``airplane_0``), or by the one number that can be a class (``0_37``:
37 cannot, where there are ten). What may mean two things is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ddranking.data.catalog import DatasetFacts
from ddranking.distilled.classlist import LISTS, find_list, read_list
from ddranking.distilled.folder import WORDNET_ID, as_labels, labels_of_folders
from ddranking.errors import BadDistilledSet

#: The class in the name of a picture that lies among those of other classes.
CLASS_IN_NAME = re.compile(r"(?<![a-z])(?:class|cls|label)[-_ ]?(\d{1,6})(?!\d)", re.ASCII)
#: What to do where names do not tell.
SORT = (
    f"Put {LISTS[0]} beside them, a line NAME,CLASS for each, or sort them into one folder for "
    "each class, named 0, 1, 2, ..., and pack the folder above; name one file if it is a grid."
)


def labels_of_pictures(
    files: Sequence[Path], facts: DatasetFacts | None
) -> tuple[list[int], tuple[str, ...]]:
    """The label of each picture of a folder, in the order of ``files``, and notes.

    Raises:
        BadDistilledSet: a picture without a class, or names that may mean several.
        BadFile: a list of classes that cannot be read.
    """
    beside = find_list(files[0].parent)
    if beside is not None:
        return _listed(files, beside, facts)
    stems = [each.stem.lower() for each in files]
    found = _by_word(stems, facts) or _by_wordnet_id(stems, facts)
    if found is None and facts is not None:
        found = _by_class_name(stems, facts) or _by_number(stems, facts)
    if found is not None:
        classes = len(set(found))
        return found, (f"{len(files)} pictures of {classes} classes, by their names",)
    raise BadDistilledSet(
        "source",
        expected="one picture grid, or pictures whose names hold their class, as class3_img7",
        got=f"{len(files)} pictures: {', '.join(each.name for each in files[:4])}"[:160],
        hint=("Pass --dataset, whose classes names are compared with. " if facts is None else "")
        + SORT,
    )


def _listed(
    files: Sequence[Path], beside: Path, facts: DatasetFacts | None
) -> tuple[list[int], tuple[str, ...]]:
    classes = read_list(beside)
    missing = [each.name for each in files if each.name not in classes]
    if missing:
        raise BadDistilledSet(
            str(beside),
            expected=f"a class for each of {len(files)} pictures",
            got=f"none for {len(missing)}, the first {missing[0]!r}"[:160],
            hint="Add them, each with its whole name.",
        )
    said = [classes[each.name] for each in files]
    labels = labels_of_folders(sorted(set(said)), facts)
    notes = [f"{len(files)} pictures of {len(set(said))} classes, by {beside.name}"]
    others = len(classes) - len(files)
    if others:
        notes.append(f"{beside.name}: passed over {others} that are not in the folder")
    return [labels[each] for each in said], tuple(notes)


def _by_word(stems: Sequence[str], facts: DatasetFacts | None) -> list[int] | None:
    found = [CLASS_IN_NAME.search(each) for each in stems]
    numbers = [match[1] for match in found if match]
    if len(numbers) < len(stems):
        return None
    labels = as_labels({each: int(each) for each in numbers}, facts)
    return [labels[each] for each in numbers]


def _by_wordnet_id(stems: Sequence[str], facts: DatasetFacts | None) -> list[int] | None:
    found = [WORDNET_ID.match(each) for each in stems]
    ids = [match[0] for match in found if match]
    if len(ids) < len(stems):
        return None
    labels = labels_of_folders(sorted(set(ids)), facts)
    return [labels[each] for each in ids]


def _by_class_name(stems: Sequence[str], facts: DatasetFacts) -> list[int] | None:
    """Each name's words without numbers are those of one class name, and no others."""
    named = {_letters(name): label for label, name in enumerate(facts.class_names)}
    labels = {name: label for name, label in named.items() if name}  # digits are called 0 to 9
    words = [_letters(each) for each in stems]
    return [labels[each] for each in words] if all(each in labels for each in words) else None


def _letters(name: str) -> str:
    """
    >>> _letters("aquarium_fish_012")
    'aquariumfish'
    """
    return re.sub(r"[^a-z]", "", name.lower())


def _by_number(stems: Sequence[str], facts: DatasetFacts) -> list[int] | None:
    """The only place of a number, in names alike but for their numbers, whose values are classes.

    Raises:
        BadDistilledSet: several places, which say different classes.
    """
    pieces = [re.split(r"([0-9]+)", each) for each in stems]
    if len({tuple(each[::2]) for each in pieces}) > 1:
        return None
    choices: list[list[int]] = []
    for column in zip(*(each[1::2] for each in pieces), strict=True):
        numbers = {each: int(each) for each in column if len(each) <= 6}
        if len(numbers) < len(set(column)):
            continue
        labels = as_labels(numbers, facts)
        found = [labels[each] for each in column]
        if set(found) == set(range(facts.num_classes)) and found not in choices:
            choices.append(found)
    if len(choices) > 1:
        raise BadDistilledSet(
            "source",
            expected="one number that can be the class in each name",
            got=f"{len(choices)} (as {stems[-1]!r})"[:160],
            hint=SORT,
        )
    return choices[0] if choices else None
