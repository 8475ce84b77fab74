"""Charts that are drawn once and serve as a page's inline SVG, as an .svg file and as CSV.

matplotlib draws in the light theme's colours. On a page each of them becomes the CSS variable of its role, so
a chart follows the reader's theme, and the page's own font. A second, narrow drawing serves phones.
"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from markupsafe import Markup

from core.reporting.formats import visible

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

# role: (light, dark). The one place where the colours of pages and charts are decided. All light colours
# differ, because a drawn colour is traced back to its role. Series: Okabe-Ito's hues, told apart by colour-blind
# readers, toned down.
COLOURS = {
    "ink": ("#1b2530", "#e4e9ee"),
    "muted": ("#586675", "#9eabb8"),
    "rule": ("#dbe1e7", "#2c3742"),
    "paper": ("#ffffff", "#10161c"),
    "panel": ("#f5f7f9", "#18212a"),
    "accent": ("#1f6f8b", "#5fb3cf"),
    "good": ("#2b7a4b", "#6cc08b"),
    "bad": ("#b03a2e", "#f0897c"),
    "ghost": ("#e7ebef", "#242e38"),
    "before": ("#9aa6b2", "#71808f"),
    "series-1": ("#2a7696", "#58abc9"),
    "series-2": ("#d39a48", "#e5a957"),
    "series-3": ("#4b9a75", "#6fbd98"),
    "series-4": ("#b5607c", "#d88aa3"),
    "series-5": ("#7d6cae", "#a596d3"),
    "series-6": ("#8d7b4f", "#bba973"),
    "series-7": ("#4a5f9e", "#8398d6"),
    "series-8": ("#a34f34", "#d17f64"),
}
SERIES = [role for role in COLOURS if role.startswith("series-")]
WIDE, NARROW = 860, 360  # pixels; NARROW fits a phone's column of 390 less its margins
SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
FONTS = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'


def colour(role: str) -> str:
    """The colour to draw with: the light theme's."""
    return COLOURS[role][0]


@dataclass(frozen=True)
class Chart:
    """title: also names its files; alt: what it shows, in a sentence; data: the numbers drawn, one row each.
    svg: a file that stands alone, in the light theme; page: the inline form, which follows the page's theme."""

    title: str
    alt: str
    data: pa.Table
    svg: str
    page: Markup

    @property
    def name(self) -> str:
        """The title as a file name and anchor."""
        return slug(self.title)

    def csv(self) -> bytes:
        """The data as UTF-8 CSV with a header line."""
        sink = io.BytesIO()
        pyarrow.csv.write_csv(self.data, sink)
        return sink.getvalue()


@dataclass
class Canvas:
    """What a chart is painted on, once wide and once narrow."""

    figure: Figure
    narrow: bool
    tips: dict[str, list[str]] = field(default_factory=dict)

    def tip(self, artist: Artist, *texts: str) -> None:
        """Texts shown when the pointer rests on a bar, or on each of a line's markers in turn."""
        name = f"tip-{len(self.tips)}"
        artist.set_gid(name)
        self.tips[name] = list(texts)

    def tips_along(self, axes: Axes, x: ArrayLike, y: ArrayLike, texts: Sequence[str]) -> None:
        """Tips along a line: markers that cannot be seen but can be pointed at. Where y is not finite there is none."""
        xs, ys = np.asarray(x, float), np.asarray(y, float)
        there = np.isfinite(ys)
        (markers,) = axes.plot(
            xs[there], ys[there], "o", markersize=11, markeredgewidth=0, alpha=0.0, color=colour("ink")
        )
        self.tip(markers, *(text for text, seen in zip(texts, there, strict=True) if seen))


def draw(
    title: str, alt: str, data: pa.Table, paint: Callable[[Canvas], None], height: Callable[[bool], float]
) -> Chart:
    """Paints a chart wide and narrow.

    paint: draws on the canvas' figure, in the colours of COLOURS: others would not follow the theme.
    height: pixels, given whether the drawing is narrow.
    The same data give the same bytes.
    """
    title, alt = visible(title), visible(alt)
    wide, narrow = (_tree(title, alt, paint, height(narrow), narrow) for narrow in (False, True))
    return Chart(title, alt, data, _file(wide), Markup(_inline(wide, "wide") + _inline(narrow, "narrow")))


def slug(text: str) -> str:
    """'Learning curves: sft' -> 'Learning-curves-sft', for file names and anchors"""
    return re.sub(r"[^\w-]+", "-", text).strip("-")[:80] or "unnamed"


def _tree(title: str, alt: str, paint: Callable[[Canvas], None], height: float, narrow: bool) -> ElementTree.Element:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_style(f"{title}/{narrow}")), warnings.catch_warnings():
        # The reader's browser has the letters that the font used for measuring here may lack.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=((NARROW if narrow else WIDE) / 72, height / 72), layout="constrained")
        canvas = Canvas(figure, narrow)
        paint(canvas)
        sink = io.BytesIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(sink, format="svg", transparent=True, metadata=nothing)
    root = ElementTree.fromstring(sink.getvalue())
    _tidy(root)
    _add_tips(root, canvas.tips)
    _keep_used_ids(root)
    for index, (tag, text) in enumerate((("title", title), ("desc", alt))):
        element = ElementTree.Element(f"{{{SVG}}}{tag}")
        element.text = text
        root.insert(index, element)
    root.set("role", "img")
    return root


def _style(salt: str) -> dict[str, Any]:
    from cycler import cycler

    muted, rule, ink = colour("muted"), colour("rule"), colour("ink")
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.parse_math": False,  # a $ in a model's name is a dollar
        "font.family": ["DejaVu Sans"],  # comes with matplotlib: measured alike on every machine
        "font.size": 12,
        "text.color": ink,
        "axes.edgecolor": rule,
        "axes.labelcolor": muted,
        "axes.titlecolor": ink,
        "axes.titlesize": 12.5,
        "axes.titlelocation": "left",
        "axes.prop_cycle": cycler(color=[colour(role) for role in SERIES]),
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.unicode_minus": True,
        "grid.color": rule,
        "grid.linewidth": 0.8,
        "xtick.color": rule,
        "ytick.color": rule,
        "xtick.labelcolor": muted,
        "ytick.labelcolor": muted,
        "ytick.major.size": 0,
        "figure.constrained_layout.w_pad": 0.01,
        "lines.linewidth": 1.8,
        "legend.frameon": False,
        "legend.fontsize": 12,
        "legend.labelcolor": ink,
    }


def _tidy(root: ElementTree.Element) -> None:
    """Takes out what would act on the page around the chart, or weighs without being seen."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    root.set("style", "stroke-linejoin: round; stroke-linecap: butt")
    for element in root.iter():
        if path := element.get("d"):
            element.set("d", " ".join(_short_numbers(path).split()))
        for name in ("x", "y", "transform"):
            if value := element.get(name):
                element.set(name, _short_numbers(value))
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        if (element.text or "").isspace():
            element.text = None
        element.tail = None


def _short_numbers(text: str) -> str:
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), text)


def _add_tips(root: ElementTree.Element, tips: dict[str, list[str]]) -> None:
    for group in root.iter(f"{{{SVG}}}g"):
        texts = tips.get(group.get("id", ""), [])
        if not texts:
            continue
        markers = [(parent, use) for parent in group.iter() for use in parent.findall(f"{{{SVG}}}use")]
        if not markers:
            _title(group, texts[0])
            continue
        for (parent, use), text in zip(markers, texts, strict=True):
            use.set("class", "tip")
            parent.remove(use)
            holder = ElementTree.SubElement(parent, f"{{{SVG}}}g")
            _title(holder, text)
            holder.append(use)


def _title(element: ElementTree.Element, text: str) -> None:
    title = ElementTree.Element(f"{{{SVG}}}title")
    title.text = visible(text)
    element.insert(0, title)


def _keep_used_ids(root: ElementTree.Element) -> None:
    """matplotlib names every group; two charts on one page must not share a name."""
    used = set(re.findall(r"#([\w.-]+)", " ".join(_values(root))))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)


def _values(root: ElementTree.Element) -> Iterator[str]:
    for element in root.iter():
        yield from (value for name, value in element.attrib.items() if name != "style")


def _file(root: ElementTree.Element) -> str:
    return '<?xml version="1.0" encoding="utf-8"?>\n' + _text(
        root, lambda style: style.replace("'DejaVu Sans'", FONTS.replace('"', "'"))
    )


def _inline(root: ElementTree.Element, kind: str) -> str:
    roles = {light: role for role, (light, _) in COLOURS.items()}

    def themed(style: str) -> str:
        style = re.sub(
            r"#[0-9a-f]{6}", lambda found: f"var(--{roles[found[0]]})" if found[0] in roles else found[0], style
        )
        return style.replace("font-family: 'DejaVu Sans'; ", "").replace("font-family: 'DejaVu Sans'", "")

    root.set("class", kind)
    return _text(root, themed)


def _text(root: ElementTree.Element, restyle: Callable[[str], str]) -> str:
    copy = ElementTree.fromstring(ElementTree.tostring(root))
    for element in copy.iter():
        if style := element.get("style"):
            element.set("style", restyle(style))
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(copy, encoding="unicode")
