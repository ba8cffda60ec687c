"""Host models of context-aware emotion recognition, and the methods that train them alone.

A host turns a batch into a joint feature h of person and context, [B, width]; a linear layer on h makes it a method
(`CAERNet`, `EMOTNet`), and `CCIM` and `CLEF` take the same h. Both keep the streams, the fusion and the widths of
their papers, with the backbone that `emodo train` is given in place of the papers' encoders, once for each stream and
each from the same pretrained weights. (The papers' released weights differ between the streams: ImageNet for the
person, Places365 for the scene, or none at all.)
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from emodo.methods.base import Method, Terms
from emodo.methods.recognition import Recognition, Several
from emodo.networks import Backbone
from emodo.records import Batch, InputError, Task, Training, View

HostName = Literal["caernet", "emotnet", "plain"]


class Host(nn.Module, ABC):
    """A host model up to its joint feature.

    width: size of the joint feature. views: what it looks at beside the person's crop.
    """

    views: ClassVar[tuple[View, ...]] = ()
    width: int

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Joint feature h, [B, width]."""


class PlainHost(Host):
    """The backbone with global average pooling, as in ERM: the joint feature is as wide as the backbone."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.width = backbone.channels

    def forward(self, batch: Batch) -> Tensor:
        """Pooled features of `batch.images`, [B, C]."""
        return _pooled(self.backbone(batch.images))


class CAERNetHost(Host):
    """Person and masked context in two streams, weighed against each other (Lee et al., ICCV 2019, CAER-Net).

    The context stream attends to places: its feature is the mean over the grid with the weights of a softmax over all
    positions. Fusion is adaptive: each stream's feature gives a number, their softmax weighs the two.
    """

    views: ClassVar[tuple[View, ...]] = ("context",)

    def __init__(self, backbone: Backbone, width: int, dropout: float) -> None:
        super().__init__()
        channels, hidden = backbone.channels, 128  # the paper's width of both attention nets
        self.width = width
        self.person_backbone = backbone
        self.context_backbone = copy.deepcopy(backbone)
        self.place = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, 1, 1, bias=False),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 3, 1, 1),
        )
        self.person_weight = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.context_weight = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.fusion = nn.Sequential(nn.Linear(2 * channels, width), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, batch: Batch) -> Tensor:
        """Joint feature of `batch.images` and `batch.context`, [B, width]."""
        assert batch.context is not None
        person = _pooled(self.person_backbone(batch.images))  # [B, C]
        around = self.context_backbone(batch.context)  # [B, C, h, w]
        places = self.place(around).flatten(1).softmax(dim=1)  # [B, h * w]
        context = torch.einsum("bcp,bp->bc", around.flatten(2), places)
        weights = torch.cat([self.person_weight(person), self.context_weight(context)], dim=1).softmax(dim=1)
        return self.fusion(torch.cat([weights[:, :1] * person, weights[:, 1:] * context], dim=1))


class EMOTNetHost(Host):
    """Body and whole image in two streams, pooled, joined and reduced (Kosti et al., CVPR 2017: EMOTIC's baseline)."""

    views: ClassVar[tuple[View, ...]] = ("whole",)

    def __init__(self, backbone: Backbone, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.person_backbone = backbone
        self.whole_backbone = copy.deepcopy(backbone)
        self.fusion = nn.Sequential(nn.Linear(2 * backbone.channels, width), nn.ReLU(), nn.Dropout(dropout))

    def forward(self, batch: Batch) -> Tensor:
        """Joint feature of `batch.images` and `batch.whole`, [B, width]."""
        assert batch.whole is not None
        person, whole = self.person_backbone(batch.images), self.whole_backbone(batch.whole)
        return self.fusion(torch.cat([_pooled(person), _pooled(whole)], dim=1))


HOSTS: dict[HostName, type[Host]] = {"caernet": CAERNetHost, "emotnet": EMOTNetHost, "plain": PlainHost}
WIDTHS = {"caernet": 128, "emotnet": 256}  # of the joint feature, as the papers and CCIM have it


def views_of(host: str) -> tuple[View, ...]:
    """What a host looks at beside the person; nothing for a name that `create_host` will refuse."""
    return next((found.views for name, found in HOSTS.items() if name == host), ())


def create_host(name: str, backbone: Backbone, width: int | None, dropout: float) -> Host:
    """Create a host on `backbone`, which becomes its person stream; further streams start as copies of it.

    width: of the joint feature; None takes the papers' (128, 256), and `plain` has the backbone's and no other.
    dropout: on the joint feature.

    Raises InputError for an unknown name, or a width or dropout that cannot be.
    """
    if name not in HOSTS:
        raise InputError(f"no host model is called {name!r}: take {', '.join(HOSTS)}")
    if not 0 <= dropout < 1:
        raise InputError(f"the host's dropout is {dropout}: it must be 0 or more, and less than 1")
    if name == "plain":
        if width is not None:
            raise InputError(f"the host `plain` is as wide as the backbone ({backbone.channels}): leave its width out")
        return PlainHost(backbone)
    width = WIDTHS[name] if width is None else width
    if width < 1:
        raise InputError(f"the width of the host's joint feature is {width}: it must be 1 or more")
    return (CAERNetHost if name == "caernet" else EMOTNetHost)(backbone, width, dropout)


class Hosted(Method):
    """A host model and what stands on its joint feature, trained together in one phase."""

    host_model: Host
    lr: float
    backbone_lr: float
    betas: tuple[float, float]

    def phases(self) -> dict[str, list[dict[str, Any]]]:
        deep = [p for part in self.modules() if isinstance(part, Backbone) for p in part.parameters()]
        known = {id(p) for p in deep}
        rest = [p for p in self.parameters() if id(p) not in known]
        return {
            "classifier": [
                {"params": deep, "lr": self.backbone_lr, "betas": self.betas},
                {"params": rest, "lr": self.lr, "betas": self.betas},
            ]
        }


class _Alone(Hosted):
    """A host model with a linear layer on its joint feature."""

    multilabel: ClassVar[bool] = True
    loss: Several | None

    def __init__(
        self,
        width: int,
        dropout: float,
        lr: float,
        backbone_lr: float,
        betas: tuple[float, float],
        loss: Several | None,
    ) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        self.lr, self.backbone_lr, self.betas, self.loss = lr, backbone_lr, betas, loss

    def _build(self, task: Task, backbone: Backbone, host: HostName) -> None:
        self.check_task(task)
        self.host_model = create_host(host, backbone, self.width, self.dropout)
        self.head = nn.Linear(self.host_model.width, len(task.emotions))
        self.recognition = Recognition(task, self.loss)

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        self.recognition.begin(training)

    def forward(self, batch: Batch) -> Tensor:
        return self.head(self.host_model(batch))

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        yield "classifier", {"classifier": self.recognition(self(batch), batch.emotion)}


class CAERNet(_Alone):
    """A two-stream host in the style of CAER-Net: person and masked context, adaptively fused."""

    views = CAERNetHost.views

    def __init__(
        self,
        width: int = 128,
        dropout: float = 0.5,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        loss: Several | None = None,
    ) -> None:
        """Take the hyper-parameters.

        Args:
            width: size of the joint feature (paper and CCIM: 128).
            dropout: share of the joint feature that is dropped in training (paper's implementations: 0.5).
            lr: learning rate of all but the backbones (as for the other methods: 2e-4).
            backbone_lr: learning rate of both backbones.
            betas: Adam's decay rates.
            loss: where a row may hold several emotions: `bce` (default), `discrete` or `discrete_batch`, as in ERM.
        """
        super().__init__(width, dropout, lr, backbone_lr, betas, loss)

    def build(self, task: Task, backbone: Backbone) -> None:
        self._build(task, backbone, "caernet")


class EMOTNet(_Alone):
    """A two-stream host in the style of EMOT-Net: body and whole image, joined."""

    views = EMOTNetHost.views

    def __init__(
        self,
        width: int = 256,
        dropout: float = 0.5,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        loss: Several | None = None,
    ) -> None:
        """Take the hyper-parameters.

        Args:
            width: size of the joint feature (paper and CCIM: 256).
            dropout: share of the joint feature that is dropped in training (paper's implementations: 0.5).
            lr: learning rate of all but the backbones (as for the other methods: 2e-4).
            backbone_lr: learning rate of both backbones.
            betas: Adam's decay rates.
            loss: where a row may hold several emotions: `bce` (default), `discrete` or `discrete_batch`, as in ERM.
        """
        super().__init__(width, dropout, lr, backbone_lr, betas, loss)

    def build(self, task: Task, backbone: Backbone) -> None:
        self._build(task, backbone, "emotnet")


def _pooled(features: Tensor) -> Tensor:
    return features.mean(dim=(2, 3))
