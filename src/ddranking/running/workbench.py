"""The workbench: everything a trial names, as tensors.

A trial names its data by digest; the workbench holds the real dataset and the distilled sets, puts
images into the trial's space and hands a complete job to the training room. It pickles cheaply (the
dataset as its cached folder), so that every worker has its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddranking.data.images import Dataset, Images, Split, random_subset, stratified_split
from ddranking.data.space import FittedSpace, fit, parse_space
from ddranking.distilled.artifact import DistilledSet, as_float
from ddranking.protocol.trial import Distilled, RandomImages, Trial
from ddranking.running.teachers import Look, teacher
from ddranking.training.fit import Job
from ddranking.training.streamed import in_space
from ddranking.training.targets import LabelledImages


@dataclass
class Workbench:
    """The real dataset, and by digest the distilled sets and files of weights that trials name.

    ``looks`` is what given teachers were found to know, by network and space.
    """

    dataset: Dataset
    distilled: Mapping[str, DistilledSet]
    cache: Path | None = None
    trusted: bool = False
    given: Mapping[str, Path] = field(default_factory=dict)
    looks: dict[tuple[str, str], Look] = field(default_factory=dict, repr=False)
    _made: dict[tuple[str, ...], Any] = field(default_factory=dict, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """What other processes need; tensors already made stay behind."""
        return {**self.__dict__, "_made": {}}

    def job(
        self,
        trial: Trial,
        weights: Mapping[str, torch.Tensor] | None = None,
        teachers: Mapping[str, Path] | None = None,
    ) -> Job:
        """The trial with its training and evaluation images in the trial's space.

        Args:
            trial: what is trained.
            weights: what an earlier training ended with, where nothing is to be trained.
            teachers: the weights of the networks that label its images, by trial key.
        """
        if trial.dataset != self.dataset.digest:
            raise ValueError(
                f"trial of dataset {trial.dataset}, workbench of {self.dataset.digest}"
            )
        training = self.training_images(trial)
        rules = trial.training.labels
        if weights is None and rules.kind == "teacher":
            key = ("teacher", rules.model_dump_json(), _name(trial.space))
            if key not in self._made:
                self._made[key] = teacher(rules, trial.space, self, teachers or {})
            training = replace(training, teacher=self._made[key])
        return Job(
            trial=trial,
            training=training,
            evaluation=self.evaluation_images(trial),
            num_classes=self.dataset.num_classes,
            weights=weights,
            trusted=self.trusted,
        )

    def training_images(self, trial: Trial) -> LabelledImages:
        """The distilled set, a random subset drawn by the trial's seed, or the whole real set.

        What does not depend on the seed is made once a process, so that trainings side by side
        share it; of distilled sets the last one is kept, whose trials follow each other.
        """
        named = trial.training_set
        train = self.dataset.train
        if isinstance(named, Distilled):
            digest, made = self._made.get(("distilled",), (None, None))
            if digest != named.digest:
                made = _of_set(self.distilled[named.digest])
                self._made["distilled",] = named.digest, made
            return made
        if isinstance(named, RandomImages):
            drawn = random_subset(
                train.labels,
                named.ipc,
                seed=trial.seed,
                among=self.split(trial.validation_size).train,
            )
            own = train.take(drawn)
            return LabelledImages(
                torch.from_numpy(self.fitted(trial.space).apply(own.pixels)),
                torch.from_numpy(own.labels),
            )
        key = ("whole", _name(trial.space))
        if key not in self._made:
            self._made[key] = self._in_space(train, trial.space)
        return self._made[key]

    def evaluation_images(self, trial: Trial) -> LabelledImages:
        """The validation split or the test set in the trial's space; made once a process."""
        key = (trial.evaluate, str(trial.validation_size), _name(trial.space))
        if key not in self._made:
            if trial.evaluate == "test":
                self._made[key] = self._in_space(self.dataset.test, trial.space)
            else:
                held_out = self.split(trial.validation_size).validation
                self._made[key] = self._in_space(self.dataset.train, trial.space, held_out)
        return self._made[key]

    def images(self, trial: Trial) -> int:
        """Images of a trial's training set."""
        named = trial.training_set
        if isinstance(named, Distilled):
            return len(self.distilled[named.digest])
        if isinstance(named, RandomImages):
            return named.ipc * self.dataset.num_classes
        return len(self.dataset.train)

    def visits(self, trial: Trial) -> int:
        """Images visited in training, over all epochs: the effort of a trial."""
        return self.images(trial) * trial.training.epochs

    def split(self, size: int) -> Split:
        """The validation split of the real training set; the same for every entry and arm."""
        key = ("split", str(size))
        if key not in self._made:
            self._made[key] = stratified_split(self.dataset.train.labels, size, seed=0)
        return self._made[key]

    def fitted(self, space: Mapping[str, Any]) -> FittedSpace:
        """The space, fitted on the real training images where it has something to fit."""
        key = ("space", _name(space))
        if key not in self._made:
            wanted = parse_space(dict(space), self.dataset)
            self._made[key] = fit(wanted, self.dataset.train, self.cache)
        return self._made[key]

    def _in_space(
        self, images: Images, space: Mapping[str, Any], rows: np.ndarray | None = None
    ) -> LabelledImages:
        labels = images.labels if rows is None else images.labels[rows]
        return LabelledImages(
            in_space(images, self.fitted(space), rows),
            torch.from_numpy(np.array(labels, dtype=np.int64)),
        )


def _name(space: Mapping[str, Any]) -> str:
    return json.dumps(dict(space), sort_keys=True)


def _of_set(distilled: DistilledSet) -> LabelledImages:
    # Copies: the arrays may be read-only memory maps, which tensors must not share.
    soft = distilled.soft_labels
    return LabelledImages(
        torch.from_numpy(np.array(as_float(distilled.images), dtype=np.float32)),
        torch.from_numpy(np.array(distilled.labels, dtype=np.int64)),
        None if soft is None else torch.from_numpy(np.array(soft, dtype=np.float32)),
        None if soft is None else distilled.card.soft_label_kind,
    )
