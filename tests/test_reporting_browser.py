"""The page in a browser: nothing goes wrong, nothing is loaded, all is visible and reachable, nothing overflows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emodo import sensitivity
from emodo.reporting import report

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="chromium and chromedriver are not here (Debian: chromium, chromium-driver)"
)

NAME = "<script>document.title=1<img src=x onerror=document.title=2>"
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
const texts = 'h1, h2, h3, h4, p, a, li, td, th, small, caption, figcaption, summary, pre, text';
for (const element of document.querySelectorAll(texts)) {
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
    """The report of two trained runs and a sweep, whose images have names that would be scripts."""
    folder = tmp_path_factory.mktemp("page") / "all"
    shutil.copytree(trained[0].parent, folder)
    manifest = folder / "faces" / "fold1.csv"
    rows = pd.read_csv(manifest, dtype=str)
    renamed = {path: str(Path(path).with_name(NAME + Path(path).name)) for path in rows["path"]}
    for path, name in renamed.items():
        (folder / "faces" / path).rename(folder / "faces" / name)
    rows.assign(path=rows["path"].map(renamed)).to_csv(manifest, index=False)
    runs = [folder / run.name for run in trained]
    for run in runs:
        predictions = pd.read_parquet(run / "predictions.parquet")
        predictions.assign(path=predictions["path"].map(renamed)).to_parquet(run / "predictions.parquet")
        config = (run / "config.yaml").read_text(encoding="utf-8")
        (run / "config.yaml").write_text(config.replace(str(trained[0].parent), str(folder)), encoding="utf-8")
    (folder / "sweep.json").write_text(json.dumps(swept()), encoding="utf-8")
    made = report(runs, folder / "report.html", sweep=folder, accelerator="cpu")
    assert made is not None
    return made


def swept() -> dict[str, Any]:
    values = [1e-4, 1e-3, 1e-2]
    settings = [
        sensitivity.row({"method.lr": value}, {"test": {0: {"f": {"n": 9, "accuracy": 0.5 + at / 10}}}}, ["f"])
        | {"runs": "", "seconds": 1.0, "failures": []}
        for at, value in enumerate(values)
    ]
    told = {"kind": "grid", "method": "IERN", "varied": {"method.lr": values}, "folds": ["f"], "seeds": [0]}
    return told | {"parts": ["test"], "settings": settings, "best": []}


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for switch in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get(page.as_uri())
        yield driver
    finally:
        driver.quit()


def look(browser: Any, width: int, media: str = "screen", theme: str = "light") -> None:
    """Show the page anew at this width, on this medium and in this theme."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": theme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})
    browser.refresh()


def test_nothing_goes_wrong_and_nothing_is_loaded(browser: Any, page: Path) -> None:
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    # The log has begun before the page was opened, with the browser's own empty tab.
    assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
    assert page.stat().st_size < 5_000_000
    assert browser.title == "emodo report: ERM, IERN"  # no name of an image has run
    assert NAME in browser.find_element("tag name", "main").text
    assert not browser.find_elements("css selector", "script, img:not([src^='data:'])")


def test_every_section_and_every_figure_is_there_and_visible(browser: Any) -> None:
    look(browser, 1280)
    headings = [heading.text for heading in browser.find_elements("tag name", "h2")]
    assert headings == [
        "Verdict",
        "What a model could cheat with",
        "Comparison",
        "Images",
        "Emotions in each stratum",
        "Accuracy in each stratum",
        "Confusion of emotions",
        "Context and the confounder",
        "One image under each stratum",
        "Where the network looks",
        "How sensitive the method is",
        "Training",
        "Provenance",
    ]
    links = browser.find_elements("css selector", "nav a")
    assert [link.text for link in links] == headings
    for link in links:
        assert browser.find_element("id", link.get_attribute("href").partition("#")[2]).is_displayed()
    browser.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    figures = browser.find_elements("css selector", "svg[role=img], img")
    assert len(figures) > 40
    for figure in figures:
        assert figure.is_displayed()
        assert figure.accessible_name
        assert min(figure.size.values()) > 10
    assert browser.execute_script("return [...document.images].every(image => image.naturalWidth > 0)")
    tables = browser.find_elements("tag name", "table")
    assert all(table.is_displayed() and table.accessible_name for table in tables)
    # A figure's section has its numbers as a table.
    for section in browser.find_elements("tag name", "section"):
        assert not section.find_elements("tag name", "figure") or section.find_elements("tag name", "table")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows(browser: Any, width: int) -> None:
    look(browser, width)
    browser.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script(OVERFLOWING) == []
    # What is wider scrolls in a box that the keyboard reaches.
    boxes = browser.find_elements("css selector", ".wide")
    assert len(boxes) > 20
    assert {box.get_attribute("tabindex") for box in boxes} == {"0"}
    assert all(box.accessible_name for box in boxes)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_can_be_read(browser: Any, theme: str) -> None:
    look(browser, 1280, theme=theme)
    browser.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 23, 27)"}[theme]
    assert browser.execute_script(CONTRAST) == []


def test_the_keyboard_goes_to_the_content_and_shows_where_it_is(browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    look(browser, 1280)

    def press(*keys: str) -> Any:
        ActionChains(browser).send_keys(*keys).perform()
        return browser.switch_to.active_element

    skip = press(Keys.TAB)
    assert skip.text == "Skip to the content"
    assert skip.location["x"] >= 0
    assert press(Keys.ENTER).get_attribute("id") == "content"
    box = press(Keys.TAB)
    assert box.get_attribute("class") == "wide"
    assert box.value_of_css_property("outline-style") == "solid"
    assert browser.find_element("tag name", "html").get_attribute("lang") == "en"


def test_on_paper_everything_is_open_and_nothing_only_for_the_screen(browser: Any) -> None:
    look(browser, 794, "print", "dark")  # A4
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not browser.find_element("tag name", "nav").is_displayed()
    hidden = "return [...document.querySelectorAll('details table')].filter(table => !table.getClientRects().length)"
    assert browser.execute_script(hidden) == []
    assert browser.execute_script(CONTRAST) == []
