"""Parquet files in the Hugging Face layout: an image column ``{bytes, path}`` and a label column.

A split is every file whose name starts with its name: ``train.parquet``,
``train-00000-of-00002.parquet``, ``validation-...``. Files are untrusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ddranking.data.decode import Encoded
from ddranking.errors import BadFile

SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}
"""Names of each half, best first. A test split without labels (all -1) is passed over."""

DAMAGE = (pa.ArrowException, OSError, ValueError)
"""What pyarrow raises on a damaged file; ValueError where a name is not UTF-8."""

LABEL_COLUMNS = ("label", "labels", "fine_label")
MAX_ROWS = 20_000_000
"""Of one file: a column of one repeated number takes next to nothing in a file."""

MAX_IMAGE_BYTES = 64 << 20
BATCH = 64
"""Rows at a time: few, as a file may store equal images once, and each row makes them whole."""


@dataclass(frozen=True)
class ParquetSplit:
    """The files of one split in order, and which of their columns are image and label."""

    files: tuple[Path, ...]
    image_column: str
    label_column: str
    label_names: tuple[str, ...]

    def labels(self) -> np.ndarray:
        """int64 ``[N]``.

        Raises:
            BadFile: a null or non-integer label, or a damaged file.
        """
        parts = []
        for file in self.files:
            column = _read_column(file, self.label_column)
            if column.null_count or not pa.types.is_integer(column.type):
                raise BadFile(
                    str(file),
                    expected=f"an integer in every row of {self.label_column!r}",
                    got=f"{column.type} with {column.null_count} empty rows",
                )
            parts.append(column.to_numpy().astype(np.int64))
        return np.concatenate(parts)

    def images(self) -> Iterator[Encoded]:
        """The encoded images in order.

        Raises:
            BadFile: a row without bytes, or a damaged file.
        """
        for file in self.files:
            for row, content in enumerate(_image_bytes(file, self.image_column)):
                where = f"{file} row {row}"
                if content is None:
                    raise BadFile(where, expected="an image's bytes", got="an empty row")
                if len(content) > MAX_IMAGE_BYTES:
                    raise BadFile(
                        where,
                        expected=f"an image of at most {MAX_IMAGE_BYTES >> 20} MiB",
                        got=f"{len(content):,} bytes",
                    )
                yield Encoded(where, content)


def find_splits(root: Path) -> tuple[ParquetSplit, ParquetSplit] | None:
    """Train and test under ``root`` (at most two folders deep), or None if they are not there.

    Raises:
        BadFile: a file that is no Parquet file or lacks a column, or splits in several folders.
    """
    found: dict[str, list[Path]] = {}
    for pattern in ("*.parquet", "*/*.parquet", "*/*/*.parquet"):
        for file in sorted(root.glob(pattern)):
            if match := re.match(r"(train|test|validation|valid|val)(?=[-_.])", file.name):
                found.setdefault(match[1], []).append(file)
    halves = {half: [n for n in names if n in found] for half, names in SPLITS.items()}
    if not halves["train"] or not halves["test"]:
        return None
    folders = {
        file.parent for name in (halves["train"][0], halves["test"][0]) for file in found[name]
    }
    if len(folders) > 1:
        names = ", ".join(sorted(str(folder) for folder in folders))
        raise BadFile(
            str(root),
            expected="the Parquet files of one configuration",
            got=f"splits in {names}",
            hint="Name one of these folders as the root.",
        )
    train = _open(found["train"])
    for name in halves["test"]:
        test = _open(found[name])
        if len(halves["test"]) == 1 or (test.labels() >= 0).any():
            return train, test
    return None


def _open(files: list[Path]) -> ParquetSplit:
    schemas = [_schema(file) for file in files]
    image, label = _columns(files[0], schemas[0])
    for file, schema in zip(files, schemas, strict=True):
        if _columns(file, schema) != (image, label):
            raise BadFile(
                str(file), expected=f"the columns of {files[0].name}", got=", ".join(schema.names)
            )
    return ParquetSplit(tuple(files), image, label, _label_names(schemas[0], label))


def _schema(file: Path) -> pa.Schema:
    try:
        footer = pq.read_metadata(file)
        schema = footer.schema.to_arrow_schema()
        _ = schema.names  # decodes every one, so that a damaged one is found here
        # A row group's columns are not asked about: pyarrow aborts on some damage there.
        groups = [footer.row_group(index).num_rows for index in range(footer.num_row_groups)]
    except DAMAGE as error:
        raise _damaged(file, error) from error
    rows = max(footer.num_rows, *groups, sum(groups)) if groups else footer.num_rows
    if not 0 <= rows <= MAX_ROWS or min(groups, default=0) < 0:
        raise BadFile(str(file), expected=f"at most {MAX_ROWS:,} rows", got=f"{rows:,}")
    return schema


def _columns(file: Path, schema: pa.Schema) -> tuple[str, str]:
    images = [field.name for field in schema if _holds_bytes(field.type)]
    integers = [field.name for field in schema if pa.types.is_integer(field.type)]
    labels = [name for name in LABEL_COLUMNS if name in schema.names] or integers
    if not images or not labels:
        missing = "an image column {bytes, path}" if not images else "a label column"
        raise BadFile(str(file), expected=missing, got=f"the columns {', '.join(schema.names)}")
    return images[0], labels[0]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _label_names(schema: pa.Schema, label: str) -> tuple[str, ...]:
    """Class names, where the Hub's metadata has them; untrusted, so anything else is ignored."""
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])
        names = info["info"]["features"][label]["names"]
        return tuple(str(name) for name in names) if isinstance(names, list) else ()
    except (KeyError, TypeError, ValueError):
        return ()


def _read_column(file: Path, name: str) -> pa.ChunkedArray:
    try:
        return pq.read_table(file, columns=[name]).column(name)
    except DAMAGE as error:
        raise _damaged(file, error) from error


def _image_bytes(file: Path, column: str) -> Iterator[bytes | None]:
    try:
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(BATCH, columns=[column]):
                values = batch.column(0)
                if pa.types.is_struct(values.type):
                    # Fields by themselves: paths may be no text, and are not needed.
                    values = values.flatten()[values.type.get_field_index("bytes")]
                yield from values.to_pylist()
    except DAMAGE as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> BadFile:
    return BadFile(
        str(file),
        expected="a whole Parquet file",
        got=f"{type(error).__name__}: {' '.join(str(error).split())[:120]}",
        hint="Fetch this file again.",
    )
