import os

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ddranking.errors import BadFile, BadInput, BadProtocol
from ddranking.protocol import recipe, shelf, track

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.binary(max_size=4)
    | st.sampled_from(["dc", "sgd", "stored", "hard@1", "{ipc}", "dsa", 1, 0.01])
)
FIELDS = [
    *track.TrackFile.model_fields,
    *recipe.RecipeFile.model_fields,
    *recipe.Training.model_fields,
    "kind",
]
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | SCALARS, inner, max_size=4)
    ),
    max_leaves=10,
)
GOOD_RECIPE = {
    "name": "mine",
    "source": "invented",
    "training": {"epochs": 3, "batch_size": 10, "learning_rate": 0.1},
}
GOOD_TRACK = {
    "name": "mine-ipc{ipc}",
    "dataset": "digits",
    "ipc": [10],
    "student": "mlp",
    "hard": {"epochs": 3, "batch_size": 10, "learning_rate": 0.1},
    "whole": "whole@1",
}


def read(tmp_path, text, find):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return find(str(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("yaml")


@pytest.mark.parametrize(
    ("find", "good"),
    [(recipe.find_recipe, GOOD_RECIPE), (track.find_track, GOOD_TRACK)],
    ids=["recipe", "track"],
)
def test_a_users_own_file_is_found_by_its_path(tmp_path, find, good) -> None:
    assert read(tmp_path, yaml.safe_dump(good), find).name.startswith("mine")


@given(st.data())
def test_any_yaml_is_accepted_or_bad_input(folder, data) -> None:
    """Fields of a good file replaced by anything that YAML can say."""
    good, find = data.draw(
        st.sampled_from([(GOOD_RECIPE, recipe.find_recipe), (GOOD_TRACK, track.find_track)])
    )
    values = good | data.draw(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3))
    try:
        found = read(folder, yaml.safe_dump(values), find)
        if isinstance(found, recipe.RecipeFile):
            found.resolve("digits", 10, ["epochs=2"])
        assert found.id
    except BadInput as error:
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 600


@given(VALUES)
def test_any_document_is_bad_input(folder, value) -> None:
    with pytest.raises(BadInput):
        read(folder, yaml.safe_dump(value), recipe.find_recipe)


LAUGHS = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old},*{old}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "just words",
        "a: [",
        "a: !!python/object/apply:os.system [echo]",
        "a: &a [*a]",
        "&a {b: *a}",
        LAUGHS,
        "a: 2020-13-45",
        "a: 2020-01-01",
        "a: !!binary /w==",
        "a: !!set {x}",
        "1: 2",
        "[1]: 2",
        "a: 0x" + "f" * 6000,
        "a: " + "9" * 6000,
        "a: " + "[" * 5000,
        "a: " + "[" * 100 + "]" * 100,
        b"\xff\xfe\x00",
        b"\x00",
        "a: \t\tb:",
    ],
    ids=lambda text: repr(text[:16]),
)
@pytest.mark.parametrize("find", [recipe.find_recipe, track.find_track])
def test_a_hostile_or_broken_file_is_one_line(tmp_path, text, find) -> None:
    with pytest.raises(BadInput) as caught:
        read(tmp_path, text, find)
    assert "mine.yaml" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: a\nsource: b\nname: c\n", r"the key 'name' twice, again in line 3"),
        ("training: {epochs: 3, epochs: 5}", r"the key 'epochs' twice, again in line 1"),
        ("a: [{kind: x}, {kind: y,\n  'kind': z}]", r"the key 'kind' twice, again in line 2"),
        ("a: 1\n? a\n: 2\n", r"the key 'a' twice, again in line 2"),
    ],
)
def test_a_key_stands_once(tmp_path, text, words) -> None:
    """YAML keeps the last one in silence, and nobody sees which of two rules was meant."""
    for find in (recipe.find_recipe, track.find_track):
        with pytest.raises(BadFile, match=words):
            read(tmp_path, text, find)


def test_equal_keys_of_different_mappings_and_merged_ones_are_none_twice() -> None:
    """YAML's merge is there to be overridden."""
    text = "base: &base {kind: x, size: 1}\nmade: [{<<: *base, size: 2}, {kind: y}]\nkind: z\n"
    made = shelf.parse_yaml(text)
    assert made["made"] == [{"kind": "x", "size": 2}, {"kind": "y"}]


def test_half_a_surrogate_pair_is_no_text(tmp_path) -> None:
    """It could be read, and not be hashed or written."""
    with pytest.raises(BadFile, match="surrogates"):
        read(tmp_path, r'a: "\ud800"', recipe.find_recipe)


def test_missing_unreadable_and_large_files(tmp_path) -> None:
    with pytest.raises(BadFile, match="No such file"):
        shelf.read_yaml(tmp_path / "none.yaml", "recipe")
    with pytest.raises(BadFile, match="readable file"):
        shelf.read_yaml(tmp_path, "recipe")
    large = tmp_path / "large.yaml"
    with large.open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(BadFile, match="at most 1 MiB"):
        shelf.read_yaml(large, "recipe")
    if os.geteuid() != 0:
        large.chmod(0)
        with pytest.raises(BadFile, match="Permission denied"):
            shelf.read_yaml(large, "recipe")


def test_an_override_reaches_into_mappings_and_leaves_its_argument() -> None:
    values = {"epochs": 3, "optimizer": {"kind": "sgd", "momentum": 0.9}}
    seen = shelf.override(
        values, ["optimizer.momentum=0.5", "schedule.kind=step", "epochs=5"], "recipe x"
    )
    assert seen == {
        "epochs": 5,
        "optimizer": {"kind": "sgd", "momentum": 0.5},
        "schedule": {"kind": "step"},
    }
    assert values == {"epochs": 3, "optimizer": {"kind": "sgd", "momentum": 0.9}}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("epochs", "key=value"),
        ("=3", "key=value"),
        ("", "key=value"),
        ("epochs.inner=3", "mapping"),
        ("a=[", "YAML"),
        ("a=2020-13-45", "YAML"),
        ("a=2020-01-01", "YAML"),
        ("a=0x" + "f" * 6000, "YAML"),
        ("a=" + "[" * 2000, "YAML"),
        ("a=!!python/name:os.system", "YAML"),
    ],
)
def test_a_bad_override_is_one_line(change, word) -> None:
    with pytest.raises(BadProtocol, match=word) as caught:
        shelf.override({"epochs": 3}, [change], "recipe x")
    assert len(str(caught.value)) < 400


@given(st.lists(st.text(max_size=20) | st.builds("{}={}".format, st.text(), st.text())))
def test_any_override_is_accepted_or_bad_input(changes) -> None:
    try:
        recipe.find_recipe("dc").resolve("digits", 1, changes)
    except BadInput as error:
        assert len(str(error).splitlines()) == 1


def test_the_first_fault_names_its_field() -> None:
    bad = GOOD_RECIPE | {"training": {"epochs": 0, "batch_size": 0, "learning_rate": 0.1}}
    with pytest.raises(BadProtocol, match=r"field training\.epochs: .* got 0$") as caught:
        recipe.parse(bad, "recipe x")
    assert str(caught.value).startswith("recipe x, field ")
