"""The page of results says what the kept histories say."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
#: A figure of each paper, of the quick ones; `make figures` draws all.
SOME = ["cost", "dormant_neurons"]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "analyses"))
    return importlib.import_module("results")


def test_the_page_says_what_the_histories_say(results: ModuleType) -> None:
    assert results.main(["--check", "--only", *SOME]) == results.PAGE


def test_a_number_that_the_histories_do_not_hold_is_found(
    results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = results.PAGE.read_text(encoding="utf-8")
    begun = page.index("<!-- draw dormant_neurons")
    place = page.index("| 10 |", begun)
    changed = tmp_path / "results.md"
    changed.write_text(page[:place] + "| 11 |" + page[place + 6 :], encoding="utf-8")
    monkeypatch.setattr(results, "PAGE", changed)
    with pytest.raises(SystemExit, match="does not say what its histories say"):
        results.main(["--check", "--only", "dormant_neurons"])


def test_every_picture_of_the_page_is_there_and_every_script_is_on_it(results: ModuleType) -> None:
    page = results.PAGE.read_text(encoding="utf-8")
    drawn = {block[1].split()[0] for block in results.BLOCK.findall(page)}
    scripts = {
        path.stem
        for path in (ROOT / "analyses").glob("*.py")
        if "present(" in path.read_text(encoding="utf-8") and path.stem != "present"
    }
    assert drawn == scripts
    for image in results.PAGE.parent.glob("images/results/*.png"):
        assert f"images/results/{image.name}" in page


def test_a_small_picture_keeps_the_colours_of_the_methods(
    results: ModuleType, tmp_path: Path
) -> None:
    style = importlib.import_module("style")
    own = [results.mpl.colors.to_rgb(colour) for _, colour, _ in style.METHODS.values()]
    # A patch of each method's colour in a picture that is full of others, on white.
    ramp = np.linspace(0, 255, 300).astype(np.uint8)
    pixels = np.stack(
        np.broadcast_arrays(ramp[:, None], ramp[None, :], ramp[::-1, None]), -1
    ).copy()
    pixels[250:] = 255
    for number, colour in enumerate(own):
        pixels[260:270, 12 * number : 12 * number + 10] = np.round(np.array(colour) * 255)
    Image.fromarray(pixels).save(tmp_path / "large.png")
    results.smaller(tmp_path / "large.png", tmp_path / "small.png")
    small = np.asarray(Image.open(tmp_path / "small.png").convert("RGB"))
    assert (small[250:] == pixels[250:]).all()
    assert np.abs(small[:250].astype(int) - pixels[:250]).max() < 64
