"""The house: imports go down, and what judges records needs no torch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "ddranking"
FLOORS = (
    {"errors", "files", "interrupt", "seeds"},
    {"models"},
    {"data", "protocol"},
    {"distilled", "training", "scoring"},
    {"running", "board", "methods"},
    {"api"},
    {"cli"},
    {"__main__"},
)
TORCH_FREE = (
    "errors",
    "files",
    "interrupt",
    "seeds",
    "protocol",
    "scoring",
    "board",
    "methods",
    "api",
    "__init__",
)
ROOMS = {room: level for level, floor in enumerate(FLOORS) for room in floor}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def sources() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def imported(tree: ast.AST, *, at_import: bool = False) -> set[str]:
    """Full names of imported modules; ``at_import`` leaves out those inside functions."""
    found: set[str] = set()

    def walk(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            if at_import and (typing_only or inside):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.add(child.module)
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            walk(child)

    walk(tree)
    return found


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    assert room in ROOMS, f"{room} has no floor: name it in FLOORS and docs/architecture.md"
    for name in imported(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] == "ddranking" and len(parts) > 1 and parts[1] in ROOMS and parts[1] != room:
            assert ROOMS[parts[1]] < ROOMS[room], f"{room} imports {name}, which is not below it"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_judging_imports_no_torch(path: Path) -> None:
    if room_of(path) in TORCH_FREE:
        names = imported(ast.parse(path.read_text()), at_import=True)
        assert not {n for n in names if n.split(".")[0] in {"torch", "torchvision", "timm"}}


def test_no_room_is_a_cupboard() -> None:
    forbidden = {"utils", "util", "core", "base", "helpers", "common", "misc"}
    assert not [path for path in sources() if set(path.with_suffix("").parts) & forbidden]
