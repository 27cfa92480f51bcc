"""What may be asked of a benchmark on the command line; each takes what concerns it."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ddranking.protocol.rules import Precision


@dataclass(frozen=True)
class Options:
    """Where a value is None the benchmark has its own, which is quick.

    Attributes:
        full: the sizes that a result is kept for, instead of quick ones.
        rounds: how often alternatives are measured in turn.
        epochs: of each training, or what costs are composed for.
        seeds: trainings that are paired.
        ipc: images per class.
        precision: of our engine; "fp32" and, where it is fast here, "bf16".
        check: also run this many epochs from one end to the other.
        only: of a study, the cells whose names hold one of these words.
        device: as ``ddranking score`` takes it: cpu, cuda or cuda:1.
        workers: processes; one a core, or one a GPU.
        dataset: name of a prepared dataset.
        student: name of the network.
        recipe: of a whole score.
        store: folder of finished trainings, for what can be resumed.
        out: folder for plots.
        evaluator: folder of a published evaluator, its unpacked wheel.
    """

    full: bool = False
    rounds: int | None = None
    epochs: int | None = None
    seeds: int | None = None
    ipc: tuple[int, ...] | None = None
    precision: tuple[Precision, ...] | None = None
    check: int = 0
    only: tuple[str, ...] = ()
    device: str | None = None
    workers: int | None = None
    dataset: str = "cifar10"
    student: str = "convnet3"
    recipe: str = "unified"
    store: Path | None = None
    out: Path | None = None
    evaluator: Path | None = None


def add(parser: argparse.ArgumentParser) -> None:
    """The options as flags; lists are separated by commas, as in ``--ipc 1,10``."""

    def words(text: str) -> tuple[str, ...]:
        return tuple(text.split(","))

    def numbers(text: str) -> tuple[int, ...]:
        return tuple(int(word) for word in words(text))

    def precisions(text: str) -> tuple[str, ...]:
        for word in words(text):
            if word not in get_args(Precision):
                raise argparse.ArgumentTypeError(f"{word}: one of {', '.join(get_args(Precision))}")
        return words(text)

    parser.add_argument("--full", action="store_true", help="sizes worth keeping; takes long")
    parser.add_argument("--rounds", type=int, help="how often alternatives are measured in turn")
    parser.add_argument("--epochs", type=int, help="of each training")
    parser.add_argument("--seeds", type=int, help="trainings that are paired")
    parser.add_argument("--ipc", type=numbers, help="images per class, as in 1,10,50")
    parser.add_argument("--precision", type=precisions, help="of our engine, as in fp32,bf16")
    parser.add_argument("--check", type=int, default=0, help="also run so many epochs end to end")
    parser.add_argument("--only", type=words, default=(), help="cells of a study, by their words")
    parser.add_argument("--device", help="cpu, cuda or cuda:1; every GPU, or the CPU")
    parser.add_argument("--workers", type=int, help="processes; one a core, or one a GPU")
    parser.add_argument("--dataset", default=Options.dataset, help="a prepared dataset")
    parser.add_argument("--student", default=Options.student, help="the network")
    parser.add_argument("--recipe", default=Options.recipe, help="of a whole score")
    parser.add_argument("--store", type=Path, help="folder of finished trainings")
    parser.add_argument("--out", type=Path, help="folder for plots")
    parser.add_argument("--evaluator", type=Path, help="unpacked wheel of a published evaluator")


def read(given: argparse.Namespace) -> Options:
    """The options among all that was given."""
    return Options(**{name: getattr(given, name) for name in Options.__dataclass_fields__})
