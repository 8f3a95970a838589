"""Draw every figure of docs/results.md again from the kept histories, and its tables.

The page itself is the plan: between ``<!-- draw SCRIPT STUDY … -->`` and ``<!-- end -->`` stands
what ``analyses/SCRIPT.py --from-runs docs/data/STUDY …`` says. A study called ``-`` means that the
script needs no runs.

    python analyses/results.py            # pictures into docs/images/results, tables into the page
    python analyses/results.py --check    # exit status 1 where the page says something else
"""

from __future__ import annotations

import argparse
import functools
import importlib
import multiprocessing
import re
import shlex
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import matplotlib as mpl
import matplotlib.colors
import numpy as np
import style
from PIL import Image

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "results.md"
IMAGES = Path("images") / "results"
#: Pixels.
WIDTH = 1600
#: Of 255: how near a colour must be to one of the methods' own to be drawn as it.
NEAR = 8
BLOCK = re.compile(r"(<!-- draw (?P<what>.+?) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(argv: list[str] | None = None) -> Path:
    parser = argparse.ArgumentParser(
        prog="analyses/results.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="change nothing, compare")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these scripts alone")
    parser.add_argument("--workers", type=int, default=2, help="figures at a time (default: 2)")
    given = parser.parse_args(argv)
    page = PAGE.read_text(encoding="utf-8")
    begun = time.perf_counter()
    wanted = [
        block["what"]
        for block in BLOCK.finditer(page)
        if not given.only or block["what"].split()[0] in given.only
    ]
    texts = dict(zip(wanted, all_drawn(wanted, given.check, given.workers), strict=True))

    def again(block: re.Match[str]) -> str:
        what = block["what"]
        return f"{block[1]}{texts[what]}{block[3]}" if what in texts else block[0]

    redrawn = BLOCK.sub(again, page)
    print(f"{len(wanted)} figures, {time.perf_counter() - begun:.0f} s")
    if given.check and redrawn != page:
        raise SystemExit(
            f"{PAGE} does not say what its histories say. Remedy: python analyses/results.py"
        )
    if not given.check:
        PAGE.write_text(redrawn, encoding="utf-8")
    return PAGE


def all_drawn(wanted: list[str], check: bool, workers: int) -> list[str]:
    """Run analyses, some at a time, and return what stands on the page about each."""
    with tempfile.TemporaryDirectory() as place:
        one = functools.partial(drawn, place=Path(place), check=check)
        if min(workers, len(wanted)) <= 1:
            return [one(what) for what in wanted]
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(wanted)), mp_context=spawning) as pool:
            return list(pool.map(one, wanted))


def drawn(what: str, place: Path, check: bool) -> str:
    """Run one analysis and return what stands on the page about it."""
    name, study, *options = shlex.split(what)
    out = place / f"{name}-{study}"
    print(f"{name} from {study}", flush=True)
    source = [] if study == "-" else ["--from-runs", str(DOCS / "data" / study)]
    picture = importlib.import_module(name).main([*source, "--out", str(out), *options])
    image = IMAGES / (f"{name}.png" if study == "-" else f"{name}_{study}.png")
    if not check:
        (DOCS / IMAGES).mkdir(parents=True, exist_ok=True)
        smaller(picture, DOCS / image)
    text = (out / f"{name}.md").read_text(encoding="utf-8")
    caption = text.split("\n\n", 1)[0].replace("\n", " ").strip()
    return f"\n![{caption}]({image.as_posix()})\n\n{text}\n"


def smaller(picture: Path, to: Path) -> None:
    """Write a picture as wide as a page shows it, in 256 colours, the methods' own among them."""
    image = Image.open(picture).convert("RGB")
    if image.width > WIDTH:
        image = image.resize((WIDTH, round(image.height * WIDTH / image.width)), Image.LANCZOS)
    colours = {"#FFFFFF", *(colour for _, colour, _ in style.METHODS.values())}
    own = np.array(sorted(mpl.colors.to_rgb(colour) for colour in colours)) * 255
    # Of the others, those of which there is most, and as many that cover the rest.
    most = (256 - len(own)) // 2
    others = np.concatenate(
        [
            found(image, most, Image.Quantize.MEDIANCUT),
            found(image, most, Image.Quantize.MAXCOVERAGE),
        ]
    )
    # Pillow maps to colours that are near by; nearer than this it may take the wrong one.
    apart = np.abs(others[:, None] - own).max(axis=-1).min(axis=-1)
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        np.concatenate([own.round(), others[apart > NEAR]]).ravel().astype(int).tolist()
    )
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(to, optimize=True)


def found(image: Image.Image, count: int, method: Image.Quantize) -> np.ndarray:
    """Return so many colours for a picture: rows of red, green and blue, 0 to 255."""
    told = (image.quantize(count, method=method).getpalette() or [])[: 3 * count]
    return np.array(told, float).reshape(-1, 3)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    print(main())
