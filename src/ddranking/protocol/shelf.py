"""Reading recipes and tracks: shipped ones by name, a user's by path, both validated, both locked.

``name`` means its newest version, ``name@2`` that version, ``./mine.yaml`` a user's own file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ddranking.errors import BadFile, BadProtocol

MAX_YAML_BYTES = 1 << 20


@cache
def shipped(folder: str) -> dict[str, dict[str, Any]]:
    """All YAML files of ``ddranking/protocol/<folder>`` by file name, unvalidated."""
    found = resources.files("ddranking.protocol") / folder
    files = sorted((f for f in found.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return {f.name.removesuffix(".yaml"): yaml.safe_load(f.read_text()) for f in files}


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
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadFile(
            f"{what} {path}", expected="a readable file", got=error.strerror or "an error"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise BadFile(
            f"{what} {path}", expected="YAML", got=" ".join(str(error).split())[:160]
        ) from None
    if not isinstance(value, dict):
        raise BadFile(f"{what} {path}", expected="a mapping", got=type(value).__name__)
    return value


def looks_like_path(name: str) -> bool:
    """Whether a recipe or track argument names a file rather than a shipped entry."""
    return name.endswith((".yaml", ".yml")) or "/" in name


def explain(error: ValidationError, what: str) -> BadProtocol:
    """The first fault of a pydantic error as one line: which field, what is wrong, what came."""
    fault = error.errors(include_url=False, include_context=False)[0]
    steps = [
        str(step) for step in fault["loc"] if not str(step).startswith(("function-", "tagged"))
    ]
    got = repr(fault.get("input"))
    others = error.error_count() - 1
    return BadProtocol(
        f"{what}, field {'.'.join(steps) or '(whole)'}",
        expected=fault["msg"][0].lower() + fault["msg"][1:],
        got=got if len(got) <= 80 else got[:77] + "...",
        hint=f"({others} more in the same file.)" if others else "",
    )


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
            target[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise BadProtocol(f"--set {change}", expected="a YAML value", got=repr(text)) from None
    return result
