"""Faces a second on one core, drawn alone and with saving: python benchmarks/render_faces.py [SIZE ...]"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from emodo.synthetic.faces import (
    EMOTIONS,
    PEAK,
    SOURCES,
    draw_identity,
    draw_scene,
    draw_units,
    generate,
    render,
)

SUBJECTS = 8


def draw_all(size: int) -> None:
    for source in SOURCES:
        for subject in range(SUBJECTS):
            for emotion in EMOTIONS:
                for frame in range(len(PEAK)):
                    units = draw_units(0, source, subject, emotion, frame, (0.6, 1.0), 0.12)
                    scene = draw_scene(0, source, subject, emotion, frame, 1.0)
                    render(draw_identity(0, source, subject), scene, units, size)


def main() -> None:
    count = len(SOURCES) * SUBJECTS * len(EMOTIONS) * len(PEAK)
    for size in [int(word) for word in sys.argv[1:]] or [64, 224]:
        start = time.process_time(), time.perf_counter()
        draw_all(size)
        drawn = time.process_time() - start[0], time.perf_counter() - start[1]
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time(), time.perf_counter()
            generate(Path(folder, "faces"), subjects=SUBJECTS, size=size)
            saved = time.process_time() - start[0], time.perf_counter() - start[1]
        print(
            f"{size} x {size}: drawn {count / drawn[1]:.0f} faces/s ({count / drawn[0]:.0f} per CPU second), "
            f"with saving {count / saved[1]:.0f} faces/s ({count / saved[0]:.0f} per CPU second)"
        )


if __name__ == "__main__":
    main()
