"""Which files a source consists of.

One kind a source: torch files, NumPy files, Parquet files, a picture grid, pictures side by side, a
folder of class folders, or one set that this package wrote. What reads each is in ``kinds``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ddranking.distilled.folder import class_folders, natural
from ddranking.distilled.header import what_is_there
from ddranking.distilled.inference import guess_dataset, guess_ipc
from ddranking.distilled.kinds import READERS, Reading, read_class_folders
from ddranking.distilled.namedparts import part_of_file
from ddranking.distilled.parquetfile import choose_split, read_parquet, shards
from ddranking.distilled.picturefile import PICTURE_SUFFIXES
from ddranking.distilled.released import Released
from ddranking.errors import BadFile

#: Suffix to kind. Anything else in a folder is passed over; named on its own it is an error.
KINDS = {
    ".pt": "torch",
    ".pth": "torch",
    ".npz": "npz",
    ".npy": "npy",
    ".parquet": "parquet",
    **dict.fromkeys(PICTURE_SUFFIXES, "pictures"),
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
    ".msgpack": "Save its arrays with numpy.savez.",
}
#: FKD's soft labels: a folder for each epoch, a file for each batch of augmented images.
FKD_FOLDER = re.compile(r"epoch_\d+")
FKD_BATCH = re.compile(r"batch_\d+\.tar")
#: How deep a folder may be that holds nothing but one folder.
DEEP = 4


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
            return read_class_folders(folder, reading), list(dict.fromkeys((*source, folder)))
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
    released = READERS[kinds[0]](files, reading).noting(*notes)
    many = kinds == ["pictures"] and len(files) > 1
    return released, names_of(source) if many else [*files, *whitened]


def names_of(source: Sequence[Path]) -> list[Path]:
    """The paths whose names may tell dataset and method: a folder's data files, or the folder.

    Of several pictures only what their names begin with alike: the rest tells classes and numbers.

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
        if len(data) > 1 and all(each.suffix.lower() in PICTURE_SUFFIXES for each in data):
            alike = os.path.commonprefix([each.stem for each in data])  # noqa: RUF071 of letters
            data = [path, folder, *([folder / alike] if alike else [])]
        told += data or [path, folder]
    return list(dict.fromkeys(told))


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
    pictures = [each for each in kept if KINDS[each.suffix.lower()] == "pictures"]
    if pictures and len(pictures) < len(kept):
        kept = [each for each in kept if KINDS[each.suffix.lower()] != "pictures"]
        notes.append(f"passed over {_listed(pictures)}: pictures beside the arrays")
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


def _hint_for(source: Sequence[Path]) -> str:
    """What to do with a folder whose files are of other kinds."""
    inside = [each for path in source if path.is_dir() for each in sorted(path.iterdir())[:1000]]
    hints = [ELSEWHERE[each.suffix.lower()] for each in inside if each.suffix.lower() in ELSEWHERE]
    return hints[0] if hints else ""


def _near(path: Path) -> str:
    """A pattern that matched nothing reaches us unexpanded, as a name with a star."""
    return "No file matches this pattern." if any(mark in path.name for mark in "*?[") else ""
