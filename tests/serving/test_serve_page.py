"""The page in a browser: what a visitor does, and what is then seen."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import emodo

pytest.importorskip("gradio")
BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="chromium and chromedriver are not here (Debian: chromium, chromium-driver)"
)

OVERFLOWING = """
return [...document.querySelectorAll('body *')].filter(element => {
  const box = element.getBoundingClientRect();
  return box.width > 1 && box.right > document.documentElement.clientWidth + 1;
}).map(element => element.outerHTML.slice(0, 120));
"""


# The site, in a process of its own. It finds two faces in wide pictures, and none in others.
SITE = """
import sys
from pathlib import Path
import uvicorn
from emodo.detectors import Face
from emodo.serving import page, server
from emodo.serving.models import load_models

class Found:
    name = "pretended"
    def __call__(self, image):
        return [Face((0, 0, 40, 40)), Face((50, 10, 70, 30))] if image.width > image.height else []

page.EVERY, page.OLDER, page.AFTER = 1, 4, 2
folder, *runs = map(Path, sys.argv[1:])
models = load_models(runs, "fp32", "cpu", 4_000_000)
app = server.application(models, Found(), folder, most_bytes=2_000_000)
listener = server._listening("127.0.0.1", 0)
print(listener.getsockname()[1], flush=True)
server._run(app, listener)
"""


@pytest.fixture(scope="module")
def site(trained: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    folder = tmp_path_factory.mktemp("uploads")
    words = [sys.executable, "-c", SITE, folder, *trained]
    environment = os.environ | {"PYTHONPATH": str(Path(emodo.__file__).parents[1])}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout
            yield SimpleNamespace(address=f"http://127.0.0.1:{process.stdout.readline().strip()}/", folder=folder)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert said == ""  # no warning, no traceback


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    for switch in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(switch)
    for switch in (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    ):  # a camera of moving colours
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture
def visit(browser: Any, site: SimpleNamespace) -> Iterator[Visit]:
    page = Visit(browser, site)
    yield page
    severe = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    asked = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    addresses = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    assert not severe
    assert len(addresses) > 20
    assert not [url for url in addresses if not url.startswith((site.address, "data:", "blob:", "chrome"))]


class Visit:
    """One visitor's look at the page."""

    def __init__(self, browser: Any, site: SimpleNamespace, width: int = 1280) -> None:
        self.browser, self.site = browser, site
        self.resize(width)
        browser.get("about:blank")  # leaving a page ends its open requests, which it calls errors
        browser.get_log("browser"), browser.get_log("performance")
        browser.get(site.address)
        self.until(lambda: len(self.cards) == 2)

    def resize(self, width: int) -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def find(self, selector: str) -> list[Any]:
        return self.browser.find_elements("css selector", selector)

    def until(self, seen: Callable[[], bool], seconds: float = 30) -> None:
        """Wait until something is seen; elements may be replaced meanwhile."""
        from selenium.common.exceptions import StaleElementReferenceException
        from selenium.webdriver.support.wait import WebDriverWait

        WebDriverWait(self.browser, seconds, 0.1, [StaleElementReferenceException]).until(lambda _: seen())

    @property
    def said(self) -> str:
        return self.find("#answers")[0].text

    @property
    def cards(self) -> list[str]:
        return [card.text for card in self.find("#answers section")]

    def upload(self, file: Path) -> None:
        self.find("#upload input[type=file]")[0].send_keys(str(file))

    def choose(self, label: str) -> None:
        self.browser.find_element("xpath", f"//label[normalize-space()='{label}']").click()

    def press(self, label: str) -> None:
        self.until(lambda: bool(self.find(f"#upload [aria-label='{label}']")))
        self.find(f"#upload [aria-label='{label}']")[0].click()

    def slide(self, key: str) -> None:
        self.find("#strength input[type=range]")[0].send_keys(key)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "wide.jpg"
    Image.effect_mandelbrot((90, 50), (-2, -1, 1, 1), 50).convert("RGB").save(file)
    return file


def test_it_begins_with_a_drawn_face_and_both_runs(visit: Visit) -> None:
    erm, iern = visit.cards
    assert erm.startswith("ERM\n")
    assert "One answer: it does not average over strata." in erm
    assert iern.startswith("IERN\n")
    assert "the average over 3 strata" in iern
    assert [heading.text for heading in visit.find("#answers h5")] == ["blue", "dim", "gray"]
    assert "As it is; it shows happiness. The whole picture is predicted." in visit.said
    assert len(visit.find("#answers table")) == 5  # ERM's, IERN's average and its three strata
    for row in visit.find("#answers tbody tr"):
        assert re.fullmatch(r"[a-z]+\n\d+ %", row.text)
    assert visit.find("#strength input[type=range]")[0].accessible_name


def test_an_uploaded_picture_is_predicted_and_not_kept(visit: Visit, wide: Path) -> None:
    visit.upload(wide)
    visit.until(lambda: "2 faces were found; number 1 is predicted." in visit.said)
    assert "What the model sees" in visit.said
    assert [face.text for face in visit.find("#answers .face")] == ["1", "2"]
    visit.until(lambda: not [path for path in visit.site.folder.rglob("*.jp*g") if path.is_file()])
    first = visit.cards
    visit.choose("face 2")
    visit.until(lambda: "number 2 is predicted" in visit.said)
    assert visit.cards != first
    visit.choose("the whole picture")
    visit.until(lambda: "and the whole picture is predicted." in visit.said)
    assert "What the model sees" not in visit.said


def test_the_slider_changes_the_picture_and_shows_what_has_moved(visit: Visit) -> None:
    from selenium.webdriver.common.keys import Keys

    before, picture = visit.cards, visit.find("#answers img")[0].get_attribute("src")
    visit.choose("Darker")
    visit.slide(Keys.END)
    visit.until(lambda: "0.30 times as bright" in visit.said)
    assert all(re.search(r"\d+ % of the probability has moved to other emotions", card) for card in visit.cards)
    assert visit.find("#answers img")[0].get_attribute("src") != picture
    assert len(visit.find("#answers i")) == 12  # where each bar of the two runs was
    visit.choose("Gray")
    visit.until(lambda: "Without 100% of its colour" in visit.said)
    visit.slide(Keys.HOME)
    visit.until(lambda: "As it is" in visit.said)
    assert visit.cards == before


def test_a_drawn_face_can_be_chosen(visit: Visit) -> None:
    visit.find("#examples button")[3].click()
    visit.until(lambda: "it shows anger" in visit.said)
    assert len(visit.cards) == 2


def test_a_picture_can_be_pasted(visit: Visit) -> None:
    visit.browser.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    copied = """
    const done = arguments[0], canvas = document.createElement('canvas');
    canvas.width = 80; canvas.height = 40; canvas.getContext('2d').fillRect(9, 9, 20, 20);
    window.focus();
    canvas.toBlob(blob => navigator.clipboard.write([new ClipboardItem({'image/png': blob})])
      .then(() => done('copied'), error => done(String(error))));
    """
    assert visit.browser.execute_async_script(copied) == "copied"
    visit.press("Paste from clipboard")
    visit.until(lambda: "2 faces were found" in visit.said)


def test_a_picture_can_be_taken_by_the_camera(visit: Visit) -> None:
    visit.press("Capture from camera")
    visit.until(lambda: bool(visit.find("#upload [title='grant webcam access'] button")))
    visit.find("#upload [title='grant webcam access'] button")[0].click()
    shown = "const video = document.querySelector('#upload video'); return video && video.currentTime > 0.5"
    visit.until(lambda: visit.browser.execute_script(shown))
    visit.press("capture photo")
    visit.until(lambda: "2 faces were found" in visit.said)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("page.jpg", b"<!doctype html>", "The file is no JPEG, PNG or WebP picture."),
        ("empty.png", b"", "The file is empty (zero bytes)."),
    ],
)
def test_a_bad_file_is_told_and_the_next_is_taken(
    visit: Visit, wide: Path, tmp_path: Path, name: str, data: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(data)
    visit.upload(tmp_path / name)
    visit.until(lambda: sentence in visit.said)
    assert visit.find("#answers [role=alert]")
    visit.upload(wide)
    visit.until(lambda: "2 faces were found" in visit.said)


def test_a_picture_of_too_many_pixels_is_told(visit: Visit, tmp_path: Path) -> None:
    Image.new("RGB", (2100, 2000)).save(tmp_path / "large.png")
    visit.upload(tmp_path / "large.png")
    visit.until(lambda: "The picture has 2,100 x 2,000 pixels: at most 4,000,000 are taken." in visit.said)


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_overflows(browser: Any, site: SimpleNamespace, wide: Path, width: int) -> None:
    page = Visit(browser, site, width)
    page.upload(wide)
    page.until(lambda: "2 faces were found" in page.said)
    assert browser.execute_script(OVERFLOWING) == []


def test_too_large_an_upload_is_told(browser: Any, site: SimpleNamespace, tmp_path: Path) -> None:
    page = Visit(browser, site)
    (tmp_path / "large.jpg").write_bytes(bytes(2_100_000))
    page.upload(tmp_path / "large.jpg")
    page.until(lambda: any("exceed the maximum allowed size" in toast.text for toast in page.find(".toast-body")))
    assert len(page.cards) == 2


def test_an_upload_that_nobody_asks_about_is_removed_and_the_drawn_faces_stay(
    browser: Any, site: SimpleNamespace, wide: Path
) -> None:
    import httpx

    with httpx.Client(base_url=site.address) as client:
        [path] = client.post("gradio_api/upload", files={"files": wide.read_bytes()}).json()
        assert client.post("gradio_api/upload", files={"files": wide.read_bytes()}).json() == [path]
    page = Visit(browser, site)
    page.until(lambda: not Path(path).exists())
    assert str(site.folder) in path
    loaded = "return [...document.querySelectorAll('#examples img')].map(image => image.naturalWidth)"
    browser.refresh()
    page.until(lambda: browser.execute_script(loaded) == [224] * 6)


def test_the_page_answers_programs_too(site: SimpleNamespace, wide: Path) -> None:
    import httpx

    with httpx.Client(base_url=site.address) as client:
        answer = client.post("predict", files={"file": wide.read_bytes()})
        assert (answer.status_code, answer.json()["error"]) == (200, None)
        large = client.post("predict", files={"file": io.BytesIO(bytes(2_100_000))})
        assert large.status_code == 413
        assert large.json()["error"] == "The request is larger than 2 MB: send a smaller picture."
        uploaded = client.post("gradio_api/upload", files={"files": io.BytesIO(bytes(2_100_000))})
        assert uploaded.status_code == 413
