"""What the names of published files say: dataset, images per class, method. Reads no file.

Every guess comes with the words that tell a person where it was taken from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Spellings of dataset names in file names. Longer names first: what matched is cut out.
DATASET_SPELLINGS: dict[str, str] = {
    r"fashion[-_ ]?mnist|fmnist": "fashion-mnist",
    r"mnist": "mnist",
    r"svhn": "svhn",
    r"cifar[-_ ]?100": "cifar100",
    r"cifar[-_ ]?10": "cifar10",
    r"tiny[-_ ]?(?:imagenet|in)(?![a-z])(?:[-_ ]?200)?|(?<![a-z])tiny(?![a-z])": "tiny-imagenet",
    r"image[-_ ]?nette": "imagenette",
    r"image[-_ ]?woof": "imagewoof",
    r"image[-_ ]?fruit": "imagefruit",
    r"image[-_ ]?yellow": "imageyellow",
    r"image[-_ ]?meow": "imagemeow",
    r"image[-_ ]?squawk": "imagesquawk",
    r"imagenet[-_ ]?1k|(?<![a-z])in[-_]?1k|imagenet(?![-_ ]?\d|[a-z])": "imagenet-1k",
}

#: Words of file names that name a method, and its short name.
METHOD_WORDS: dict[str, str] = {
    "dc": "dc", "dsa": "dsa", "dm": "dm", "idm": "idm", "cafe": "cafe", "idc": "idc",
    "mtt": "mtt", "tm": "mtt", "tesla": "tesla", "ftd": "ftd", "datm": "datm",
    "seqmatch": "seqmatch", "haba": "haba", "dream": "dream", "kip": "kip", "rfad": "rfad",
    "frepo": "frepo", "datadam": "datadam", "dam": "datadam", "m3d": "m3d", "ncfm": "ncfm",
    "rtp": "rtp", "att": "att", "dance": "dance", "dsdm": "dsdm",
    "sre2l": "sre2l", "rded": "rded", "d4m": "d4m", "cda": "cda", "dwa": "dwa", "edc": "edc",
    "scdd": "scdd", "lpld": "lpld", "gvbsm": "g-vbsm",
    "kmeans": "kmeans", "herding": "herding", "kcenter": "kcenter", "random": "random",
}  # fmt: skip

#: Methods whose released images live in a whitened space, whatever their values look like.
WHITENED_METHODS = {"kip": "zca-kip", "rfad": "zca-kip", "frepo": "zca-kip", "datm": "zca"}

#: Methods that distil pixels in [0, 1] and standardise them when they train (IDC's code and kin).
PIXEL_METHODS = ("idc", "dream", "ncfm")

#: MTT's code and what grew from it standardise every CIFAR with CIFAR-10's constants.
LINEAGES = {name: "mtt" for name in ("mtt", "tesla", "ftd", "datm", "seqmatch")} | {
    name: "dc" for name in ("dc", "dsa", "dm", "idm", "cafe", "kmeans", "herding", "kcenter")
}


@dataclass(frozen=True)
class Guess:
    """A value and the name it was read from; or the values that names leave a choice of."""

    value: str = ""
    where: str = ""
    choices: tuple[str, ...] = ()


def guess_dataset(paths: Sequence[Path]) -> Guess:
    """The catalogue's name of the dataset that the file names, else their folder's, speak of.

    >>> guess_dataset([Path("res_DC_CIFAR10_ConvNet_1ipc.pt")]).value
    'cifar10'
    """
    return _first(paths, _datasets)


def guess_ipc(paths: Sequence[Path]) -> Guess:
    """Images per class as a text of digits: ``10ipc``, ``ipc_10``, ``IPC10``.

    >>> guess_ipc([Path("mtt_cifar10_ipc10/images_best.pt")]).value
    '10'
    """
    # The number before it, unless one follows: "cifar-10_ipc50" is 50.
    before = r"(?<![a-z0-9])(\d{1,5})[-_ ]?ipc(?![a-z]|[-_ =]?\d)"
    pattern = before + r"|(?<![a-z])ipc[-_ =]?(\d{1,5})"
    return _first(
        paths, lambda text: {str(int(a or b)) for a, b in re.findall(pattern, text) if int(a or b)}
    )


def guess_method(paths: Sequence[Path]) -> Guess:
    """The short name of the method that the file names, else their folder's, speak of."""
    return _first(paths, _methods)


def guess_factor(paths: Sequence[Path]) -> int:
    """How many parts a side an image is cut into, by its name (IDC: ``factor2``); 1 if it is not.

    >>> guess_factor([Path("conv3in_grad_mse_niter2000_factor2_ipc10/data.pt")])
    2
    """
    found = _first(paths, lambda text: set(re.findall(r"(?<![a-z])factor[-_ =]?([1-9])", text)))
    return int(found.value or 1)


def mentions(paths: Sequence[Path], word: str) -> bool:
    """Whether a file's or its folder's name contains ``word`` as a word of its own."""
    return any(word in _words(text) for path in paths for text in map(str.lower, _texts(path)))


def _datasets(text: str) -> set[str]:
    found = set()
    for pattern, name in DATASET_SPELLINGS.items():
        text, count = re.subn(pattern, " ", text)
        if count:
            found.add(name)
    return found


def _methods(text: str) -> set[str]:
    return {METHOD_WORDS[word] for word in _words(text) if word in METHOD_WORDS}


def _words(text: str) -> list[str]:
    return re.split(r"[^a-z0-9]+", text.replace("g-vbsm", "gvbsm").replace("k-center", "kcenter"))


def _texts(path: Path) -> tuple[str, str, str]:
    """Names of the file, its folder and the folder above. A relative ``images.pt`` has them too."""
    absolute = path.absolute()
    folder = absolute.is_dir() or not re.fullmatch(r"\.[a-z]{1,11}", absolute.suffix.lower())
    # A folder's name may hold dots: "lr0.005_mix_ipc10" has no suffix.
    name = absolute.name if folder else absolute.stem
    return name, absolute.parent.name, absolute.parent.parent.name


def _first(paths: Sequence[Path], find: Callable[[str], set[str]]) -> Guess:
    """File names are asked before folder names: a folder may hold files of several kinds."""
    for level, kind in enumerate(("file name", "folder name", "name of the folder above")):
        texts = list(dict.fromkeys(_texts(path)[level] for path in paths))
        found = {value: text for text in texts for value in find(text.lower())}
        if len(found) == 1:
            value, where = found.popitem()
            if level == 0 and any(path.absolute().name == where for path in paths):
                kind = "name"  # a folder's, or one without a suffix
            return Guess(value, f"the {kind} {where!r}")
        if found:
            return Guess(choices=tuple(sorted(found)))
    return Guess()
