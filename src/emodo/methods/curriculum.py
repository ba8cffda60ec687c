"""Curriculum Learning over a tree of emotions (Panda et al., "Contemplating Visual Emotions", ECCV 2018)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from emodo import losses
from emodo.methods.base import Method, Terms
from emodo.networks import Backbone
from emodo.ontology import MAPS
from emodo.records import Batch, InputError, Task

Level = dict[str, str]  # emotion -> its group


def _level(to: str, *sets: str) -> Level:
    maps = [MAPS[to][name].label for name in sets]
    return {emotion: group for labels in maps for emotion, group in labels.items() if group}


# Parrott's tree as WEBEmo's own file has it: seven groups, as `confusion` stands alone, where its README says six.
PRIMARY: Level = _level("webemo7", "webemo")

# Signs of WEBEmo's file (surprise is positive in it), of EmoSet's, and of the basic emotions. Neutral is neither.
POLARITY: Level = {**_level("polarity", "webemo", "webemo7", "mikels", "affectnet"), "neutral": "neutral"}


class Curriculum(Method):
    """ERM in stages: first the coarsest groups of emotions, then finer ones, last the emotions themselves.

    Each stage starts from the last one's backbone with a linear layer of its own. The settings of the stages are not
    public: here each has the optimizer and the schedule of the other methods, and an equal share of the epochs.
    """

    groups: Tensor  # [levels, E] int64: the group of each emotion at each level

    def __init__(
        self,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        levels: tuple[dict[str, str], ...] | None = None,
        shares: tuple[float, ...] | None = None,
    ) -> None:
        """Take the tree and the optimizer's settings.

        Args:
            lr: learning rate of the linear layers.
            backbone_lr: learning rate of the backbone.
            betas: Adam's decay rates.
            levels: the tree above the emotions from coarse to fine, each level a mapping from emotion to group:
                [{anger: negative, fear: negative, joy: positive}]. By default positive and negative, and for
                WEBEmo's 25 emotions Parrott's seven primary groups after them (paper: 2, 6, 25).
            shares: how the epochs are shared among the stages, one number a level and one for the emotions;
                by default equally.
        """
        super().__init__()
        self.lr, self.backbone_lr, self.betas = lr, backbone_lr, betas
        self.levels = None if levels is None else tuple(levels)
        self.shares = None if shares is None else tuple(shares)
        self.stages = self.shares or (1.0,) * (1 + len(self.levels or (POLARITY,)))
        self.stage = 0

    def build(self, task: Task, backbone: Backbone) -> None:
        self.check_task(task)
        levels = default_levels(task.emotions) if self.levels is None else self.levels
        rows = _checked(levels, task.emotions)
        self.stages = self.shares or (1.0,) * (1 + len(rows))
        if len(self.stages) != 1 + len(rows) or min(self.stages) <= 0:
            raise InputError(
                f"Curriculum has shares {', '.join(map(str, self.stages))} for {1 + len(rows)} stages: give one "
                "number above 0 for each level and one for the emotions (--method.shares)"
            )
        self.backbone = backbone
        self.heads = nn.ModuleList(nn.Linear(backbone.channels, len(set(row))) for row in rows)
        self.classifier = nn.Linear(backbone.channels, len(task.emotions))
        numbers = [[sorted(set(row)).index(group) for group in row] for row in rows]
        self.register_buffer("groups", torch.tensor(numbers), persistent=False)

    def begin(self, stage: int, epoch: int, training: object) -> None:
        self.stage = stage

    def forward(self, batch: Batch) -> Tensor:
        return self.classifier(self._pooled(batch))

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "classifier": [
                {"params": list(self.backbone.parameters()), "lr": self.backbone_lr, "betas": self.betas},
                {
                    "params": [*self.heads.parameters(), *self.classifier.parameters()],
                    "lr": self.lr,
                    "betas": self.betas,
                },
            ]
        }

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        if self.stage < len(self.heads):
            logits, label = self.heads[self.stage](self._pooled(batch)), self.groups[self.stage][batch.emotion]
        else:
            logits, label = self(batch), batch.emotion
        yield "classifier", {"classifier": losses.recognition(logits, label)}

    def _pooled(self, batch: Batch) -> Tensor:
        return self.backbone(batch.images).mean(dim=(2, 3))  # [B, C]


def default_levels(emotions: tuple[str, ...]) -> tuple[Level, ...]:
    """The built-in tree above `emotions`: their sign and, above WEBEmo's 25, Parrott's primary emotions.

    Raises InputError for an emotion in neither.
    """
    unknown = [emotion for emotion in emotions if emotion not in POLARITY]
    if unknown:
        raise InputError(
            f"Curriculum has no place for {', '.join(unknown)} in its own tree: give one with --method.levels "
            "'[{EMOTION: GROUP, ...}, ...]', from coarse to fine"
        )
    grouped = {PRIMARY.get(emotion) for emotion in emotions}
    return (POLARITY, PRIMARY) if None not in grouped and len(grouped) < len(emotions) else (POLARITY,)


def _checked(levels: tuple[Level, ...], emotions: tuple[str, ...]) -> list[list[str]]:
    """The groups of all `emotions`, a row a level."""
    if not levels:
        raise InputError(
            "Curriculum has no level above the emotions (--method.levels is empty): name one, or train ERM"
        )
    rows: list[list[str]] = []
    for at, level in enumerate(levels, 1):
        lacking = [emotion for emotion in emotions if emotion not in level]
        if lacking:
            raise InputError(
                f"level {at} of Curriculum has no group for {', '.join(lacking)}: add it (--method.levels)"
            )
        rows.append([str(level[emotion]) for emotion in emotions])
        if len(set(rows[-1])) < 2:
            raise InputError(
                f"level {at} of Curriculum puts all emotions into {rows[-1][0]!r}, and there is nothing to learn: give "
                "it two groups or more (--method.levels)"
            )
    for at, (coarse, fine) in enumerate(pairwise([*rows, list(emotions)]), 1):
        parents = dict(zip(fine, coarse, strict=True))
        torn = [name for name, parent in zip(fine, coarse, strict=True) if parents[name] != parent]
        if torn:
            raise InputError(
                f"the levels of Curriculum are no tree: {torn[0]!r} of level {at + 1} lies in two groups of level "
                f"{at}; list them from coarse to fine (--method.levels)"
            )
    return rows
