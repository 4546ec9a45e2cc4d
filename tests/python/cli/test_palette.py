"""Charts are readable in grey and by colour-blind readers: what touches is hatched, or looks different."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from vmem.report import style
from vmem.report.style import Fill, Stroke

Colour = npt.NDArray[np.float64]

# How colours of linear RGB look without one kind of cones. Machado, Oliveira and Fernandes: A
# Physiologically-based Model for Simulation of Color Vision Deficiency, IEEE TVCG 15(6), 2009, severity 1.0.
# The grey one is luminance.
VISION = {
    "usual": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
    "grey": np.array([[0.2126, 0.7152, 0.0722]] * 3),
}
_TO_XYZ = np.array(  # of sRGB, IEC 61966-2-1
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
_NOTICED = 10.0
"""Distance in CIELAB at which two large areas are told apart at a glance; from 2.3 on they just differ."""


def linear(colour: str) -> Colour:
    """Linear RGB of "#rrggbb"."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb: Colour) -> Colour:
    """CIELAB, for the white of D65."""
    xyz = _TO_XYZ @ rgb / (_TO_XYZ @ np.ones(3))
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: str, other: str, vision: str) -> float:
    """Between two colours as somebody sees them."""
    seen = [lab(np.clip(VISION[vision] @ linear(colour), 0, 1)) for colour in (one, other)]
    return float(np.linalg.norm(seen[0] - seen[1]))


def contrast(one: str, other: str) -> float:
    """WCAG 2.1."""
    dark, light = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(c)) for c in (one, other))
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_itself() -> None:
    """Published values, and what dichromats are known to confuse."""
    assert lab(linear("#ffffff")) == pytest.approx([100, 0, 0], abs=0.05)
    assert lab(linear("#ff0000")) == pytest.approx([53.24, 80.09, 67.20], abs=0.1)
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for matrix in VISION.values():  # white stays white
        assert matrix @ np.ones(3) == pytest.approx(np.ones(3), abs=1e-4)
    brown, olive = "#a05000", "#507800"
    assert distance(brown, olive, "usual") > 2.5 * distance(brown, olive, "deuteranopia")


STACKS: dict[str, list[Fill]] = {
    "ended": list(style.ENDED.values()),
    "tables": list(style.TABLES.values()),
    "causes": list(style.CAUSES.values()),
    "times": list(style.TIMES.values()),
    "holders": [*style.HOLDERS, style.HOLDERS[0]],  # they go round
    "held": [style.PROCESSES, style.TABLES_HELD, style.FREE],
    **{f"last VM {i}": [holder, style.TABLES_HELD] for i, holder in enumerate(style.HOLDERS)},
    **{f"last VM {i} and processes": [holder, style.PROCESSES] for i, holder in enumerate(style.HOLDERS)},
}


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("stack", STACKS)
def test_what_touches_is_told_apart(stack: str, vision: str) -> None:
    for one, other in itertools.pairwise(STACKS[stack]):
        hatched = one.pattern != other.pattern
        assert hatched or distance(one.colour, other.colour, vision) >= _NOTICED, (one, other)


@pytest.mark.parametrize("stack", ["ended", "tables", "causes", "times", "holders", "held"])
def test_a_legend_s_entries_differ(stack: str) -> None:
    """In every vision there is no second entry of the same hatching and nearly the same colour."""
    fills = list(dict.fromkeys(STACKS[stack]))
    for one, other in itertools.combinations(fills, 2):
        for vision in VISION:
            apart = distance(one.colour, other.colour, vision)
            assert one.pattern != other.pattern or apart >= _NOTICED, (one, other, vision)


@pytest.mark.parametrize("fills", [fills for fills in STACKS.values() if any(fill.pattern for fill in fills)])
def test_hatching_is_seen(fills: list[Fill]) -> None:
    for fill in fills:
        assert not fill.pattern or contrast(fill.colour, fill.hatching) >= 2


@pytest.mark.parametrize("strokes", [style.EVENTS, style.MEMORY, style.DECISIONS])
def test_lines_differ_by_dashes_alone(strokes: dict[str, Stroke]) -> None:
    assert len({stroke.dash for stroke in strokes.values()}) == len(strokes)
    assert all(contrast(stroke.colour, "#ffffff") >= 2 for stroke in strokes.values())


def test_heatmaps_are_ordered_by_lightness_and_their_numbers_readable() -> None:
    low, high = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for _, c in style.HEAT)
    scale = ["#" + "".join(f"{round(v):02x}" for v in low + (high - low) * i / 20) for i in range(21)]
    for vision in VISION:
        lightness = [lab(np.clip(VISION[vision] @ linear(colour), 0, 1))[0] for colour in scale]
        assert all(after < before for before, after in itertools.pairwise(lightness)), vision
        assert lightness[0] - lightness[-1] > 35
    assert min(contrast(style.INK, colour) for colour in scale) >= 4.5
