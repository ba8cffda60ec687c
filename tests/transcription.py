"""IERN as Algorithm 1 and appendix A.2 of the paper print it: strata one after the other, no tricks.

The oracle of tests/methods/test_iern.py and the reference of the benchmarks. Its weights carry the product's
names, so that one state dict fits both.
"""

from __future__ import annotations

import copy
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from emodo.methods import IERN


class PlainBlock(nn.Module):
    def __init__(self, channels: int, released: bool, norm) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, kernel_size=3, stride=1, padding=1, bias=False)
        self.norm1 = norm(channels)
        if released:
            self.conv2 = nn.Conv2d(channels, channels, kernel_size=3, stride=1, padding=1, bias=False)
            self.norm2 = norm(channels)
        self.released = released

    def forward(self, x: Tensor, *which: int | None) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x), *which))
        if self.released:
            y = self.norm2(self.conv2(y), *which)
        return x + y


class PlainNorm(nn.Module):
    """BatchNorm with one set of running statistics, or one a stratum."""

    def __init__(self, channels: int, strata: int, pooled: bool) -> None:
        super().__init__()
        self.pooled = pooled
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(1 if pooled else strata, channels))
        self.register_buffer("running_var", torch.ones(1 if pooled else strata, channels))

    def forward(self, x: Tensor, which: int | None) -> Tensor:
        """`which`: the stratum of this pass; None in the reconstruction, which belongs to no stratum."""
        row = 0 if self.pooled else which
        if self.training:
            n = x.numel() // x.shape[1]
            mean = x.mean(dim=(0, 2, 3))
            var = ((x - mean[:, None, None]) ** 2).mean(dim=(0, 2, 3))
            if row is not None:
                with torch.no_grad():
                    self.running_mean[row] = 0.9 * self.running_mean[row] + 0.1 * mean
                    self.running_var[row] = 0.9 * self.running_var[row] + 0.1 * var * n / (n - 1)
        else:
            mean, var = self.running_mean[row], self.running_var[row]
        normal = (x - mean[:, None, None]) / torch.sqrt(var[:, None, None] + 1e-5)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


class FastNorm(PlainNorm):
    """The same in PyTorch's own kernel, so that a benchmark's reference is not slow by its BatchNorm."""

    def forward(self, x: Tensor, which: int | None) -> Tensor:
        row = 0 if self.pooled else which
        mean, var = (None, None) if row is None else (self.running_mean[row], self.running_var[row])
        return F.batch_norm(x, mean, var, self.weight, self.bias, self.training or row is None)


class PlainReconstruction(nn.Module):
    def __init__(self, channels: int, released: bool, norm) -> None:
        super().__init__()
        self.merge = nn.Conv2d(2 * channels, channels, kernel_size=3, stride=1, padding=1)
        self.blocks = nn.ModuleList(PlainBlock(channels, released, norm) for _ in range(3))

    def forward(self, emotion: Tensor, context: Tensor, which: int | None) -> Tensor:
        x = self.merge(torch.cat([emotion, context], dim=1))
        for block in self.blocks:
            x = block(x, which)
        return x


class PlainIERN(nn.Module):
    """Algorithm 1, line by line, with the options of the product that it is given."""

    def __init__(self, method: IERN, norm: type[PlainNorm] = PlainNorm) -> None:
        super().__init__()
        self.options = SimpleNamespace(**method.hyperparameters())
        channels, released = method.channels, method.block == "released"
        strata, emotions = len(method.centers), method.classifier.out_features
        backbone = copy.deepcopy(method.backbone.backbone)
        self.backbone = nn.ModuleDict(
            {"backbone": backbone, "projection": nn.Conv2d(backbone.channels, channels, kernel_size=1)}
        )

        def generator() -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels, channels, kernel_size=3, stride=1, padding=1),
                PlainBlock(channels, released, nn.BatchNorm2d),
                PlainBlock(channels, released, nn.BatchNorm2d),
            )

        def discriminator(classes: int) -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(channels, channels, kernel_size=4, stride=2, padding=1),
                nn.LeakyReLU(0.01),
                nn.Conv2d(channels, channels // 2, kernel_size=1),
                nn.LeakyReLU(0.01),
                nn.Conv2d(channels // 2, channels // 4, kernel_size=1),
                nn.LeakyReLU(0.01),
                nn.Conv2d(channels // 4, channels // 8, kernel_size=1),
                nn.LeakyReLU(0.01),
                nn.Conv2d(channels // 8, classes, kernel_size=backbone.grid[0] // 2, bias=method.head_bias),
            )

        self.emotion_generator, self.context_generator = generator(), generator()
        self.emotion_discriminator, self.context_discriminator = discriminator(emotions), discriminator(strata)
        self.reconstruction = PlainReconstruction(
            channels, released, lambda width: norm(width, strata, method.batchnorm == "pooled")
        )
        self.classifier = nn.Linear(channels, emotions)
        self.centers = nn.Parameter(torch.empty_like(method.centers))
        self.to(method.centers.dtype).load_state_dict(method.state_dict())

        lr, backbone_lr, betas = method.lr, method.backbone_lr, method.betas
        self.optimizer_dis = torch.optim.Adam(
            [*self.emotion_discriminator.parameters(), *self.context_discriminator.parameters()], lr=lr, betas=betas
        )
        self.optimizer_feat = torch.optim.Adam(
            [
                *self.emotion_generator.parameters(),
                *self.context_generator.parameters(),
                self.centers,
                *self.reconstruction.parameters(),
            ],
            lr=lr,
            betas=betas,
        )
        self.optimizer_cls = torch.optim.Adam(
            [
                {"params": list(self.backbone.parameters()), "lr": backbone_lr},
                {"params": list(self.emotion_generator.parameters()), "lr": lr},
                {"params": list(self.reconstruction.parameters()), "lr": 0.0},
                {"params": list(self.classifier.parameters()), "lr": lr},
            ],
            betas=betas,
        )

    def base(self, images: Tensor) -> Tensor:
        return self.backbone["projection"](self.backbone["backbone"](images))

    def named_grads(self, *names: str) -> dict[str, Tensor]:
        return {
            key: p.grad.clone()
            for key, p in self.named_parameters()
            if p.grad is not None and key.split(".")[0] in names
        }

    def step(self, images: Tensor, y_e: Tensor, y_c: Tensor, keep: bool = False):
        """One iteration. Returns losses by name and, with `keep`, each phase's gradients by parameter name."""
        o, losses, grads = self.options, {}, {}
        n_e, n_c = self.classifier.out_features, len(self.centers)
        # line 2
        features = self.base(images)
        emotion, context = self.emotion_generator(features), self.context_generator(features)
        rebuilt = self.reconstruction(emotion, context, None if o.batchnorm != "pooled" else 0)
        # line 3
        for net in (self.emotion_discriminator, self.context_discriminator):
            net.requires_grad_(True)
        self.optimizer_dis.zero_grad()
        losses["emotion_discriminator"] = (
            o.lambda_feature
            * o.pair_weight
            * F.cross_entropy(self.emotion_discriminator(emotion.detach()).flatten(1), y_e)
        )
        losses["context_discriminator"] = (
            o.lambda_feature
            * o.pair_weight
            * F.cross_entropy(self.context_discriminator(context.detach()).flatten(1), y_c)
        )
        (losses["emotion_discriminator"] + losses["context_discriminator"]).backward()
        if keep:
            grads["discriminators"] = self.named_grads("emotion_discriminator", "context_discriminator")
        self.optimizer_dis.step()
        # line 4
        for net in (self.emotion_discriminator, self.context_discriminator):
            net.requires_grad_(False)
        self.optimizer_feat.zero_grad()
        soft_c = torch.softmax(self.context_discriminator(emotion).flatten(1), dim=1)
        soft_e = torch.softmax(self.emotion_discriminator(context).flatten(1), dim=1)
        losses["emotion_generator"] = o.lambda_feature * o.pair_weight * ((soft_c - 1 / n_c) ** 2).mean()
        losses["context_generator"] = o.lambda_feature * o.pair_weight * ((soft_e - 1 / n_e) ** 2).mean()
        # the target of Eq. 5 is f_b(x) as a constant: it trains g_r, g_e and g_c
        losses["reconstruction"] = o.lambda_feature * ((rebuilt - features.detach()) ** 2).mean()
        distance = (context - self.centers[y_c]) ** 2
        distance = distance.sum(dim=(1, 2, 3)).mean() if o.center_loss == "sum" else distance.mean()
        losses["confounder"] = o.lambda_center * distance
        names = ("emotion_generator", "context_generator", "reconstruction", "confounder")
        sum(losses[name] for name in names).backward(retain_graph=True)
        if o.full_rate_centers:
            self.centers.grad /= o.lambda_center
        if keep:
            grads["features"] = self.named_grads("emotion_generator", "context_generator", "reconstruction", "centers")
        self.optimizer_feat.step()
        # lines 5 and 6
        emotion = self.emotion_generator(features)
        logits = [self.predict_in(emotion, i) for i in range(n_c)]
        # line 7
        self.optimizer_cls.zero_grad()
        losses["classifier"] = o.lambda_classifier * F.cross_entropy(sum(logits) / n_c, y_e)
        losses["classifier"].backward()
        if keep:
            grads["classifier"] = self.named_grads("backbone", "emotion_generator", "classifier")
        self.optimizer_cls.step()
        return losses, grads

    def predict_in(self, emotion: Tensor, i: int) -> Tensor:
        """f_c(g_r(g_e(f), C_i)), [B, E]."""
        context = self.centers[i].detach().expand(len(emotion), -1, -1, -1)
        return self.classifier(self.reconstruction(emotion, context, i).mean(dim=(2, 3)))

    def predict(self, images: Tensor) -> Tensor:
        """The mean of Eq. 9 before its softmax, [B, E]."""
        emotion = self.emotion_generator(self.base(images))
        n_c = len(self.centers)
        return sum(self.predict_in(emotion, i) for i in range(n_c)) / n_c
