"""Backbones, and the parts of IERN as Table 5 of the paper lists them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emodo import weights
from emodo.records import InputError

Block = Literal["released", "table5"]
Statistics = Literal["stratum", "pooled"]
Initialisation = Literal["normal", "default"]


@contextmanager
def frozen(*modules: nn.Module) -> Generator[None]:
    """Build a graph in which the weights of `modules` are constants: gradients pass through, none arrive."""
    trainable = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def evaluating(module: nn.Module) -> Generator[None]:
    """Run `module` as in prediction, without gradients, and leave every part in the mode in which it was."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def initialise(module: nn.Module, how: Initialisation) -> None:
    """Initialise as the released code does ("normal": N(0, 0.02), BatchNorm weight N(1, 0.02)), or leave as is."""
    if how == "default":
        return
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.normal_(part.weight, 0.0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d | StratumNorm):
            nn.init.normal_(part.weight, 1.0, 0.02)
            nn.init.zeros_(part.bias)


def channels_last(module: nn.Module) -> None:
    """Lay out every weight of rank 4 with its channels last; others, as masks of a folded Swin, stay as they are."""
    for tensor in chain(module.parameters(), module.buffers()):
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)


def fold_batchnorm(module: nn.Module) -> nn.Module:
    """A copy of `module` for prediction, each BatchNorm2d folded into the convolution before it.

    A module that torch.fx cannot trace is returned as it is: slower, and just as right.
    """
    from torch.fx.experimental.optimization import fuse
    from torch.fx.proxy import TraceError

    try:
        return fuse(module.eval())
    except (TraceError, RuntimeError, TypeError, ValueError, AttributeError):
        return module


# ---------------------------------------------------------------------------------------- backbones


class Backbone(nn.Module):
    """A feature extractor f_b: images [B, 3, S, S] -> feature maps [B, channels, *grid].

    body: any module giving [B, C, h, w], [B, h, w, C] or tokens [B, T, C]. channels: C. grid: (h, w).
    """

    def __init__(self, body: nn.Module, channels: int, prefix_tokens: int, size: int) -> None:
        super().__init__()
        self.body = body
        self.channels = channels
        self.prefix_tokens = prefix_tokens
        training = body.training
        try:
            with torch.no_grad():
                found = self.eval().body(torch.zeros(1, 3, size, size))
        except (RuntimeError, AttributeError, TypeError, ValueError, AssertionError, IndexError) as error:
            raise InputError(
                f"the backbone gives no feature map for images of {size} pixels ({str(error).splitlines()[0]}): choose "
                "another --size or --backbone"
            ) from error
        self.train(training)
        try:
            features = self._map(found)
        except (RuntimeError, AttributeError):  # a list of maps, or tokens that are no square
            features = None
        if features is None or features.ndim != 4 or features.shape[1] != channels:
            shown = list(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
            raise InputError(
                f"the backbone gives no feature map of {channels} channels and no square of tokens, but {shown} for an "
                "image: choose another --backbone"
            )
        self.grid = (features.shape[2], features.shape[3])

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps [B, channels, h, w] before any pooling."""
        return self._map(self.body(images))

    def _map(self, features: Tensor) -> Tensor:
        if features.ndim == 3:  # tokens of a vision transformer, after its class and register tokens
            features = features[:, self.prefix_tokens :]
            side = round(features.shape[1] ** 0.5)
            return features.transpose(1, 2).unflatten(2, (side, side))
        if features.shape[1] != self.channels:  # Swin and its kin keep the channels last
            features = features.permute(0, 3, 1, 2)
        return features

    def early_stages(self) -> list[nn.Module]:
        """The parts whose outputs, [B, C, h, w], are an image at an early stage: its style is in their statistics.

        Of a timm model the last at a quarter and the last at an eighth of the input's side, of `small` the first two
        ReLUs. Raises InputError for a backbone without such stages, as a vision transformer.
        """
        if isinstance(self.body, nn.Sequential):
            relus: list[nn.Module] = [part for part in self.body.children() if isinstance(part, nn.ReLU)]
            return relus[:2]
        model = self.body.model if isinstance(self.body, _Features) else None
        names = {stage["reduction"]: stage["module"] for stage in getattr(model, "feature_info", None) or []}
        modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
        found = [modules[names[side]] for side in (4, 8) if names.get(side) in modules]
        if len(found) < 2 or getattr(model, "output_fmt", "NCHW") != "NCHW":
            raise InputError(
                "the backbone has no feature maps at a quarter and an eighth of the input's side to mix: choose a "
                "convolutional one (`small`, resnet50, convnext_tiny ...)"
            )
        return found


def create_backbone(name: str = "resnet50", size: int = 224, pretrained: bool | Path | None = None) -> Backbone:
    """Create the backbone `name` for images of `size` pixels.

    name: any timm model (all but its pooling and classifier, as in Table 5), or `small`, four convolutions for
    a CPU. pretrained: True downloads timm's weights, False starts at random, a path reads a state dict
    (.safetensors, or .pth without pickled objects); None, the default, is True for every timm model that has
    weights, as the paper starts from ImageNet.

    Raises InputError for an unknown name, weights that cannot be downloaded, or a file that does not fit.
    """
    if name == "small":
        if pretrained is True:
            raise InputError("the backbone `small` has no pretrained weights: leave --pretrained out, or pass a file")
        backbone = Backbone(small_body(), 128, 0, size)
    else:
        backbone = _timm_backbone(name, size, pretrained)
    if isinstance(pretrained, Path):
        _load(backbone.body, pretrained)
    return backbone


def small_body() -> nn.Sequential:
    """A net for CPUs and tests: stride 16, 128 channels, 0.24 million weights."""
    widths = (3, 32, 64, 128, 128)
    layers: list[nn.Module] = []
    for width_in, width in pairwise(widths):
        layers += [nn.Conv2d(width_in, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)


class _Features(nn.Module):
    """A timm model up to its last feature map."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return self.model.forward_features(images)


def _timm_backbone(name: str, size: int, pretrained: bool | Path | None) -> Backbone:
    import timm  # takes a third of a second that --help need not wait for

    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:5])
        raise InputError(
            f"no backbone is called {name!r}: take `small` or a timm model" + (f", such as {near}" if near else "")
        )
    if pretrained is None:
        pretrained = timm.is_model_pretrained(name)
    options: dict[str, Any] = {"pretrained": pretrained is True, "num_classes": 0}
    try:
        try:
            model: Any = timm.create_model(name, **options, img_size=size)
        except TypeError:  # convolutional models take any size and know no img_size
            model = timm.create_model(name, **options)
    except (OSError, RuntimeError) as error:
        if pretrained is not True:
            raise
        raise InputError(
            f"the pretrained weights of {name} could not be downloaded ({type(error).__name__}): pass a file "
            "with --pretrained WEIGHTS.safetensors, or start at random with --pretrained false"
        ) from error
    return Backbone(_Features(model), model.num_features, getattr(model, "num_prefix_tokens", 0), size)


def _load(body: nn.Module, file: Path) -> None:
    """Read a state dict into `body`; classifier weights in the file are left aside."""
    state = weights.state_dict(weights.read(file), file)
    weights.fit(body.model if isinstance(body, _Features) else body, state, file)


class ProjectedBackbone(nn.Module):
    """f_b of Table 5: a backbone, then a 1x1 convolution to `channels` (512 in the paper)."""

    def __init__(self, backbone: Backbone, channels: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Conv2d(backbone.channels, channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Base features [B, channels, h, w] of images [B, 3, S, S]."""
        return self.projection(self.backbone(images))


# ------------------------------------------------------------------------------------ parts of IERN


class ResidualBlock(nn.Module):
    """One residual block of g_e and g_c, [B, C, h, w] -> the same.

    "released": x + (Conv-BN-ReLU-Conv-BN)(x), no bias, as in the released code. "table5": x + (Conv-BN-ReLU)(x),
    as Table 5 lists it.
    """

    def __init__(self, channels: int, block: Block) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False) if block == "released" else None
        self.norm2 = nn.BatchNorm2d(channels) if block == "released" else None

    def forward(self, x: Tensor) -> Tensor:
        """x plus what the block adds to it."""
        hidden = F.relu(self.norm1(self.conv1(x)), inplace=True)
        if self.conv2 is not None and self.norm2 is not None:
            hidden = self.norm2(self.conv2(hidden))
        return x + hidden


def generator(channels: int, block: Block) -> nn.Sequential:
    """g_e or g_c of Table 5: base features [B, C, h, w] -> emotion or context features of the same shape."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, 1, 1), ResidualBlock(channels, block), ResidualBlock(channels, block)
    )


def discriminator(channels: int, classes: int, grid: tuple[int, int], head_bias: bool) -> nn.Sequential:
    """d_e or d_c of Table 5: features [B, C, *grid] -> logits [B, classes].

    The last kernel covers what the strided convolution leaves, floor(grid / 2): 3x3 at the paper's 7x7, and so
    any grid from 2x2 works. The head has a bias only with `head_bias` (the released code has none).
    LeakyReLU slopes are 0.01.
    """
    if min(grid) < 2:
        raise InputError(
            f"a feature map of {grid[0]}x{grid[1]} is too small for the discriminators: use larger "
            "images (--size) or a backbone with a smaller stride"
        )
    layers: list[nn.Module] = [nn.Conv2d(channels, channels, 4, 2, 1), nn.LeakyReLU()]
    widths = (channels, channels // 2, channels // 4, channels // 8)  # 512, 256, 128, 64
    for width_in, width in pairwise(widths):
        layers += [nn.Conv2d(width_in, width, 1), nn.LeakyReLU()]
    kernel = (grid[0] // 2, grid[1] // 2)
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], classes, kernel, bias=head_bias), nn.Flatten())


class StratumNorm(nn.Module):
    """BatchNorm of g_r, which passes each emotion feature once a stratum.

    In training every stratum's pass is normalised with that pass's own statistics. What evaluation uses differs:
    "stratum" keeps one set of running statistics a stratum; "pooled", as released, ONE running average over all
    passes, the reconstruction's included.
    """

    momentum, eps = 0.1, 1e-5
    running_mean: Tensor  # [K, C], or [1, C] where pooled
    running_var: Tensor

    def __init__(self, channels: int, strata: int, statistics: Statistics) -> None:
        super().__init__()
        self.pooled = statistics == "pooled"
        sets = 1 if self.pooled else strata
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(sets, channels))
        self.register_buffer("running_var", torch.ones(sets, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise one pass over mixed strata, [B, C, h, w]: the reconstruction of Eq. 5."""
        if self.pooled:
            return self._normalise(x, 0, self.training)
        return F.batch_norm(x, None, None, self.weight, self.bias, True, self.momentum, self.eps)

    def strata(self, x: Tensor) -> Tensor:
        """Normalise K passes at once, [K, B, C, h, w], each by itself."""
        if self.training:  # in order, as a pooled average depends on it
            return torch.stack([self._normalise(one, 0 if self.pooled else i, True) for i, one in enumerate(x)])
        scale, shift = self.affine()
        return torch.addcmul(shift[:, None, :, None, None], x, scale[:, None, :, None, None])

    def affine(self) -> tuple[Tensor, Tensor]:
        """Evaluation as x * scale + shift: both [K, C], or [1, C] where pooled."""
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        return scale, self.bias - self.running_mean * scale

    def _normalise(self, x: Tensor, i: int, training: bool) -> Tensor:
        return F.batch_norm(
            x, self.running_mean[i], self.running_var[i], self.weight, self.bias, training, self.momentum, self.eps
        )


class StratumBlock(nn.Module):
    """One residual block of g_r; the same layers as `ResidualBlock`, normalised stratum by stratum."""

    def __init__(self, channels: int, strata: int, block: Block, statistics: Statistics) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm1 = StratumNorm(channels, strata, statistics)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False) if block == "released" else None
        self.norm2 = StratumNorm(channels, strata, statistics) if block == "released" else None

    def forward(self, x: Tensor) -> Tensor:
        """One pass, [B, C, h, w]."""
        hidden = F.relu(self.norm1(self.conv1(x)), inplace=True)
        if self.conv2 is not None and self.norm2 is not None:
            hidden = self.norm2(self.conv2(hidden))
        return x + hidden

    def hidden(self, convolved: Tensor) -> Tensor:
        """What follows conv1, up to the last ReLU: [K, B, C, h, w] -> the same."""
        return F.relu(self.norm1.strata(convolved), inplace=True)

    def strata(self, x: Tensor, convolved: Tensor | None = None) -> Tensor:
        """K passes at once, [K, B, C, h, w]; `convolved` is conv1(x) where the caller has it already."""
        hidden = self.hidden(over_strata(self.conv1, x) if convolved is None else convolved)
        if self.conv2 is not None and self.norm2 is not None:
            hidden = self.norm2.strata(over_strata(self.conv2, hidden))
        return x + hidden


def over_strata(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply `conv` to [K, B, C, h, w] as one batch of K * B images."""
    return conv(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class Reconstruction(nn.Module):
    """g_r of Table 5: combines emotion features with context features.

    `forward` is one pass, for Eq. 5. `intervene` runs all strata at once, for Eq. 7 and 9, and equals K passes:
    the first convolution is linear in (emotion, context), so each half is convolved once and the halves are
    added; the first block's first convolution is linear in that sum, so it is split the same way; and what
    follows the last ReLU is linear, so pooling comes first in evaluation.
    """

    folded: Tensor | None  # [2K, C, h, w]: the strata's half after the first and after the second convolution

    def __init__(self, channels: int, strata: int, block: Block, statistics: Statistics) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * channels, channels, 3, 1, 1)
        self.blocks = nn.ModuleList(StratumBlock(channels, strata, block, statistics) for _ in range(3))
        self.register_buffer("folded", None, persistent=False)

    def fold(self, centers: Tensor) -> None:
        """Convolve the strata's half once and for all; weights and centers must not change afterwards."""
        first, *_ = (block for block in self.blocks if isinstance(block, StratumBlock))
        with torch.no_grad():
            context = self._context_half(centers)
            self.folded = torch.cat([context, first.conv1(context)])

    def _context_half(self, centers: Tensor) -> Tensor:
        return F.conv2d(centers, self.merge.weight.chunk(2, dim=1)[1], self.merge.bias, padding=1)  # [K, C, h, w]

    def forward(self, emotion: Tensor, context: Tensor) -> Tensor:
        """Rebuild base features [B, C, h, w] from emotion and context features of the same shape."""
        x = self.merge(torch.cat([emotion, context], dim=1))
        for block in self.blocks:
            x = block(x)
        return x

    def intervene(self, emotion: Tensor, centers: Tensor) -> Tensor:
        """Pooled features of every image in every stratum.

        emotion: [B, C, h, w]. centers: [K, C, h, w]. Returns [K, B, C], the mean over the grid of
        g_r(g_e(f), C_i).
        """
        first, second, last = (block for block in self.blocks if isinstance(block, StratumBlock))
        # [B, C, h, w], once for all strata; and [K, C, h, w], once for all images
        emotion = F.conv2d(emotion, self.merge.weight.chunk(2, dim=1)[0], None, padding=1)
        if self.folded is None:
            context = self._context_half(centers)
            halves = first.conv1(torch.cat([emotion, context]))
            emotion1, context1 = halves[: len(emotion)], halves[len(emotion) :]
        else:
            emotion1 = first.conv1(emotion)
            context, context1 = self.folded.chunk(2)
        x = emotion[None] + context[:, None]  # [K, B, C, h, w]
        x = first.strata(x, emotion1[None] + context1[:, None])
        x = second.strata(x)
        if self.training or last.conv2 is None or last.norm2 is None:
            return last.strata(x).mean(dim=(3, 4))
        hidden = last.hidden(over_strata(last.conv1, x))
        scale, shift = last.norm2.affine()
        return x.mean(dim=(3, 4)) + torch.addcmul(
            shift[:, None], convolved_mean(hidden, last.conv2.weight), scale[:, None]
        )


def convolved_mean(x: Tensor, weight: Tensor) -> Tensor:
    """Mean over the grid of a padded 3x3 convolution, without convolving.

    x: [K, B, C, h, w]. weight: [O, C, 3, 3]. Returns [K, B, O]. Each kernel tap meets all of the grid but one
    border row or column, so the mean is a product of nine window sums with the kernel: h * w times less work.
    """
    height, width = x.shape[-2:]
    taps = torch.kron(_tap_windows(height, x), _tap_windows(width, x)) / (height * width)  # [9, h * w]
    windows = torch.einsum("kbcp,tp->kbtc", x.flatten(3), taps)
    return windows.flatten(2) @ weight.permute(2, 3, 1, 0).flatten(0, 2)


def _tap_windows(length: int, like: Tensor) -> Tensor:
    """[3, length]: which inputs each of three kernel taps sees as it slides with a padding of one."""
    windows = like.new_ones(3, length)
    windows[0, -1] = windows[2, 0] = 0
    return windows
