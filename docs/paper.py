"""
A sheet of paper, on which matplotlib puts text, boxes and plots.

Lengths are pixels, counted from the upper left corner; so are sizes of type.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from io import BytesIO
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image, ImageFont
from PIL.PngImagePlugin import PngInfo

WIDTH = 1200
TYPE = 14
INK, FAINT, GROUND, EDGE = "#24292f", "#656d76", "#f2f3f5", "#d8dce1"
COLOURS_MAX = 256
"""How many a file has; without a limit it would be several times as large."""


@cache
def _font(size: float, weight: str) -> ImageFont.FreeTypeFont:
    """
    The font that matplotlib takes.
    """
    return ImageFont.truetype(findfont(FontProperties(weight=weight)), size)


def width_of(text: str, size: float = TYPE, weight: str = "normal") -> float:
    """
    How wide a text becomes.
    """
    return _font(size, weight).getlength(text)


def fitted(text: str, width: float) -> str:
    """
    As much of a text as there is room for.
    """
    if width_of(text) <= width:
        return text
    while text and width_of(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def lines_of(text: str, width: float, size: float = TYPE, weight: str = "normal") -> list[str]:
    """
    A text broken into lines between its words.
    """
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer, size, weight) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line for line in lines if line]


class Box(NamedTuple):
    """
    A rectangle on the paper.
    """

    x: float
    y: float
    width: float
    height: float

    def inside(self, left: float, top: float, right: float, bottom: float) -> Box:
        """
        What is left of it within margins.
        """
        return Box(
            self.x + left, self.y + top, self.width - left - right, self.height - top - bottom
        )


class Paper:
    """
    A sheet on which text, boxes and plots are put.
    """

    def __init__(self, height: float) -> None:
        self._size = (WIDTH, height)
        self._figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor=GROUND)
        self._sheet = self._figure.add_axes((0, 0, 1, 1))
        self._sheet.set(xlim=(0, WIDTH), ylim=(height, 0))
        self._sheet.axis("off")

    def text(self, x: float, y: float, text: str, **looks: Any) -> None:
        """
        One line of text, whose middle is at that height.
        """
        usual = {"color": INK, "fontsize": TYPE, "va": "center_baseline", "parse_math": False}
        self._sheet.text(x, y, text, **{**usual, **looks})

    def box(self, box: Box, colour: str, edge: str = "none") -> None:
        """
        A filled box.
        """
        corner = (box.x, box.y)
        self._sheet.add_patch(
            Rectangle(corner, box.width, box.height, facecolor=colour, edgecolor=edge)
        )

    def plot(self, box: Box, format_y: Callable[[float], str]) -> Axes:
        """
        Axes within a box, over time in minutes and seconds.
        """
        width, height = self._size
        bottom = height - box.y - box.height
        axes = self._figure.add_axes(
            (box.x / width, bottom / height, box.width / width, box.height / height)
        )
        axes.tick_params(labelsize=TYPE - 2, colors=FAINT, length=0)
        axes.tick_params(axis="x", pad=9)
        axes.grid(color=EDGE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        axes.xaxis.set_major_formatter(
            FuncFormatter(lambda at, _: f"{at // 60:.0f}:{at % 60:02.0f}")
        )
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6]))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_y(value)))
        axes.yaxis.set_major_locator(MaxNLocator(4))
        return axes

    def png(self, notes: Mapping[str, str]) -> bytes:
        """
        The finished sheet, with notes that are stored beside the picture.
        """
        info = PngInfo()
        for name, note in notes.items():
            info.add_text(name, note)
        with BytesIO() as drawn, BytesIO() as file:
            self._figure.savefig(drawn, format="png", dpi=72)
            picture = Image.open(drawn).convert("RGB")
            few = picture.quantize(COLOURS_MAX, Image.Quantize.MAXCOVERAGE, kmeans=2)
            few.save(file, "png", optimize=True, pnginfo=info)
            return file.getvalue()
