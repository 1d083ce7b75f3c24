"""
The curves of ``make bench-growth`` as a picture, made from its JSON.

The same figures make the same file, byte by byte.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

PICTURE = Path(__file__).parents[2] / "docs" / "growth.svg"
SIZE_INCHES = (11, 4.2)
COLOURS = ("#3d71ad", "#b35f0f", "#2f6b28", "#7a4a6d")

Curve = Mapping[str, Any]


def svg(curves: Sequence[Curve], machine: str) -> bytes:
    """
    A panel for each thing that there is more and more of, with its curves.

    Args:
        curves: As the JSON has them, those of a panel together.
        machine: Where they were measured.
    """
    panels = [list(panel) for _, panel in groupby(curves, key=lambda curve: curve["sizes_of"])]
    with rc_context({"svg.hashsalt": "growth", "font.size": 9}), BytesIO() as file:
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        figure.suptitle(f"CPU time as there is more and more, in ms\n{machine}", fontsize=10)
        for axes, panel in zip(
            figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True
        ):
            _draw(axes, panel)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        return file.getvalue()


def _draw(axes: Axes, curves: Sequence[Curve]) -> None:
    """
    One panel; its legend tells how many times its beginning each curve ends at.
    """
    for curve, colour in zip(curves, COLOURS, strict=False):
        name = f"{curve['work']}, a {curve['item']}: {curve['times'][-1]:.2f} times"
        axes.plot(curve["sizes"], curve["ms"], color=colour, marker="o", markersize=4, label=name)
    axes.set(xscale="log", yscale="log", title=f"More {curves[0]['sizes_of']}")
    axes.margins(x=0.1, y=0.1)
    axes.set_xticks(curves[0]["sizes"])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size:,.0f}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda cost, _: f"{cost:g}"))
    axes.grid(color="#d8dce1", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.1))


def machine(found: Mapping[str, Any]) -> str:
    """
    Where and when a run took place.
    """
    where = found["machine"]
    day = found["measured"].partition("T")[0]
    return f"{where['cpu']}, {where['cores']} cores, {where['python']}, {day}"


def main(arguments: Sequence[str] | None = None, picture: Path = PICTURE) -> None:
    """
    Draw the curves of a run.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.bench.plots", description=main.__doc__)
    parser.add_argument("run", type=Path, help="the JSON of make bench-growth")
    found = json.loads(parser.parse_args(arguments).run.read_text(encoding="utf-8"))
    picture.write_bytes(svg(found["curves"], machine(found)))


if __name__ == "__main__":
    main()
