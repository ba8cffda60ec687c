"""The page in a browser: nothing goes wrong, nothing is loaded, all is visible and reachable, nothing overflows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emodo.reporting import report

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="Debian's chromium and chromium-driver are not here")

NAME = "<script>document.title='seen'</script>"
WIDTHS = (360, 1280)

# Elements that are wider than the page, but for those in a box that scrolls.
OVERFLOWING = """
return [...document.querySelectorAll('body *')].filter(element => {
  const box = element.getBoundingClientRect();
  return box.right > document.documentElement.clientWidth + 1 && !element.closest('.wide, .skip');
}).map(element => element.outerHTML.slice(0, 120));
"""
# The contrast of each text with what is behind it, as WCAG 2.2 counts it; cells are shaded by color-mix().
CONTRAST = """
const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
const over = (below, colour) => {
  canvas.fillStyle = `rgb(${below})`; canvas.fillRect(0, 0, 1, 1);
  canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const luminance = colour => colour.map(part => part / 255)
  .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
  .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
const ground = element => over(element.parentElement ? ground(element.parentElement) : [255, 255, 255],
  getComputedStyle(element).backgroundColor);
const found = [];
for (const element of document.querySelectorAll('h1, h2, h3, h4, p, a, li, td, th, small, caption, summary, pre, text')) {
  if (!element.textContent.trim()) continue;
  const style = getComputedStyle(element), behind = ground(element);
  const ink = over(behind, element.tagName == 'text' ? style.fill : style.color);
  const [dark, light] = [luminance(ink), luminance(behind)].sort((a, b) => a - b);
  const ratio = (light + 0.05) / (dark + 0.05);
  if (ratio < 4.5) found.push([ratio, element.outerHTML.slice(0, 120)]);
}
return found;
"""


@pytest.fixture(scope="module")
def page(trained: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two trained runs and a sweep, an image of which has a name that would be a script."""
    folder = tmp_path_factory.mktemp("page")
    for run in trained:
        copy = folder / run.name
        shutil.copytree(run, copy)
        table = pd.read_parquet(copy / "predictions.parquet")
        table["path"] = [NAME + path for path in table["path"]]
        table.to_parquet(copy / "predictions.parquet")
        manifest = pd.read_csv(run.parent / "faces" / "fold1.csv", dtype=str)
        images = run.parent / "faces"
        for path in manifest["path"]:
            (folder / NAME.replace("/", "")).mkdir(exist_ok=True)
            assert (images / path).is_file()
    return report([folder / run.name for run in trained], folder / "report.html", accelerator="cpu")
