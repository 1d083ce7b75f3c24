"""
Draw a picture of each dashboard, from what a real Prometheus has seen of the demo.

A picture says in its own file which dashboard it was drawn from, and only those whose
dashboard has changed since are drawn again; all of them with ``--all``. Where Prometheus is not
installed, nothing is drawn. Run as ``python -m docs.pictures``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from docs.drawing import Answers, Picture
from grafana.source.expressions import FOLDER, dashboards
from tests.observed import Observed, Span, observed_demo

PICTURES = Path(__file__).parent / "pictures"
DRAWN_FROM = "Dashboard SHA-256"

RATE = 3
SEED = 309
SCRAPE_SECONDS, HOLD_SECONDS = 1, 4
WARM_UP_SECONDS, SHOWN_SECONDS = 20, 180
RATE_INTERVAL_SECONDS, STEP_SECONDS = 16, 2


def digest(name: str) -> str:
    """
    Of a dashboard's file, in hexadecimal digits.
    """
    return sha256((FOLDER / f"{name}.json").read_bytes()).hexdigest()


def drawn_from(picture: Path) -> str:
    """
    The digest of the dashboard that a picture shows; empty where there is no picture.
    """
    if not picture.is_file():
        return ""
    with Image.open(picture) as image:
        return str(image.info.get(DRAWN_FROM, ""))


def stale(folder: Path = PICTURES) -> list[str]:
    """
    The dashboards that have changed since they were drawn.
    """
    return [name for name in dashboards() if drawn_from(folder / f"{name}.png") != digest(name)]


class Seen(NamedTuple):
    """
    What the queries of all dashboards gave, and for which time.
    """

    answers: dict[str, Answers]
    span: Span


def ask(demo: Observed) -> Seen:
    """
    Ask all queries, for the time that ends with the newest scrape.
    """
    end = demo.so_far().end
    span = Span(end - SHOWN_SECONDS, end)
    answers: dict[str, Answers] = {
        name: {
            (query.panel, query.ref_id): demo.ask(query, span, STEP_SECONDS)
            for query in demo.expressions(span, RATE_INTERVAL_SECONDS)
            if query.dashboard == name
        }
        for name in dashboards()
    }
    return Seen(answers, span)


def observe(binary: str) -> Seen:
    """
    Run the demo for as long as the pictures show, and then ask.
    """
    with tempfile.TemporaryDirectory() as folder:
        flags = (
            *("--demo.rate", str(RATE)),
            *("--demo.seed", str(SEED)),
            *("--metrics.new-series-hold", f"{HOLD_SECONDS}s"),
        )
        with observed_demo(binary, Path(folder), *flags, interval=SCRAPE_SECONDS) as demo:
            time.sleep(WARM_UP_SECONDS + SHOWN_SECONDS)
            return ask(demo)


def draw(names: Sequence[str], seen: Seen, folder: Path) -> None:
    """
    Write the pictures of some dashboards.
    """
    folder.mkdir(exist_ok=True)
    for name in names:
        picture = Picture(dashboards()[name], seen.answers[name], *seen.span)
        (folder / f"{name}.png").write_bytes(picture.png({DRAWN_FROM: digest(name)}))
        print(f"docs/pictures/{name}.png")


def main(arguments: Sequence[str], folder: Path = PICTURES) -> int:
    """
    Draw what is stale, or all.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="draw also what has not changed")
    names = list(dashboards()) if parser.parse_args(arguments).all else stale(folder)
    binary = shutil.which("prometheus")
    if names and not binary:
        print(f"Not drawn, since Prometheus is not installed: {', '.join(names)}.")
    if names and binary:
        print(f"Watching the demo for {WARM_UP_SECONDS + SHOWN_SECONDS} s to draw its dashboards.")
        draw(names, observe(binary), folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
