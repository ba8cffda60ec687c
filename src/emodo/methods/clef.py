"""CLEF (Yang et al., "Robust Emotion Recognition in Context Debiasing", CVPR 2024), on any host model.

There is no official code: this is a re-implementation from the text.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emodo import losses
from emodo.methods.base import Terms
from emodo.methods.hosts import Hosted, HostName, create_host, views_of
from emodo.networks import Backbone
from emodo.records import Batch, Task


class CLEF(Hosted):
    """Counterfactual emotion inference: what the context alone would say is taken away in prediction.

    Beside the host, whose logits are Y_e, a branch sees the image with the person masked, Y_c. Factual scores are
    Y_ce = log sigmoid(Y_c + Y_e); counterfactual ones, Y_ce*, have in place of Y_e one vector Y_e*, the same for all
    images. Training minimises CE(Y_ce) + CE(Y_ce*) + KL(Y_ce*, Y_ce); the prediction is the total indirect effect
    Y_ce - Y_ce*.

    Which gradients flow is not stated. Here, the cross-entropies train all that they are made of. The KL trains Y_e*
    alone, as in the counterfactual inference that CLEF builds on (CF-VQA, Niu et al., CVPR 2021): through Y_ce it would
    pull the factual scores to the counterfactual ones, until their difference, the prediction, vanished. Y_e* starts
    at zero, the uniform distribution over the emotions.

    Rows of several emotions are refused. Scores are log sigmoids, never above 0, so a sigmoid in the softmax's place
    would give no emotion more than one half; and the text does not say what takes that place.
    """

    host: HostName

    def __init__(
        self,
        host: HostName = "emotnet",
        width: int | None = None,
        dropout: float = 0.5,
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
    ) -> None:
        """Take the hyper-parameters.

        Args:
            host: model that gives Y_e: `caernet` (person and masked context), `emotnet` (body and whole image) or
                `plain` (the backbone alone, on the person).
            width: size of the host's joint feature; by default its own, 128, 256, or the backbone's for `plain`.
            dropout: share of the joint feature that the host drops in training; `plain` drops nothing.
            lr: learning rate of all but the backbones (as for the other methods: 2e-4).
            backbone_lr: learning rate of the backbones: the host's, and the context branch's, which starts as a copy.
            betas: Adam's decay rates.
        """
        super().__init__()
        self.host, self.width, self.dropout = host, width, dropout
        self.lr, self.backbone_lr, self.betas = lr, backbone_lr, betas
        self.views = (*(view for view in views_of(host) if view != "context"), "context")

    def build(self, task: Task, backbone: Backbone) -> None:
        self.check_task(task)
        emotions = len(task.emotions)
        self.context_backbone = copy.deepcopy(backbone)
        self.context_head = nn.Linear(backbone.channels, emotions)
        self.host_model = create_host(self.host, backbone, self.width, self.dropout)
        self.head = nn.Linear(self.host_model.width, emotions)
        self.absent = nn.Parameter(torch.zeros(emotions))  # Y_e*

    def forward(self, batch: Batch) -> Tensor:
        context, ensemble = self._branches(batch)
        return F.logsigmoid(context + ensemble) - F.logsigmoid(context + self.absent)

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        context, ensemble = self._branches(batch)
        factual, counterfactual = F.logsigmoid(context + ensemble), F.logsigmoid(context + self.absent)
        estimated = F.logsigmoid(context.detach() + self.absent)
        yield (
            "classifier",
            {
                "factual": losses.recognition(factual, batch.emotion),
                "counterfactual": losses.recognition(counterfactual, batch.emotion),
                "divergence": losses.divergence(estimated, factual.detach()),
            },
        )

    def _branches(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Y_c and Y_e, [B, E] each."""
        assert batch.context is not None
        pooled = self.context_backbone(batch.context).mean(dim=(2, 3))
        return self.context_head(pooled), self.head(self.host_model(batch))
