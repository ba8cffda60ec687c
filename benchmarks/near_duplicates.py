"""What the perceptual hash finds among copies of generated faces: python benchmarks/near_duplicates.py"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageOps

from emodo.leakage import nearest, perceptual_hashes
from emodo.manifest import load, subject_key
from emodo.synthetic.faces import generate

EACH, NEAR = 50, (4, 8, 16, 32, 40)
Change = Callable[[Image.Image], Image.Image]


def resized(side: int) -> Change:
    return lambda image: image.resize((side, side), Image.Resampling.BICUBIC)


COPIES: dict[str, tuple[Change, str, dict[str, int]]] = {
    "JPEG of quality 85": (lambda image: image, "jpg", {"quality": 85}),
    "JPEG of quality 40": (lambda image: image, "jpg", {"quality": 40}),
    "WebP of quality 60": (lambda image: image, "webp", {"quality": 60}),
    "112 pixels": (resized(112), "png", {}),
    "448 pixels, JPEG": (resized(448), "jpg", {"quality": 80}),
    "48 pixels, JPEG": (resized(48), "jpg", {"quality": 90}),
    "gray": (lambda image: image.convert("L"), "png", {}),
    "1.3 times as bright": (lambda image: ImageEnhance.Brightness(image).enhance(1.3), "jpg", {}),
    "64 colours": (lambda image: image.quantize(64), "gif", {}),
    "cropped by 5 %": (lambda image: image.crop((11, 11, 213, 213)), "png", {}),
    "turned by 3 degrees": (lambda image: image.rotate(3, Image.Resampling.BICUBIC), "png", {}),
    "mirrored": (ImageOps.mirror, "png", {}),
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        frame = load(generate(Path(folder, "faces"), subjects=20, size=224))
        originals = perceptual_hashes(frame, Path("faces"))
        chosen = np.random.default_rng(0).choice(len(frame), EACH, replace=False)
        print(f"{len(frame)} faces of 224 pixels, {EACH} copies each; found within", *NEAR, "of 256 bits:")
        for kind, (change, suffix, options) in COPIES.items():
            files = [str(Path(folder, f"{kind} {row}.{suffix}")) for row in chosen]
            for row, file in zip(chosen, files, strict=True):
                change(Image.open(frame["file"][row])).save(file, **options)
            copies = perceptual_hashes(pd.DataFrame({"path": files, "file": files}), Path("copies"))
            apart = np.bitwise_count(copies ^ originals[chosen]).sum(axis=1)
            print(f"{kind:22}", *(f"{(apart <= near).sum():4}" for near in NEAR))
    person = pd.factorize(subject_key(frame))[0]
    for near in (*NEAR, 48):
        alike = (nearest(originals, originals, near, person, person)[0] >= 0).sum()
        print(f"faces with one of another person within {near} of 256 bits: {alike}")
    coarse = originals[:, :1]
    alike = (nearest(coarse, coarse, 4, person, person)[0] >= 0).sum()
    print(f"faces with one of another person within 4 of the first 64 bits alone: {alike}")


if __name__ == "__main__":
    main()
