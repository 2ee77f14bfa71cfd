"""The charts: every value lies inside of the picture, whatever it is, and every text is escaped."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from hypothesis import example, given
from hypothesis import strategies as st

from nba_ml.evaluation.report.drawing import WIDTH, Dot, Series, bar_chart, dot_chart, nice_ticks, tick_labels

VALUES = st.floats(-100, 100).map(lambda value: round(value, 4))
SVG = "{http://www.w3.org/2000/svg}"


@given(VALUES, VALUES)
@example(0.0, 0.0)
@example(0.8, 0.8)
@example(-0.0001, 100.0)
def test_ticks_enclose_the_values(one: float, other: float) -> None:
    """An axis that ends before its values, or has a hundred lines."""
    low, high = min(one, other), max(one, other)
    ticks = nice_ticks(low, high)
    assert ticks[0] <= low <= high <= ticks[-1]
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))


def percent(value: float, decimals: int) -> str:
    return f"{value:.{decimals}%}"


@given(VALUES, VALUES)
@example(0.785, 0.815)
@example(0.8, 0.8)
def test_no_two_ticks_have_one_label(one: float, other: float) -> None:
    """An axis with 81%, 80%, 80%, 80%, 79%: half percents, rounded."""
    ticks = nice_ticks(min(one, other), max(one, other))
    labels = tick_labels(ticks, percent)
    assert len(set(labels)) == len(labels)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES).map(sorted), min_size=1, max_size=7))
def test_every_dot_lies_inside(values: list[list[float]]) -> None:
    """A dot, or its interval, over the title or outside of the picture."""
    dots = {f"<{i}>": Dot(middle, "& more", low, high) for i, (low, middle, high) in enumerate(values)}
    chart = dot_chart(
        "A & <b>", list(dots), [Series("s", "#000", dots)], unit=percent, x_label="x", targets={"<0>": values[0][0]}
    )
    drawn = ET.fromstring(chart)
    height = float(drawn.attrib["height"])
    assert drawn.findtext(f"{SVG}title") == "A & <b>"
    circles = drawn.findall(f"{SVG}circle")
    assert len(circles) == len(dots)
    for circle in circles:
        assert 0 < float(circle.attrib["cx"]) < WIDTH
        assert 40 < float(circle.attrib["cy"]) < height - 30
    for line in drawn.findall(f"{SVG}line"):
        assert all(40 <= float(line.attrib[name]) <= height - 30 for name in ("y1", "y2"))


@given(st.dictionaries(st.text("ab<&", min_size=1), st.tuples(st.floats(0, 100), st.floats(0, 1)), max_size=12))
def test_every_bar_lies_inside(rows: dict[str, tuple[float, float]]) -> None:
    """A bar that covers the next column, or a chart that fails where nothing has a share."""
    chart = bar_chart("Bars", rows, [("one", "#000", "{:.2f}".format), ("two", "#111", "{:.1%}".format)])
    bars = ET.fromstring(chart).findall(f"{SVG}rect")[1:]  # the first is the background
    assert len(bars) == 2 * len(rows)
    assert all(float(bar.attrib["x"]) + float(bar.attrib["width"]) <= WIDTH for bar in bars)
