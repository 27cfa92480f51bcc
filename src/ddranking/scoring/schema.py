"""The record's JSON Schema, for readers in other languages: ``record.schema.json``, beside this.

``python -m ddranking.scoring.schema`` writes it anew after a change of the record.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ddranking.scoring.record import Record

PATH = Path(__file__).with_name("record.schema.json")


def text() -> str:
    """The schema of :class:`ddranking.scoring.record.Record` as indented JSON, keys sorted."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Record.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def shipped() -> dict[str, Any]:
    """The committed schema, parsed."""
    return json.loads(PATH.read_text(encoding="utf-8"))


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
