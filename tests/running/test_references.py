import json
from pathlib import Path

import pytest

from ddranking.errors import BadFile, BadInput, BadProtocol
from ddranking.models import table
from ddranking.protocol.track import tracks
from ddranking.running.references import folders, load_reference, references

GOOD = {
    "schema": "ddranking.reference/1",
    "dataset": "digits",
    "student": "mlp",
    "reported": {"accuracy": 0.97, "source": "a paper, table 1"},
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DDRANKING_REFERENCES", str(tmp_path))
    return tmp_path


def write(folder: Path, name: str, **changes) -> None:
    (folder / name).write_text(json.dumps(GOOD | changes))


def shipped() -> list[Path]:
    return [path for place in folders() for path in sorted(place.glob("*.json"))]


@pytest.mark.parametrize("path", shipped(), ids=lambda path: path.stem)
def test_a_shipped_reference_is_for_a_known_student_and_has_a_source(path) -> None:
    seen = load_reference(path)
    assert (seen.dataset, seen.student) in {(t.dataset, t.student) for t in tracks().values()}
    table.check(seen.student, (3, 32, 32))
    assert seen.title
    if seen.reported is not None:
        assert 0 < seen.reported.accuracy < 1
        assert len(seen.reported.source) > 40
    assert seen.reported is not None or seen.observations


def test_the_published_whole_set_accuracies() -> None:
    """FACTS, section 4."""
    for dataset, accuracy in (("cifar10", 0.848), ("cifar100", 0.562)):
        seen = [each.reported for each in references(dataset, "convnet3")]
        assert accuracy in {each.accuracy for each in seen if each is not None}


def test_only_those_of_the_dataset_and_student_are_found(folder) -> None:
    write(folder, "a.json")
    write(folder, "b.json", student="convnet2")
    write(folder, "c.json", dataset="mnist")
    write(folder, "d.json", title="second")
    assert [each.title for each in references("digits", "mlp")] == ["", "second"]
    assert list(references("digits", "lenet")) == []


def test_a_folder_that_is_not_there_is_passed_over(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("DDRANKING_REFERENCES", str(tmp_path / "none"))
    assert tmp_path / "none" not in folders()
    assert folders(), "the package's own"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"schema": "ddranking.reference/9"}, "schema"),
        ({"bogus": 1}, "bogus"),
        ({"reported": {"accuracy": 97.0, "source": "x"}}, "reported.accuracy"),
        ({"reported": {"accuracy": 0.97}}, "reported.source"),
        ({"observations": [{}]}, "observations.0"),
    ],
)
def test_a_fault_names_file_and_field(folder, changes, field) -> None:
    write(folder, "a.json", **changes)
    with pytest.raises(BadProtocol, match=f"a\\.json, field {field}"):
        list(references("digits", "mlp"))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"null", b"[]"])
def test_a_file_that_is_none_is_one_line(folder, content) -> None:
    (folder / "a.json").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        list(references("digits", "mlp"))
    assert "a.json" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file(tmp_path) -> None:
    with pytest.raises(BadFile, match="No such file"):
        load_reference(tmp_path / "none.json")
