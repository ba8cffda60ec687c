"""CCIM (Yang et al., "Context De-confounded Emotion Recognition", CVPR 2023), for any host model.

A dictionary of contexts z_1 .. z_N with their prior P(z) stands for the confounder, and the intervention is
approximated inside the softmax (NWGM): with the host's joint feature h,

    P(Y | do(X)) = softmax(head(W_h h + W_g E_z[g(z)])),  E_z[g(z)] = sum_i lambda_i z_i P(z_i)

and sigmoid in place of softmax where a row may hold several emotions (EMOTIC's 26).

The released module (ydk122024/CCIM) is for three fixed numbers of emotions; where it differs otherwise, there is an
option.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from emodo.methods.base import Terms
from emodo.methods.hosts import Hosted, HostName, create_host, views_of
from emodo.methods.recognition import Recognition, Several
from emodo.networks import Backbone
from emodo.records import Batch, InputError, Task, Training

Attention = Literal["dot_product", "additive", "none"]
Scale = Literal["prototype", "query"]
CHUNK = 8  # prototypes whose additive scores are computed at a time


class Intervention(nn.Module):
    """h -> W_h h + W_g E_z[g(z)], [B, width] -> [B, d_m].

    The weighted sum is a matrix product, [B, N] x [N, d]: no [B, N, d] is ever there. Additive attention needs tanh of
    [B, N, d_n]; it is computed for a few prototypes at a time, and again in the backward pass.

    prototypes: [N, d], z. prior: [N], P(z). Further arguments as in `CCIM`.
    """

    prototypes: Tensor
    prior: Tensor

    def __init__(
        self,
        width: int,
        prototypes: Tensor,
        prior: Tensor,
        d_m: int,
        d_n: int,
        attention: Attention,
        scale: Scale,
        use_prior: bool,
    ) -> None:
        super().__init__()
        d = prototypes.shape[1]
        self.attention: Attention = attention
        self.root = (d if scale == "prototype" else d_n) ** 0.5
        self.use_prior = use_prior
        self.register_buffer("prototypes", prototypes.detach().clone())
        self.register_buffer("prior", prior.detach().clone())
        self.joint = nn.Linear(width, d_m, bias=False)  # W_h
        self.context = nn.Linear(d, d_m, bias=False)  # W_g
        for projection in (self.joint, self.context):
            nn.init.xavier_normal_(projection.weight)  # as released
        if attention != "none":
            self.query = nn.Linear(width, d_n, bias=False)  # W_q
            self.key = nn.Linear(d, d_n, bias=False)  # W_k
        if attention == "additive":
            self.energy = nn.Linear(d_n, 1, bias=False)  # W_t
        self.register_load_state_dict_pre_hook(_same_width)

    def forward(self, h: Tensor) -> Tensor:
        """The joint feature after the intervention, [B, d_m]."""
        return self.joint(h) + self.context(self.expected(h))

    def expected(self, h: Tensor) -> Tensor:
        """E_z[g(z)] of each image, [B, d]; one for all images, [1, d], without attention."""
        weights = self.weights(h)
        return (weights * self.prior if self.use_prior else weights) @ self.prototypes

    def weights(self, h: Tensor) -> Tensor:
        """lambda, [B, N], each row a distribution; ones, [1, N], without attention."""
        if self.attention == "none":
            return torch.ones_like(self.prior)[None]
        query, keys = self.query(h), self.key(self.prototypes)  # [B, d_n], [N, d_n]
        if self.attention == "dot_product":
            scores = query @ keys.T / self.root
        else:
            full = torch.promote_types(query.dtype, torch.float32)  # exponentials need the range of fp32
            with torch.autocast(query.device.type, enabled=False):
                scores = _AdditiveScores.apply(query.to(full), keys.to(full), self.energy.weight[0].to(full))
        return scores.softmax(dim=1)


class _AdditiveScores(torch.autograd.Function):
    """W_t^T tanh(W_q h + W_k z_i) of queries, [B, d_n], keys, [N, d_n], and W_t, [d_n] -> [B, N].

    tanh(q + k) = 1 - 2 / (1 + exp(2q) exp(2k)): the exponentials are taken of B + N vectors, not of B x N, and what is
    left for each pair is a product, a sum and a reciprocal. They are computed again in the backward pass, a few
    prototypes at a time, so that a chunk stays in the cache and nothing of B x N x d_n is kept.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, energy: Tensor) -> Tensor:
        queries, keys = _exponentials(query), _exponentials(keys)
        ctx.save_for_backward(queries, keys, energy)
        return energy.sum() - 2 * torch.cat([_shares(queries, part) @ energy for part in keys.split(CHUNK)], dim=1)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (slope,) = outputs
        queries, keys, energy = ctx.saved_tensors
        to_query, to_energy = torch.zeros_like(queries), torch.zeros_like(energy)
        to_keys: list[Tensor] = []
        for part, slopes in zip(keys.split(CHUNK), slope.split(CHUNK, dim=1), strict=True):
            shares = _shares(queries, part)  # r, with tanh = 1 - 2r and its derivative 4r(1 - r)
            to_energy += slopes.sum() - 2 * torch.einsum("bn,bnd->d", slopes, shares)
            derivatives = torch.addcmul(shares, shares, shares, value=-1)
            to_query += torch.einsum("bn,bnd->bd", slopes, derivatives)
            to_keys.append(torch.einsum("bn,bnd->nd", slopes, derivatives))
        return to_query * (4 * energy), torch.cat(to_keys) * (4 * energy), to_energy


def _exponentials(x: Tensor) -> Tensor:
    """exp(2x), x at most 40 from zero: so no infinity meets a zero, and queries and keys are never that large."""
    return torch.exp(2 * x.clamp(-40, 40))


def _shares(queries: Tensor, keys: Tensor) -> Tensor:
    """1 / (1 + exp(2q) exp(2k)), [B, n, d_n]."""
    return (queries[:, None] * keys).add_(1).reciprocal_()


def _same_width(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Raise InputError where weights were trained on a dictionary of another shape."""
    assert isinstance(module, Intervention)
    stored, own = state.get(f"{prefix}prototypes"), module.prototypes
    if stored is not None and stored.shape != own.shape:
        raise InputError(
            f"the weights belong to a dictionary of {stored.shape[0]} prototypes of {stored.shape[1]} numbers, and "
            f"this one has {own.shape[0]} of {own.shape[1]}: use the confounder file that they were trained with"
        )


class ResidualHead(nn.Module):
    """The released module's head, which the paper does not describe: x + 0.3 f(x), then a linear layer.

    f: BatchNorm, linear to four times the width, GELU, dropout .5, linear back, dropout .5.
    """

    def __init__(self, width: int, emotions: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            nn.Dropout(0.5),
            nn.Linear(4 * width, width),
            nn.Dropout(0.5),
        )
        self.classifier = nn.Linear(width, emotions)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, [B, width] -> [B, emotions]."""
        if self.training and len(x) == 1:
            raise InputError("the residual head of CCIM normalises over a batch, and cannot train on batches of one")
        return self.classifier(x + 0.3 * self.layers(x))


class CCIM(Hosted):
    """Contextual Causal Intervention Module on a host model."""

    multilabel: ClassVar[bool] = True
    needs_dictionary: ClassVar[bool] = True
    host: HostName
    attention: Attention
    scale: Scale
    dictionary: Literal["given", "random"]
    loss: Several | None

    def __init__(
        self,
        host: HostName = "emotnet",
        width: int | None = None,
        dropout: float = 0.5,
        d_m: int = 128,
        d_n: int = 256,
        attention: Attention = "dot_product",
        scale: Scale = "prototype",
        use_prior: bool = True,
        residual_head: bool = False,
        dictionary: Literal["given", "random"] = "given",
        lr: float = 2e-4,
        backbone_lr: float = 1e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        loss: Several | None = None,
    ) -> None:
        """Take the hyper-parameters; the dictionary itself is the task's (`--confounder`).

        Args:
            host: model that gives the joint feature h: `caernet` (person and masked context), `emotnet` (body and
                whole image; the host of the paper's ablations) or `plain` (the backbone alone, no boxes needed).
            width: size of h; by default the host's own, 128, 256, or the backbone's for `plain`.
            dropout: share of h that the host drops in training; `plain` drops nothing.
            d_m: width of the space in which h and context are added (paper: 128).
            d_n: width of query and key (paper: 256).
            attention: lambda_i by `dot_product` (paper's default) or `additive` attention; `none` leaves lambda_i out
                (the paper's "w/o lambda"), and every image gets the same context.
            scale: dot products are divided by the root of d, a prototype's width (`prototype`: the paper's symbol,
                and the released code), or of the query's width d_n, as attention mostly is (`query`).
            use_prior: weigh the prototypes by P(z); false leaves P(z_i) out (the paper's "w/o P(z)").
            residual_head: the released module's residual block before the linear layer; the paper has none.
            dictionary: `given`, or for the paper's ablation "random Z" as many prototypes as wide, drawn from
                N(0, s^2) with s the root mean square of the given ones; drawn by the run's seed, P(z) stays.
            lr: learning rate of all but the backbones (as for the other methods: 2e-4).
            backbone_lr: learning rate of the host's backbones.
            betas: Adam's decay rates.
            loss: where a row may hold several emotions: `bce` (default), `discrete` or `discrete_batch`, as in ERM.
        """
        super().__init__()
        self.host, self.width, self.dropout = host, width, dropout
        self.d_m, self.d_n, self.attention, self.scale = d_m, d_n, attention, scale
        self.use_prior, self.residual_head, self.dictionary = use_prior, residual_head, dictionary
        self.lr, self.backbone_lr, self.betas, self.loss = lr, backbone_lr, betas, loss
        self.views = views_of(host)

    def build(self, task: Task, backbone: Backbone) -> None:
        self.check_task(task)
        assert task.confounder is not None
        prototypes, prior = task.confounder.prototypes, torch.tensor(task.confounder.prior)
        assert prototypes is not None
        _check(self, prototypes, prior)
        if self.dictionary == "random":
            prototypes = torch.randn(prototypes.shape) * prototypes.square().mean().sqrt()
        self.host_model = create_host(self.host, backbone, self.width, self.dropout)
        self.intervention = Intervention(
            self.host_model.width, prototypes, prior, self.d_m, self.d_n, self.attention, self.scale, self.use_prior
        )
        head = ResidualHead if self.residual_head else nn.Linear
        self.head = head(self.d_m, len(task.emotions))
        self.recognition = Recognition(task, self.loss)

    def begin(self, stage: int, epoch: int, training: Training) -> None:
        self.recognition.begin(training)

    def forward(self, batch: Batch) -> Tensor:
        return self.head(self.intervention(self.host_model(batch)))

    def losses(self, batch: Batch) -> Iterator[tuple[str, Terms]]:
        yield "classifier", {"classifier": self.recognition(self(batch), batch.emotion)}


def _check(method: CCIM, prototypes: Tensor, prior: Tensor) -> None:
    """Raise InputError for settings or a dictionary from which no module can be built."""
    if method.d_m < 1 or method.d_n < 1:
        raise InputError(f"CCIM has d_m {method.d_m} and d_n {method.d_n}: both must be 1 or more")
    for name, value, known in (
        ("attention", method.attention, ("dot_product", "additive", "none")),
        ("scale", method.scale, ("prototype", "query")),
        ("dictionary", method.dictionary, ("given", "random")),
    ):
        if value not in known:
            raise InputError(f"CCIM has {name} {value!r}: it can be {', '.join(known)}")
    if prototypes.ndim != 2 or len(prototypes) < 2 or len(prior) != len(prototypes) or not prototypes.isfinite().all():
        raise InputError(
            "CCIM needs two prototypes or more, [N, d] finite numbers, and a prior of N, not "
            f"{list(prototypes.shape)} and {len(prior)}: make the dictionary anew with `emodo strata`"
        )
