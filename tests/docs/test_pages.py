"""The pages hang together: links lead somewhere, files are described field by field."""

from __future__ import annotations

import importlib
import pkgutil
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from snippets import PAGES, ROOT

import ddranking

RESULTS = sorted(path.name for path in (ROOT / "benchmarks" / "results").glob("*.json"))
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*") if path.is_file())


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.replace(" ", "-") for title in kept}


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_resolve(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), f"{page}: {target}"
            continue
        name, _, anchor = target.partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        assert file.exists(), f"{page}: no such file: {target}"
        assert not anchor or anchor in anchors(file), f"{page}: no such heading: {target}"


@pytest.mark.parametrize("path", [*(ROOT / page for page in PAGES), *EXAMPLES], ids=str)
def test_nothing_of_one_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for pattern in (r"/(work|home|root|Users|tmp)/", r"\bpypi\.", r"index-url", r"artifactory"):
        found = re.search(pattern, text)
        assert not found, f"{path.name}: {found[0]}"


def test_readme_is_short() -> None:
    readme = read("README.md")
    assert len(readme.splitlines()) < 150
    for command in ("pip install uv && uv run ddranking demo", "pip install uv && uv run pytest"):
        assert readme.count(command) == 1


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/")])
def test_every_page_can_be_found(page: str) -> None:
    assert f"({page})" in read("README.md"), f"README.md does not link to {page}"


@pytest.mark.parametrize("file", RESULTS)
def test_every_result_is_shown(file: str) -> None:
    assert any(f"/{file})" in read(page) for page in PAGES), f"no page links to {file}"


# Files, field by field.


def models() -> Iterator[type[BaseModel]]:
    """Every model of the package that has fields: all that its files can hold."""
    for module in pkgutil.walk_packages(ddranking.__path__, "ddranking."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting, seen = [BaseModel], set()
    while waiting:
        for child in waiting.pop().__subclasses__():
            if child not in seen:
                seen.add(child)
                waiting.append(child)
                if child.__module__.startswith("ddranking.") and child.model_fields:
                    yield child


def names(model: type[BaseModel]) -> set[str]:
    """The names that a model's heading may have: with its module where one alone is unclear."""
    return {model.__name__, f"{model.__module__.rpartition('.')[2]}.{model.__name__}"}


def described() -> dict[str, set[str]]:
    """Model name to the fields in the first column of the table below its heading."""
    found: dict[str, set[str]] = {}
    for part in re.split(r"^#+ ", read("docs/files.md"), flags=re.MULTILINE)[1:]:
        heading, _, body = part.partition("\n")
        cells = re.findall(r"^\| (`[^|]+`) *\|", body, re.MULTILINE)
        fields = {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}
        for model in re.findall(r"`([\w.]+)`", heading):
            assert model not in found, f"docs/files.md describes {model} twice"
            found[model] = fields
    return found


def test_every_field_of_every_file_is_described() -> None:
    pages = described()
    for model in models():
        matching = [name for name in names(model) if name in pages]
        assert len(matching) == 1, f"docs/files.md: one heading for {model.__qualname__}"
        fields = {info.alias or name for name, info in model.model_fields.items()}
        assert pages.pop(matching[0]) == fields, f"docs/files.md, {matching[0]}"
    assert not pages, f"docs/files.md describes what is not there: {', '.join(pages)}"


# The house.


def test_every_module_is_in_the_architecture() -> None:
    text = read("docs/architecture.md")
    source = ROOT / "src" / "ddranking"
    for path in sorted(source.rglob("*.py")):
        room, name = path.parent.relative_to(source), path.name
        if name != "__init__.py":
            line = re.search(rf"^{re.escape(room.name)}/ .*(\n +.*)*", text, re.MULTILINE)
            block = line[0] if line else text
            assert re.search(rf"\b{re.escape(path.stem)}\b", block), f"not named: {room / name}"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    extras = project.get("optional-dependencies", {})
    wanted = [*project["dependencies"], *(each for extra in extras.values() for each in extra)]
    text = read("docs/architecture.md")
    for requirement in wanted:
        package = re.split(r"[<>=~!\[; ]", requirement)[0]
        assert f"`{package}`" in text, package
