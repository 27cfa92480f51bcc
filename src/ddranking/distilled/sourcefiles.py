"""Which files a source consists of, and the parts they hold, read by kind.

One kind a source: torch files, NumPy files, Parquet files, picture grids, a folder of class
folders, or one set that this package wrote. Parts that belong together are told by their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from ddranking.data.catalog import DATASETS, DatasetFacts
from ddranking.distilled import artifact
from ddranking.distilled.arrayfile import read_npy, read_npz
from ddranking.distilled.folder import (
    class_folders,
    labels_of_folders,
    natural,
    read_flat,
    read_folder,
)
from ddranking.distilled.grid import blank_images, read_grid
from ddranking.distilled.guarded import Limits
from ddranking.distilled.header import has_card, read_header, what_is_there
from ddranking.distilled.inference import guess_dataset, guess_ipc
from ddranking.distilled.parquetfile import choose_split, read_parquet, shards
from ddranking.distilled.released import PART_OF_NAME, Released, from_parts, from_tree, one_rate
from ddranking.distilled.torchfile import read_torch
from ddranking.errors import BadDistilledSet, BadFile

#: Suffix to kind. Anything else in a folder is passed over; named on its own it is an error.
KINDS = {
    ".pt": "torch",
    ".pth": "torch",
    ".npz": "npz",
    ".npy": "npy",
    ".parquet": "parquet",
    ".png": "grid",
    ".safetensors": "set",
}
#: What lies beside released files and is not data.
COMPANIONS = (".json", ".md", ".txt", ".yaml", ".yml", ".csv", ".log", ".py", ".sh", "")
#: What else authors release, and what to do with it.
ELSEWHERE = {
    **dict.fromkeys((".zip", ".tgz", ".gz", ".xz", ".bz2", ".7z", ".rar"), "Unpack it first."),
    ".tar": "Unpack it first; if it is a batch of soft labels as FKD and SRe2L save them "
    "(batch_0.tar), it holds no images: pack the image folder, and score with teacher labels.",
    **dict.fromkeys(
        (".pkl", ".pickle", ".p"),
        "It is not unpickled, as that could run code. Ask its authors for .npz or .safetensors.",
    ),
    ".mat": "Save its arrays with numpy.savez.",
    **dict.fromkeys((".h5", ".hdf5"), "Save its arrays with numpy.savez."),
    ".jpg": "Give the folder that holds a folder for each class; a grid has to be a PNG.",
    ".jpeg": "Give the folder that holds a folder for each class; a grid has to be a PNG.",
    ".msgpack": "Save its arrays with numpy.savez.",
}
#: FKD's soft labels: a folder for each epoch, a file for each batch of augmented images.
FKD_FOLDER = re.compile(r"epoch_\d+")
FKD_BATCH = re.compile(r"batch_\d+\.tar")
#: How deep a folder may be that holds nothing but one folder.
DEEP = 4


@dataclass(frozen=True)
class Reading:
    """How to read: dataset and images per class if they are known, what to choose, the limits."""

    facts: DatasetFacts | None = None
    ipc: int | None = None
    experiment: int = -1
    split: str | None = None
    limits: Limits = field(default_factory=Limits)


def read_source(source: Sequence[Path], reading: Reading) -> tuple[Released, list[Path]]:
    """The parts of a source and the files (or the folder) that they came from.

    Raises:
        BadFile: nothing there, several kinds at once, or a file that cannot be read.
        BadDistilledSet: files that can be read and do not fit together.
    """
    if not source:
        raise BadFile("source", expected="at least one file or folder", got="none")
    if len(source) == 1 and source[0].is_dir():
        folder = innermost(source[0])
        if class_folders(folder):
            return _read_class_folders(folder, reading), list(dict.fromkeys((*source, folder)))
        found = shards(folder)
        if found:
            files, notes = choose_split(found, reading.split)
            released = read_parquet(files, reading.facts, reading.limits)
            return released.noting(*notes), [*source, *files]
        source = [folder]
    files, whitened, notes = meant(list_files(source), source, reading)
    kinds = sorted({KINDS[file.suffix.lower()] for file in files})
    if len(kinds) > 1:
        names = ", ".join(file.name for file in files[:6])
        raise BadFile(
            "source",
            expected="files of one kind",
            got=f"{' and '.join(kinds)} ({names})",
            hint="Name the files that are meant.",
        )
    return READERS[kinds[0]](files, reading).noting(*notes), [*files, *whitened]


def names_of(source: Sequence[Path]) -> list[Path]:
    """The paths whose names may tell dataset and method: a folder's data files, or the folder.

    Raises:
        BadFile: as :func:`innermost`.
    """
    told: list[Path] = []
    for path in source:
        if not path.is_dir():
            told.append(path)
            continue
        folder = innermost(path)
        inside = sorted((each for each in folder.iterdir() if each.is_file()), key=natural)
        data = [each for each in inside if each.suffix.lower() in KINDS]
        told += data or dict.fromkeys((path, folder))
    return told


def innermost(folder: Path) -> Path:
    """The folder that holds the data, where folders hold nothing but one folder.

    Raises:
        BadFile: folders of soft labels without images, or several folders that may each be a set.
    """
    for _ in range(DEEP):
        inside = [each for each in folder.iterdir() if not each.name.startswith(".")]
        folders = sorted((each for each in inside if each.is_dir()), key=natural)
        _no_soft_labels_alone(folder, inside)
        if any(each.suffix.lower() in KINDS for each in inside) or class_folders(folder):
            return folder
        sets = [each for each in folders if class_folders(each)]
        if len(sets) > 1:
            raise BadFile(
                str(folder),
                expected="one set",
                got=f"{len(sets)} folders of class folders: "
                + ", ".join(each.name for each in sets[:6]),
                hint="Name the one that is meant.",
            )
        if not sets and len(folders) != 1:
            return folder
        folder = (sets or folders)[0]
    return folder


def _no_soft_labels_alone(folder: Path, inside: Sequence[Path]) -> None:
    batches = [each for each in inside if FKD_BATCH.fullmatch(each.name)]
    epochs = [
        each
        for each in inside
        if each.is_dir()
        and FKD_FOLDER.fullmatch(each.name)
        and any(FKD_BATCH.fullmatch(file.name) for file in each.iterdir())
    ]
    if epochs or batches:
        raise BadFile(
            str(folder),
            expected="images",
            got="soft labels of augmented batches, as FKD and SRe2L save them "
            f"({(epochs or batches)[0].name})",
            hint="They hold no images: pack the image folder that they were made for, and score "
            "it with a recipe with teacher labels, which makes them anew for every batch.",
        )


class Meant(NamedTuple):
    """Files to read, files that are passed over and say that the images are whitened, notes."""

    files: list[Path]
    whitened: list[Path]
    notes: list[str]


def meant(files: list[Path], source: Sequence[Path], reading: Reading) -> Meant:
    """Of the files in a folder, those of the set that was asked for, and notes about the others.

    Files whose names say another dataset or ipc than was asked for are passed over; of snapshots
    (``images_0``, ``images_best``) the best; and MTT's ``images_zca_*``, which are not what was
    trained on but its copy brought back to pixels. Files named one by one are all meant.
    """
    if any(not each.is_dir() for each in source):
        return Meant(files, [], [])
    notes = []
    kept = files
    asked = {"dataset": reading.facts.name if reading.facts else "", "ipc": str(reading.ipc or "")}
    for what, guess in (("dataset", guess_dataset), ("ipc", guess_ipc)):
        # By the file's own name alone: folders say the same of all of them.
        said = {file: guess([Path("/", file.name)]).value for file in kept}
        right = [file for file in kept if said[file] in ("", asked[what])]
        if asked[what] in said.values() and 0 < len(right) < len(kept) and asked[what]:
            others = [file for file in kept if file not in right]
            notes.append(f"{what} {asked[what]}: passed over {_listed(others)}")
            kept = right
    grids = [each for each in kept if KINDS[each.suffix.lower()] == "grid"]
    if grids and len(grids) < len(kept):
        kept = [each for each in kept if each not in grids]
        notes.append(f"passed over {_listed(grids)}: pictures beside the arrays")
    shown = [each for each in kept if re.match(r"images_zca_", each.stem)]
    if shown and len(shown) < len(kept):
        kept = [each for each in kept if each not in shown]
        notes.append(
            f"passed over {shown[0].name}: in MTT's code a copy brought back from ZCA space to "
            "pixels; the images trained on are whitened"
        )
    best = [each for each in kept if each.stem.endswith("_best")]
    if best and len(best) < len(kept) and any(part_of_file(each) == "images" for each in best):
        others = [each for each in kept if each not in best]
        kept = best
        notes.append(f"took the files called best; passed over {_listed(others)}")
    return Meant(kept, shown if len(shown) < len(files) else [], notes)


def _listed(files: Sequence[Path]) -> str:
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    return ", ".join(file.name for file in files[:3]) + more


def list_files(source: Iterable[Path]) -> list[Path]:
    """Data files of the paths given, folders opened one level, in natural order, each once.

    Raises:
        BadFile: a path that is not there, a file of an unknown kind, or no data at all.
    """
    files: dict[Path, None] = {}
    source = list(source)
    for path in source:
        if path.is_dir():
            inside = sorted((each for each in path.iterdir() if each.is_file()), key=natural)
            files.update(dict.fromkeys(each for each in inside if each.suffix.lower() in KINDS))
        elif not path.is_file():
            raise BadFile(
                str(path),
                expected="a file or folder",
                got=what_is_there(path) if path.exists() else "nothing there",
                hint=_near(path),
            )
        elif path.suffix.lower() in KINDS:
            files[path] = None
        elif path.suffix.lower() not in COMPANIONS:
            raise BadFile(
                str(path),
                expected=f"one of {', '.join(KINDS)}",
                got=path.suffix or "no suffix",
                hint=ELSEWHERE.get(path.suffix.lower(), ""),
            )
    if not files:
        raise BadFile(
            ", ".join(map(str, source[:3])),
            expected=f"files that end in {', '.join(KINDS)}, or a folder for each class",
            got="none",
            hint=_hint_for(source),
        )
    return sorted(files, key=natural)


def _read_class_folders(folder: Path, reading: Reading) -> Released:
    images, labels, jpegs = read_folder(folder, reading.facts, reading.limits.bytes)
    names = labels_of_folders([each.name for each in class_folders(folder)], reading.facts)
    first = min(names, key=lambda name: names[name])
    order = tuple(sorted(names, key=lambda name: names[name]))
    complete = sorted(names.values()) == list(range(len(names)))
    found = Released(images=images, labels=labels, class_order=order if complete else None)
    found = found.noting(f"{folder}: {len(images)} pictures in {len(names)} class folders")
    if re.sub(r"\D", "", first).strip("0") == "1" and names[first] == 0:
        found = found.noting(f"{folder}: numbers of folders start at 1; labels start at 0")
    if jpegs:
        found = found.noting(
            f"{folder}: {jpegs} are JPEG; what was lost in saving is lost in the score too"
        )
    return found


def _read_torch_files(files: list[Path], reading: Reading) -> Released:
    trees = read_torch(files, reading.limits)
    if len(files) == 1:
        return from_tree(trees[0], files[0].name, reading.experiment)
    return join_named(dict(zip(files, trees, strict=True)), reading.facts)


def _read_npy_files(files: list[Path], reading: Reading) -> Released:
    arrays: dict[Path, Any] = {file: read_npy(file, reading.limits.bytes) for file in files}
    if len(files) == 1:
        return Released(images=arrays[files[0]])
    return join_named(arrays, reading.facts)


def _read_npz_file(files: list[Path], reading: Reading) -> Released:
    file = _only(files, "an .npz file holds a whole set")
    return from_parts(read_npz(file, reading.limits.bytes), file.name)


def _read_grid_file(files: list[Path], reading: Reading) -> Released:
    if len(files) > 1:
        return _read_flat_pictures(files, reading)
    file = _only(files, "a grid holds a whole set")
    known = reading.facts
    sizes = [known.image_size] if known else sorted({each.image_size for each in DATASETS.values()})
    images, geometry = read_grid(
        file, sizes, known.channels if known else None, reading.limits.bytes
    )
    blank = blank_images(images)
    if blank and blank == list(range(blank[0], len(images))) and blank[0] > 0:
        raise BadDistilledSet(
            str(file),
            expected=f"{geometry.rows}x{geometry.columns} images",
            got=f"{len(blank)} empty cells at the end",
            hint="Cut the grid by hand and give the images as .npy or as class folders.",
        )
    return Released(images=images, grid=(geometry.rows, geometry.columns)).noting(
        f"{file.name}: a grid of {geometry.rows} rows x {geometry.columns} columns of "
        f"{geometry.size}x{geometry.size} pixels, padding {geometry.padding}",
        f"{file.name}: 8 bits and clipped to [0, 255]; the set its authors trained on may not be",
    )


def _read_flat_pictures(files: list[Path], reading: Reading) -> Released:
    """Pictures side by side in one folder, their class in each name: ``class3_img7.png``."""
    images, labels, jpegs = read_flat(files, reading.facts, reading.limits.bytes)
    classes = len(np.unique(labels))
    found = Released(images=images, labels=labels)
    found = found.noting(f"{len(images)} pictures of {classes} classes, by their names")
    lossy = f"{jpegs} are JPEG; what was lost in saving is lost in the score too"
    return found.noting(lossy) if jpegs else found


def _read_parquet_files(files: list[Path], reading: Reading) -> Released:
    chosen, notes = choose_split(files, reading.split)
    return read_parquet(chosen, reading.facts, reading.limits).noting(*notes)


def _read_set_file(files: list[Path], reading: Reading) -> Released:
    file = _only(files, "a distilled set is one file")
    if not has_card(read_header(file)):
        return from_parts(_plain_tensors(file, reading.limits.bytes), file.name)
    made = artifact.load(file)
    return Released(
        images=made.images,
        labels=made.labels,
        soft_labels=made.soft_labels,
        learning_rate=made.learning_rate,
        class_order=made.card.class_order,
        card=made.card.model_dump(by_alias=False, exclude={"schema_"}),
    )


def _plain_tensors(file: Path, byte_limit: int) -> dict[str, np.ndarray]:
    """The tensors of a ``.safetensors`` file that this package did not write, by name."""
    size = file.stat().st_size
    if size > byte_limit:
        raise BadFile(str(file), expected=f"at most {byte_limit} bytes", got=str(size))
    try:
        return safetensors.numpy.load_file(file)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, MemoryError) as error:
        raise BadFile(
            str(file),
            expected="a whole .safetensors file of types that NumPy has",
            got=f"{type(error).__name__}: {error}"[:200],
            hint="Save its tensors as float32, or copy it again.",
        ) from None


READERS: dict[str, Callable[[list[Path], Reading], Released]] = {
    "torch": _read_torch_files,
    "npy": _read_npy_files,
    "npz": _read_npz_file,
    "parquet": _read_parquet_files,
    "grid": _read_grid_file,
    "set": _read_set_file,
}


def _class_files(trees: dict[Path, Any], known: DatasetFacts | None) -> Released:
    """One file for each class, called as class folders are: ``3.npy``, ``class_3.npy``."""
    names = [file.stem for file in trees]
    try:
        labels = labels_of_folders(names, known)
    except BadDistilledSet:
        labels = {}
    numbered = known is not None or all(any(c.isdecimal() for c in name) for name in names)
    if not numbered or len(labels) != len(trees):
        raise BadDistilledSet(
            str(next(iter(trees))),
            expected="a name with images, labels, soft_labels or lr in it, or with a class",
            got=", ".join(file.name for file in trees)[:160],
            hint="Name the files of one set; in a folder of several, --ipc chooses among them.",
        )
    return from_parts({str(labels[file.stem]): tree for file, tree in trees.items()}, "files")


def join_named(trees: dict[Path, Any], known: DatasetFacts | None = None) -> Released:
    """Several files whose names tell their parts: ``images_best``, ``labels_best``, ``lr_best``.

    Files of one part are joined in natural order of their names, so ``images_2`` comes before
    ``images_10``. Whether they are parts of one set is decided where its size is known.

    Raises:
        BadDistilledSet: a name that tells no part, no images, or unequal numbers of parts.
    """
    if all(part_of_file(file) is None for file in trees):
        return _class_files(trees, known)
    parts: dict[str, dict[Path, Any]] = {}
    for file, tree in trees.items():
        part = part_of_file(file)
        if part is None:
            raise BadDistilledSet(
                str(file),
                expected="a name with images, labels, soft_labels or lr in it",
                got=file.name,
                hint="Name the files of one set; in a folder of several, --ipc chooses among them.",
            )
        parts.setdefault(part, {})[file] = tree
    if "images" not in parts:
        raise BadDistilledSet(
            "source", expected="a file of images", got=", ".join(file.name for file in trees)[:160]
        )
    images = _joined_part(parts["images"])
    found = Released(images=images, parts=tuple(len(each) for each in parts["images"].values()))
    if len(parts["images"]) > 1:
        names = ", ".join(file.name for file in parts["images"])
        found = found.noting(f"joined {len(parts['images'])} files of images in order: {names}")
    for part in ("labels", "soft_labels"):
        if part not in parts:
            continue
        if len(parts[part]) not in (1, len(parts["images"])):
            raise BadDistilledSet(
                part,
                expected=f"1 or {len(parts['images'])} files, as of images",
                got=str(len(parts[part])),
            )
        found = replace(found, **{part: _joined_part(parts[part])})
    if "learning_rate" in parts:
        rates = {one_rate(tree, file.name) for file, tree in parts["learning_rate"].items()}
        if len(rates) > 1:
            raise BadDistilledSet("learning rate", expected="one", got=f"{len(rates)} values")
        found = replace(found, learning_rate=rates.pop())
    return found


def part_of_file(file: Path) -> str | None:
    """The part that a file's name tells, or None.

    >>> part_of_file(Path("labels_best.pt")), part_of_file(Path("10images.pt"))
    ('labels', 'images')
    """
    words = re.sub(r"\d+", "_", file.stem.lower())
    for name in sorted(PART_OF_NAME, key=len, reverse=True):
        if re.search(rf"(?<![a-z]){re.escape(name)}(?![a-z])", words):
            return PART_OF_NAME[name]
    return None


def _joined_part(files: dict[Path, Any]) -> np.ndarray:
    arrays = []
    for file, tree in files.items():
        if not isinstance(tree, np.ndarray) or tree.ndim == 0:
            raise BadDistilledSet(str(file), expected="one array", got=type(tree).__name__)
        arrays.append(tree)
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        raise BadDistilledSet(
            ", ".join(file.name for file in files)[:160],
            expected="parts of one shape",
            got=" and ".join(str(list(shape)) for shape in sorted(shapes))[:120],
        )
    return np.concatenate(arrays)


def _only(files: list[Path], why: str) -> Path:
    if len(files) > 1:
        raise BadFile(
            "source",
            expected=f"one file ({why})",
            got=f"{len(files)}: {', '.join(file.name for file in files[:4])}",
            hint="Pack them one at a time.",
        )
    return files[0]


def _hint_for(source: Sequence[Path]) -> str:
    """What to do with a folder whose files are of other kinds."""
    inside = [each for path in source if path.is_dir() for each in sorted(path.iterdir())[:1000]]
    hints = [ELSEWHERE[each.suffix.lower()] for each in inside if each.suffix.lower() in ELSEWHERE]
    return hints[0] if hints else ""


def _near(path: Path) -> str:
    """A pattern that matched nothing reaches us unexpanded, as a name with a star."""
    return "No file matches this pattern." if any(mark in path.name for mark in "*?[") else ""
