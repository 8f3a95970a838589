"""The HTML of a report and of a comparison, in a real browser that has no network."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import topograph as tg

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="chromium and chromedriver are not installed"
)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.one = nn.Conv2d(12, 12, 3, padding=1)
        self.two = nn.Conv2d(12, 12, 3, padding=1)
        self.gate = nn.Linear(12, 12)
        self.a_head_with_quite_a_long_name_that_does_not_fit_any_column = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        x = x + self.two(self.one(x).relu())
        x = x.mean((2, 3))
        x = x * self.gate(x).sigmoid()
        return self.a_head_with_quite_a_long_name_that_does_not_fit_any_column(x)


def residual(density: float) -> tg.inspection.Report:
    torch.manual_seed(0)
    model = Residual()
    kept = {
        name: torch.rand(weight.shape) < density
        for name, weight in model.named_parameters()
        if weight.dim() > 1
    }
    kept["one.weight"][:2] = False  # two channels without input
    return tg.inspect(model, example_input=torch.zeros(1, 3, 8, 8), masks=kept)


def hostile() -> tg.inspection.Report:
    model = nn.Sequential()
    model.add_module(
        "<script>document[`title`]=`owned`</script><img src=//localhost/a>", nn.Linear(4, 6)
    )
    model.add_module("\u202ereversed\x1b[31m", nn.Linear(6, 3))
    return tg.inspect(model)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    sparse, sparser = residual(0.5), residual(0.3)
    return {
        "report": sparse.save(folder / "report.html"),
        "comparison": sparse.diff(sparser).save(folder / "comparison.html"),
        "hostile": hostile().save(folder / "hostile.html"),
    }


PAGES = ("report", "comparison", "hostile")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd(
        "Network.emulateNetworkConditions",
        {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
    )
    try:
        yield driver
    finally:
        driver.quit()


def show(browser: Any, page: Path, width: int = 1280, **media: str) -> None:
    """Load a page in a window so wide, with media such as scheme="dark" or kind="print"."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    scheme = {"name": "prefers-color-scheme", "value": media.get("scheme", "light")}
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"media": media.get("kind", "screen"), "features": [scheme]}
    )
    browser.get(page.as_uri())


def unfold(browser: Any) -> None:
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")


#: Every text that is seen, with the contrast of its colour against what is painted behind it.
CONTRASTS = """
const rgba = s => s.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
).reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
const behind = element => {
    for (let e = element; e; e = e.parentElement) {
        const colour = rgba(getComputedStyle(e).backgroundColor);
        if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
};
const found = [];
for (const e of document.body.querySelectorAll('*')) {
    const words = [...e.childNodes].filter(n => n.nodeType === 3 && n.data.trim());
    if (!words.length || !e.getClientRects().length) continue;
    if (['STYLE', 'title', 'desc'].includes(e.tagName)) continue;
    const style = getComputedStyle(e), inside = e instanceof SVGElement;
    const [a, b] = [light(rgba(inside ? style.fill : style.color)), light(behind(e))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), words[0].data.trim()]);
}
return found;
"""


@pytest.mark.parametrize("name", PAGES)
def test_it_loads_without_error_and_asks_for_nothing(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    browser.get_log("performance")
    browser.get_log("browser")
    show(browser, pages[name])
    unfold(browser)
    assert browser.get_log("browser") == []
    sent = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in sent
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert asked == [pages[name].as_uri()]
    assert "owned" not in browser.title


@pytest.mark.parametrize("name", PAGES)
def test_it_looks_the_same_without_scripts(browser: Any, pages: dict[str, Path], name: str) -> None:
    def picture() -> bytes:
        held = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        return base64.b64decode(held["data"])

    show(browser, pages[name])
    with_scripts = picture()
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(pages[name].as_uri())
        assert picture() == with_scripts
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert len(with_scripts) > 20_000


@pytest.mark.parametrize("key", ["ENTER", "SPACE"])
def test_every_fold_opens_by_keyboard(browser: Any, pages: dict[str, Path], key: str) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, pages["report"])
    opened = set()
    for _ in range(60):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        focused = browser.switch_to.active_element
        if focused.tag_name == "body":
            break
        if focused.tag_name == "summary":
            focused.send_keys(getattr(Keys, key))
            assert focused.find_element("xpath", "..").get_property("open")
            opened.add(focused.text.split(":")[0])
    assert {"How to read this", "Provenance", "Nodes, layer by layer"} <= opened
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length"
                                  ) == 0  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_text_stands_out_from_what_is_behind_it(
    browser: Any, pages: dict[str, Path], name: str, scheme: str
) -> None:
    show(browser, pages[name], scheme=scheme)
    unfold(browser)
    found = browser.execute_script(CONTRASTS)
    assert len(found) > 100
    assert [each for each in found if each[0] < 4.5] == []
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize("name", PAGES)
def test_drawings_and_tables_say_what_they_are(
    browser: Any, pages: dict[str, Path], name: str
) -> None:
    show(browser, pages[name])
    silent = browser.execute_script(
        "return [...document.querySelectorAll('svg:not([aria-hidden])')].filter(s =>"
        "s.getAttribute('role') !== 'img' || s.firstElementChild.tagName !== 'title' ||"
        "!s.firstElementChild.textContent).map(s => s.outerHTML.slice(0, 200))"
    )
    assert silent == []
    assert browser.execute_script(
        "return [...document.querySelectorAll('svg.net, svg.chart')].every(s => "
        "s.querySelector('desc').textContent.length > 20)"
    )
    assert browser.execute_script(
        "return document.querySelectorAll('table').length > 1 &&"
        "[...document.querySelectorAll('table')].every(t => t.caption) &&"
        "[...document.querySelectorAll('th')].every(h => ['row', 'col'].includes(h.scope)) &&"
        "[...document.querySelectorAll('tbody tr')].every(r => r.cells[0].tagName === 'TH')"
    )
    assert browser.execute_script("return document.documentElement.lang") == "en"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_runs_over_the_edge(
    browser: Any, pages: dict[str, Path], name: str, width: int
) -> None:
    show(browser, pages[name], width)
    unfold(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    boxes = browser.execute_script(
        "return [...document.querySelectorAll('.wide')].map(b => [b.tabIndex, b.scrollWidth > "
        "b.clientWidth])"
    )
    assert all(tab == 0 for tab, _ in boxes)
    if width == 390:
        assert any(wider for _, wider in boxes)


def test_print_is_dark_on_white_with_its_folds_open(browser: Any, pages: dict[str, Path]) -> None:
    show(browser, pages["report"], scheme="dark", kind="print")
    ink, paper = browser.execute_script(
        "const s = getComputedStyle(document.querySelector('.topograph'));"
        "return [s.color, s.backgroundColor]"
    )
    assert (ink, paper) == ("rgb(28, 36, 48)", "rgb(255, 255, 255)")
    assert browser.execute_script(
        "return [...document.querySelectorAll('.paper li, .paper td')].every("
        "e => e.getClientRects().length)"
    )


@pytest.fixture(scope="module")
def element() -> str:
    return residual(0.5)._repr_html_()


class TestInANotebook:
    """The element as JupyterLab and VS Code hold it, among what is not its own."""

    AROUND = (
        '<!doctype html><html><head><meta charset="utf-8"><style>.jp tbody tr:nth-child(odd)'
        "{{background:#f00}}.jp td{{padding:9px}}</style></head><body {body}><div class=jp>"
        "<h1>Mine</h1><p>text</p><svg width=9 height=9><text class=note>t</text></svg>"
        '<table class="tg"><caption>c</caption><tbody><tr><th>a</th><td class="bar">b</td></tr>'
        "</tbody></table><details><summary>s</summary></details>{report}</div></body></html>"
    )

    def _page(self, folder: Path, body: str, report: str) -> Path:
        page = folder / f"{len(body)}-{len(report)}.html"
        page.write_text(self.AROUND.format(body=body, report=report), encoding="utf-8")
        return page

    def test_nothing_around_it_changes(self, browser: Any, tmp_path: Path, element: str) -> None:
        script = (
            "return [...document.querySelectorAll('.jp > *:not(.topograph):not(style), "
            ".jp > *:not(.topograph) *')].filter(e => !e.closest('.topograph')).map(e => {"
            "const s = getComputedStyle(e); return [e.tagName, s.color, s.fontSize, s.padding, "
            "s.backgroundColor, s.border, s.fill, s.display, s.textAlign, s.margin]})"
        )
        show(browser, self._page(tmp_path, "", ""))
        alone = browser.execute_script(script)
        show(browser, self._page(tmp_path, "", element))
        assert browser.execute_script(script) == alone
        assert len(alone) > 8

    @pytest.mark.parametrize(
        ("body", "system", "dark"),
        [
            ('data-jp-theme-light="false"', "light", True),
            ('data-jp-theme-light="true"', "dark", False),
            ('class="vscode-dark"', "light", True),
            ('class="vscode-light"', "dark", False),
            ('class="vscode-high-contrast"', "light", True),
            ("", "dark", True),
        ],
    )
    def test_it_follows_the_theme(
        self, browser: Any, tmp_path: Path, element: str, body: str, system: str, dark: bool
    ) -> None:
        show(browser, self._page(tmp_path, body, element), scheme=system)
        unfold(browser)
        paper = browser.execute_script(
            "return getComputedStyle(document.querySelector('.topograph')).backgroundColor"
        )
        assert (paper == "rgb(18, 23, 29)") == dark
        inside = browser.execute_script(
            CONTRASTS.replace("document.body.", "document.querySelector('.topograph').")
        )
        assert [each for each in inside if each[0] < 4.5] == []
