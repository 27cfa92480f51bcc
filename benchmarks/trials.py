"""Trainings for benchmarks, through the pool of workers that a score runs on, and their cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.options import Options
from ddranking import api
from ddranking.protocol.augmentations import Dsa
from ddranking.protocol.rules import Precision, Sgd, Step, Training
from ddranking.protocol.trial import RandomImages, Trial
from ddranking.running.groups import MOST_TRAININGS
from ddranking.running.local import Pool
from ddranking.running.study import usual_space
from ddranking.running.workbench import Workbench
from ddranking.running.worker import Done, Task

FEW = 20
"""Images of the validation split where the cost of training alone is looked for, per class."""

MakeTrial = Callable[..., Trial]
"""From ``seed``, ``epochs`` and ``evaluate`` to a trial."""


def rules(epochs: int, precision: Precision = "fp32", augmented: bool = True) -> Training:
    """The recipe ``dsa@1`` for another number of epochs: SGD at 0.01, batches of 256, DSA."""
    return Training(
        epochs=epochs,
        batch_size=256,
        learning_rate=0.01,
        optimizer=Sgd(momentum=0.9, weight_decay=5e-4),
        schedule=Step(milestones=(0.5,), factor=0.1),
        augmentation=(Dsa(),) if augmented else (),
        precision=precision,
    )


def random_images(
    workbench: Workbench, student: str, ipc: int, precision: Precision, augmented: bool = True
) -> MakeTrial:
    """Makes trials on random real images, the arm ``rdm_any``."""
    dataset = workbench.dataset

    def make(seed: int = 0, epochs: int = 1, evaluate: str = "test") -> Trial:
        return Trial.model_validate(
            {
                "arm": "rdm_any",
                "training_set": RandomImages(ipc=ipc),
                "space": usual_space(dataset),
                "training": rules(epochs, precision, augmented),
                "student": student,
                "seed": seed,
                "dataset": dataset.digest,
                "validation_size": FEW * dataset.num_classes,
                "evaluate": evaluate,
            }
        )

    return make


def pool(workbench: Workbench, options: Options) -> Pool:
    """Workers as a score starts them: one of one thread on each core, or one on each GPU."""
    made = api.pool(workbench, api.Runtime(device=options.device, workers=options.workers))
    assert isinstance(made, Pool), "the engine of this machine"
    return made


def timed(workers: Pool, tasks: Sequence[Task]) -> tuple[float, list[Done]]:
    """Wall seconds of running ``tasks``, and what each of them gave, in their order."""
    begun = time.perf_counter()
    done = {task.trial.key: answer for task, answer in workers.run(tasks, api.Silent())}
    seconds = time.perf_counter() - begun
    return seconds, [done[task.trial.key] for task in tasks]


def at_once(workers: Pool) -> int:
    """How many trainings of one shape a score hands out at once: a GPU's worker has a group."""
    gpu = workers.places[0].type == "cuda"
    return len(workers.places) * (MOST_TRAININGS if gpu else 1)


@dataclass(frozen=True)
class Cost:
    """Seconds that one training takes of the whole machine while as many run as in a score.

    Attributes:
        fixed: building the network, preparing the images, sending the answer.
        epoch: one epoch.
        evaluation: reading the test set once, with what is fixed in that.
    """

    fixed: float
    epoch: float
    evaluation: float

    def total(self, epochs: int, evaluations: int = 1) -> float:
        return self.fixed + epochs * self.epoch + evaluations * self.evaluation


def start(workers: Pool, make: MakeTrial, busy: int | None = None) -> float:
    """Seconds until every worker has finished a first, one-epoch training and read both splits."""
    count = busy or at_once(workers)
    tasks = [Task(make(seed, 1, "validation")) for seed in range(count)]
    tasks += [Task(make(seed, 1, "test")) for seed in range(count)]
    return timed(workers, tasks)[0]


def cost(
    workers: Pool, make: MakeTrial, epochs: int, evaluation: bool = True, busy: int | None = None
) -> Cost:
    """The cost of trainings, from runs of 1 and of ``epochs`` > 1 epochs that hardly evaluate.

    Args:
        workers: running already.
        make: makes trials.
        epochs: of the longer run.
        evaluation: also measure it; else it is 0.
        busy: how many trainings at once; by default as many as a score trains at once.
    """
    count = busy or at_once(workers)
    short, answers = timed(
        workers, [Task(make(seed, 1, "validation"), keep=True) for seed in range(count)]
    )
    long, _ = timed(workers, [Task(make(seed, epochs, "validation")) for seed in range(count)])
    epoch = max(0.0, (long - short) / (epochs - 1)) / count
    fixed = max(0.0, short / count - epoch)
    if not evaluation:
        return Cost(fixed, epoch, 0.0)
    return Cost(fixed, epoch, evaluate(workers, make, answers[0].weights, count) / count)


def evaluate(workers: Pool, make: MakeTrial, weights: bytes | None, times: int) -> float:
    """Wall seconds until all workers have read the test set ``times`` times with ``weights``."""
    assert weights is not None, "a task that keeps its weights gives them"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        file.write_bytes(weights)
        tasks = [Task(make(seed, 1, "test"), weights=file) for seed in range(times)]
        return timed(workers, tasks)[0]


def resident(workers: Pool) -> float | None:
    """The most memory a worker has held so far, in GB; None where the system does not tell."""
    found = [_peak(worker.process.pid) for worker in workers.workers]
    return max((value for value in found if value is not None), default=None)


def _peak(pid: int) -> float | None:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return None if kib is None else int(kib) * 1024 / 1e9
