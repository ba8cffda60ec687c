"""Scenes a second on one core, drawn alone and with saving: python benchmarks/render_scenes.py [SIZE ...]"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from emodo.synthetic.scenes import Look, draw, generate

COUNT = 360


def main() -> None:
    for size in [int(word) for word in sys.argv[1:]] or [96, 224]:
        look = Look(size=size)
        start = time.process_time(), time.perf_counter()
        for row in range(COUNT):
            draw(0, "train", row, ("positive", "negative")[row // 12 % 2], look)
        drawn = time.process_time() - start[0], time.perf_counter() - start[1]
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time(), time.perf_counter()
            generate(Path(folder, "scenes"), images=COUNT, size=size)
            saved = time.process_time() - start[0], time.perf_counter() - start[1]
        print(
            f"{size} x {size}: drawn {COUNT / drawn[1]:.0f} scenes/s ({COUNT / drawn[0]:.0f} per CPU second), "
            f"with saving {COUNT / saved[1]:.0f} scenes/s ({COUNT / saved[0]:.0f} per CPU second)"
        )


if __name__ == "__main__":
    main()
