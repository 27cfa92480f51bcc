"""Reading recipes and tracks: shipped ones by name, a user's by path, both validated, both locked.

``name`` means its newest version, ``name@2`` that version, ``./mine.yaml`` a user's own file.
"""

from __future__ import annotations

import difflib
import json
import re
import reprlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ddranking.errors import BadFile, BadProtocol, first_fault
from ddranking.files import read_bounded
from ddranking.protocol.frozen import Frozen

MAX_YAML_BYTES = 1 << 20
MAX_YAML_VALUES = 10_000
MAX_YAML_DEPTH = 20

_SHORT = reprlib.Repr()  # bounded in length and depth, whatever a file holds
_SHORT.maxstring = _SHORT.maxother = 80


@cache
def shipped(folder: str) -> dict[str, dict[str, Any]]:
    """All YAML files of ``ddranking/protocol/<folder>`` by file name, unvalidated."""
    found = resources.files("ddranking.protocol") / folder
    files = sorted((f for f in found.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return {f.name.removesuffix(".yaml"): yaml.load(f.read_text(), _SHIPPED) for f in files}


_SHIPPED = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same safe loader in C, where PyYAML was built with it: every command reads these files."""


def locked() -> dict[str, str]:
    """Released ``name@N`` to content hash: a released recipe or track cannot change silently."""
    text = (resources.files("ddranking.protocol") / "lock.json").read_text()
    return json.loads(text)


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """A user's YAML mapping, read safely.

    Raises:
        BadFile: missing, unreadable, over 1 MiB, not YAML, or not a mapping.
    """
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise BadFile(f"{what} {path}", expected="at most 1 MiB", got="a larger file")
        value = parse_yaml(read_bounded(path, MAX_YAML_BYTES).decode("utf-8"))
    except OSError as error:
        raise BadFile(
            f"{what} {path}", expected="a readable file", got=error.strerror or "an error"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadFile(
            f"{what} {path}", expected="YAML", got=" ".join(str(error).split())[:160]
        ) from None
    if not isinstance(value, dict):
        raise BadFile(f"{what} {path}", expected="a mapping", got=type(value).__name__)
    return value


class _Loader(yaml.SafeLoader):
    """The safe loader, for which a key stands once: YAML's own keeps the last one in silence.

    It stops at ``MAX_YAML_VALUES``: a node takes a hundred times its text.
    """

    nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.nodes += 1
        if self.nodes > MAX_YAML_VALUES:
            raise ValueError(f"more than {MAX_YAML_VALUES} values")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    line = key.start_mark.line + 1
                    raise ValueError(
                        f"the key {_SHORT.repr(key.value)} twice, again in line {line}"
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """A YAML document that holds nothing JSON could not: no dates, bytes, sets or aliased cycles.

    A key that stands twice in one mapping is an error, which names it and its line.

    What passes can be hashed, printed and written to a record; a document of a few lines whose
    aliases unfold to millions of values cannot.

    Raises:
        yaml.YAMLError, ValueError, RecursionError: not YAML, or more than plain values.
    """
    value = yaml.load(text, _Loader)  # a safe loader
    waiting, seen = [(value, 0)], 0
    while waiting:
        inner, depth = waiting.pop()
        seen += 1
        if seen > MAX_YAML_VALUES or depth > MAX_YAML_DEPTH:
            raise ValueError(
                f"more than {MAX_YAML_VALUES} values, or nested deeper than {MAX_YAML_DEPTH}"
            )
        if isinstance(inner, dict):
            waiting += [(each, depth + 1) for pair in inner.items() for each in pair]
            if not all(isinstance(key, str) for key in inner):
                raise ValueError("a key that is not text: put it in quotes")
        elif isinstance(inner, list):
            waiting += [(each, depth + 1) for each in inner]
        elif isinstance(inner, str):
            inner.encode()  # half of a surrogate pair is no text, and has no hash
        elif isinstance(inner, int) and abs(inner) >= 1 << 63:
            raise ValueError("a whole number of more than 63 bits")
        elif not isinstance(inner, int | float | None):
            raise ValueError(f"a {type(inner).__name__}, where numbers, texts and lists are known")
    return value


def looks_like_path(name: str) -> bool:
    """Whether a recipe or track argument names a file rather than a shipped entry."""
    return name.endswith((".yaml", ".yml")) or "/" in name


def explain(error: ValidationError, what: str) -> BadProtocol:
    """The first fault of a pydantic error as one line: which field, what is wrong, what came."""
    fault = first_fault(error)
    steps = [str(step) for step in fault["loc"] if not _INTERNAL.match(str(step))]
    field = f"{what}, field {'.'.join(steps)}" if steps else what
    given = fault.get("input")
    if fault["type"] in ("value_error", "assertion_error") and isinstance(given, Mapping):
        # A rule over several fields: its own words name them, and the whole input says nothing.
        return BadProtocol(f"{field}, {fault['msg'].partition(', ')[2]}")
    if fault["type"] == "extra_forbidden":
        return BadProtocol(field, expected="no such field", hint=_closest(steps[-1], _fields()))
    if fault["type"] == "union_tag_invalid":
        told = fault.get("ctx", {})
        tag, tags = str(told["tag"]), str(told["expected_tags"]).replace("'", "").split(", ")
        expected = f"one of {', '.join(tags)}"
        return BadProtocol(f"{field}.kind", expected=expected, got=tag, hint=_closest(tag, tags))
    words = fault["msg"]
    for lead in ("Input should be ", "Value error, "):
        words = words.removeprefix(lead)
    return BadProtocol(field, expected=words[0].lower() + words[1:], got=_SHORT.repr(given))


_INTERNAL = re.compile(r"function-|tagged|constrained-|tuple\[|literal\[")
"""Steps of a fault's path that name pydantic's machinery rather than a field."""


def _fields() -> set[str]:
    """The field names of every rule."""
    waiting, names = [Frozen], set()
    while waiting:
        model = waiting.pop()
        names |= model.model_fields.keys()
        waiting += model.__subclasses__()
    return names


def _closest(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"Did you mean {close[0]!r}?" if close else ""


def override(values: Mapping[str, Any], changes: Iterable[str], what: str) -> dict[str, Any]:
    """``values`` with ``key.inner=value`` changes applied; values are read as YAML.

    Raises:
        BadProtocol: a change without ``=``, or a path through something that is not a mapping.
    """
    result: dict[str, Any] = json.loads(json.dumps(values))
    for change in changes:
        path, equals, text = change.partition("=")
        if not equals or not path:
            raise BadProtocol(f"--set {change}", expected="key=value", got=repr(change))
        *outer, last = path.split(".")
        target = result
        for step in outer:
            target = target.setdefault(step, {})
            if not isinstance(target, dict):
                raise BadProtocol(f"--set {change}", expected=f"{step} of {what} to be a mapping")
        try:
            target[last] = parse_yaml(text)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise BadProtocol(
                f"--set {path}", expected="a YAML value", got=_SHORT.repr(text)
            ) from None
    return result
