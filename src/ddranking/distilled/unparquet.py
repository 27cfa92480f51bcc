"""The child process that opens Parquet files of a distilled set, and decodes the pictures in them.

Run as a script: ``python -P unparquet.py OUT SECONDS BYTES CHANNELS FILE...``; CHANNELS is 0 where
the dataset is not known yet. Columns are found by what they hold, and by name where several could
be meant: pictures (``{bytes, path}``, plain bytes, or nested lists of numbers), labels (integers or
text) and soft labels (lists of numbers, or lists of lists for several views).

Sizes that the files declare are compared with the limit first, a picture's size before it is
decoded; what lies about its size meets the memory limit of this process.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.compute import call_function

from ddranking.distilled.arrayfile import AGAIN
from ddranking.distilled.unpickle import limit_process
from ddranking.distilled.unpicture import Frame, stacked
from ddranking.errors import BadFile, BadInput

IMAGE_NAMES = ("image", "img", "images", "imgs", "picture", "pixel_values", "pixels", "x", "data")
LABEL_NAMES = (
    "label", "labels", "fine_label", "class_id", "class", "class_label", "target", "targets", "y",
    "hard_label", "hard_labels",
)  # fmt: skip
SOFT_NAMES = (
    "soft_label", "soft_labels", "logits", "logit", "probabilities", "probs", "soft",
    "label", "labels", "target", "targets", "y",
)  # fmt: skip

#: What pyarrow raises on a damaged file; ValueError where a name is not UTF-8.
DAMAGE = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError)
ROW_LIMIT = 1_000_000
BATCH = 64


class Columns(NamedTuple):
    """Names of the columns that were chosen; an empty name is a column that is not there."""

    images: str
    labels: str
    soft_labels: str


def columns_of(schema: pa.Schema, what: str) -> Columns:
    """Which columns of a schema hold pictures, labels and soft labels.

    Raises:
        BadFile: no column of pictures, or several of a kind and no usual name among them.
    """
    bytes_, arrays, lists, whole = [], [], [], []
    for field in schema:
        depth, inner = nesting(field.type)
        if holds_bytes(field.type):
            bytes_.append(field.name)
        elif depth == 3 and is_number(inner):
            arrays.append(field.name)
        elif depth in (1, 2) and is_number(inner):
            lists.append(field.name)
        elif depth == 0 and (pa.types.is_integer(inner) or is_text(inner)):
            whole.append(field.name)
    images = _one_of(bytes_ or arrays, IMAGE_NAMES, what, "pictures")
    if not images:
        raise BadFile(
            what,
            expected="a column of pictures: {bytes, path}, bytes, or nested lists of numbers",
            got=f"the columns {', '.join(schema.names)}"[:160],
        )
    named = [name for name in LABEL_NAMES if name in whole]
    integers = [name for name in whole if not is_text(nesting(schema.field(name).type)[1])]
    labels = named[0] if named else _one_of(integers, (), what, "labels")
    return Columns(images, labels, _one_of(lists, SOFT_NAMES, what, "soft labels"))


def _one_of(found: Sequence[str], names: Sequence[str], what: str, kind: str) -> str:
    usual = [name for name in names if name in found]
    if usual or len(found) <= 1:
        return (usual or [*found, ""])[0]
    raise BadFile(
        what,
        expected=f"one column of {kind}" + (f", or one called {names[0]}" if names else ""),
        got=", ".join(found)[:160],
        hint="Leave the column that is meant, or rename it.",
    )


def nesting(kind: pa.DataType) -> tuple[int, pa.DataType]:
    """How deep lists of lists go, and what is inside; a tensor has the depth of its shape."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return len(kind.shape), kind.value_type
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    depth = 0
    while is_list(kind) and depth < 8:
        kind, depth = kind.value_type, depth + 1
    return depth, kind


def is_list(kind: pa.DataType) -> bool:
    types = pa.types
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind)


def is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and holds_bytes(kind.field(index).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def check_sizes(files: Sequence[Path], byte_limit: int) -> int:
    """The number of rows, after comparing what the files declare with the limits.

    Raises:
        BadFile: more rows or bytes than allowed, or none.
    """
    rows = declared = 0
    for file in files:
        metadata = pq.read_metadata(file)
        rows += metadata.num_rows
        # Not column by column: pyarrow aborts on some damage there.
        groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
        declared += sum(max(0, group.total_byte_size) for group in groups)
    if not 0 < rows <= ROW_LIMIT:
        raise BadFile(str(files[0]), expected=f"1 to {ROW_LIMIT} rows", got=str(rows))
    if declared > byte_limit:
        raise BadFile(
            str(files[0]),
            expected=f"at most {byte_limit} bytes when unpacked",
            got=f"{declared} declared",
            hint="If you trust the file, pass --max-gb.",
        )
    return rows


def pictures(files: Sequence[Path], column: str, rows: int, frame: Frame) -> tuple[Any, int]:
    """uint8 ``[N, C, H, W]`` out of encoded pictures, and how many are JPEG.

    Raises:
        BadFile: a row without a picture, pictures of several sizes, or more than the limit.
    """
    jpegs = 0

    def counted() -> Iterator[tuple[str, bytes]]:
        nonlocal jpegs
        for where, content in encoded(files, column):
            jpegs += content[:2] == b"\xff\xd8"
            yield where, content

    images = stacked(counted(), rows, frame)
    return images, jpegs


def encoded(files: Sequence[Path], column: str) -> Iterator[tuple[str, bytes]]:
    """Encoded pictures in order, with words for where each lies."""
    for file in files:
        row = 0
        with pq.ParquetFile(file) as opened:
            for batch in opened.iter_batches(BATCH, columns=[column], use_threads=False):
                values = batch.column(0)
                if pa.types.is_struct(values.type):
                    # Fields by themselves: paths may be no text, and are not needed.
                    values = values.flatten()[values.type.get_field_index("bytes")]
                for content in values.to_pylist():
                    if not content:
                        raise BadFile(
                            f"{file} row {row}",
                            expected="an encoded picture",
                            got="no bytes",
                            hint="Pictures have to be inside the file (embed_external_files=True).",
                        )
                    yield f"{file} row {row}", content
                    row += 1


def whole_column(files: Sequence[Path], name: str) -> pa.ChunkedArray:
    parts = [pq.read_table(file, columns=[name], use_threads=False).column(name) for file in files]
    kinds = {str(part.type) for part in parts}
    if len(kinds) > 1:
        raise BadFile(
            str(files[0]), expected=f"one type of {name!r}", got=" and ".join(sorted(kinds))[:120]
        )
    return pa.chunked_array([chunk for part in parts for chunk in part.chunks], parts[0].type)


def numbers(column: pa.ChunkedArray, what: str) -> np.ndarray:
    """A column of numbers, or of lists of them that are all of one length, as one array."""
    column = column.combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # of no or several chunks, by pyarrow's version
        column = pa.concat_arrays(column.chunks)
    if isinstance(column.type, pa.FixedShapeTensorType):
        return column.to_numpy_ndarray()
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    shape = [len(column)]
    while is_list(column.type):
        lengths = call_function("list_value_length", [column]).unique().to_pylist()
        if column.null_count or len(lengths) != 1 or lengths[0] is None:
            raise BadFile(what, expected="lists of one length", got=f"lengths {lengths[:4]}")
        shape.append(lengths[0])
        column = column.flatten()
    if column.null_count or not is_number(column.type) or len(column) != math.prod(shape):
        raise BadFile(
            what, expected="a number in every row", got=f"{column.type}, {column.null_count} empty"
        )
    return column.to_numpy(zero_copy_only=False).reshape(shape)


def texts(column: pa.ChunkedArray, what: str) -> list[str]:
    values = column.to_pylist()
    if any(value is None for value in values):
        raise BadFile(what, expected="a label in every row", got="empty rows")
    return [str(value)[:200] for value in values]


def class_names(schema: pa.Schema, label: str) -> list[str]:
    """Class names, where the Hub's metadata has them; untrusted, so anything else is ignored."""
    try:
        info = json.loads((schema.metadata or {})[b"huggingface"])
        found = info["info"]["features"][label]["names"]
        return [str(name)[:100] for name in found[:100_000]] if isinstance(found, list) else []
    except (KeyError, TypeError, ValueError, RecursionError):
        return []


def read(files: Sequence[Path], frame: Frame) -> dict[str, Any]:
    """Arrays and texts of one set whose rows are in ``files``, one after the other.

    Raises:
        BadFile: whatever is wrong with it.
    """
    schemas = []
    for file in files:
        schemas.append(pq.read_schema(file))
        str(schemas[-1])  # decodes every name, so that a damaged one is found here
    columns = columns_of(schemas[0], str(files[0]))
    for file, schema in zip(files, schemas, strict=True):
        if columns_of(schema, str(file)) != columns:
            raise BadFile(
                str(file),
                expected=f"the columns of {files[0].name}",
                got=", ".join(schema.names)[:160],
            )
    rows = check_sizes(files, frame.byte_limit)
    found: dict[str, Any] = {"columns": " ".join(filter(None, columns))}
    if holds_bytes(schemas[0].field(columns.images).type):
        found["images"], found["jpegs"] = pictures(files, columns.images, rows, frame)
    else:
        found["images"] = numbers(whole_column(files, columns.images), columns.images)
    if columns.labels:
        column = whole_column(files, columns.labels)
        if is_text(column.type):
            found["texts"] = texts(column, columns.labels)
        else:
            found["labels"] = numbers(column, columns.labels)
            found["names"] = class_names(schemas[0], columns.labels)
    if columns.soft_labels:
        found["soft_labels"] = numbers(whole_column(files, columns.soft_labels), "soft labels")
    return found


def outline(found: dict[str, Any], out: Path) -> dict[str, Any]:
    """The JSON form of what was found, with its arrays as ``.npy`` files in ``out``."""
    pairs: list[list[Any]] = []
    for key, value in found.items():
        if isinstance(value, np.ndarray):
            np.save(out / f"{key}.npy", value, allow_pickle=False)
            pairs.append([key, {"array": f"{key}.npy"}])
        elif isinstance(value, list):
            pairs.append([key, {"list": [{"text": _printable(each)} for each in value]}])
        elif isinstance(value, int):
            pairs.append([key, {"number": repr(value)}])
        else:
            pairs.append([key, {"text": _printable(value)}])
    return {"tree": {"dict": pairs}}


def answer(out: Path, frame: Frame, files: Sequence[Path]) -> dict[str, Any]:
    """What goes back to the parent: the outline, or the fault that stopped it."""
    try:
        return outline(read(files, frame), out)
    except BadInput as error:
        return {"refused": [error.what, error.expected, error.got, error.hint]}
    except (MemoryError, pa.ArrowMemoryError):
        text = "it needs more memory than allowed"
    except DAMAGE as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    return {"refused": [str(files[0]), "a whole Parquet file", text, AGAIN]}


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def main(arguments: list[str]) -> None:
    out, seconds, byte_limit = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    limit_process(seconds, byte_limit)
    frame = Frame(int(arguments[3]), byte_limit)
    reply = answer(out, frame, [Path(each) for each in arguments[4:]])
    (out / "outline.json").write_text(json.dumps(reply))


if __name__ == "__main__":
    main(sys.argv[1:])
