"""The picture of a run's competition: what stands in the table is what is drawn."""

import base64
import io
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from training.callbacks.competition_plot import competition_svg, rate_colours

SVG = "{http://www.w3.org/2000/svg}"
RATES = {"first": ["0.5 0.5 0.9 0.1", "0.5 0.25 1 0"], "last": ["0.5 0.5 0.5 0.5", "0.6 0.4 0.7 0.3"]}


def table(rates=RATES):
    """The rows of a competition.csv: two units a group."""
    return [
        {
            "epoch": str(epoch),
            "layer": layer,
            "competitors": "2",
            "density": "0.5",
            "dead_units": str(np.mean([float(rate) == 0 for rate in column.split()])),
            "winner_entropy": "0.875",
            "win_rates": column,
        }
        for epoch in range(len(next(iter(rates.values()))))
        for layer, column in ((layer, columns[epoch]) for layer, columns in rates.items())
    ]


def drawn(rows, title="a run"):
    return ElementTree.fromstring(competition_svg(rows, title=title))


def lines(picture):
    """By layer, each of its lines as points."""
    found = {}
    for line in picture.iter(f"{SVG}polyline"):
        points = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
        found.setdefault(line.find(f"{SVG}title").text, []).append(points)
    return found


def strips(picture):
    """Each layer's win rates as colours."""
    files = [image.get("href").partition("base64,")[2] for image in picture.iter(f"{SVG}image")]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(file)))) for file in files]


def words(picture):
    return [text.text for text in picture.iter(f"{SVG}text")]


def test_each_layer_has_a_line_of_evenness_and_one_of_dead_units_with_a_point_an_epoch():
    found = lines(drawn(table()))
    assert list(found) == ["first", "last"]
    assert all([len(line) for line in each] == [2, 2] for each in found.values())


def test_units_that_die_raise_their_layers_line_to_their_share():
    picture = drawn(table())
    (_, first), (_, last) = lines(picture)["first"], lines(picture)["last"]
    assert first[1][1] < first[0][1]  # upwards
    assert last[1][1] == last[0][1] == first[0][1]  # at 0
    ticks = {text.text: float(text.get("y")) - 4 for text in picture.iter(f"{SVG}text")}
    heights = ticks["0%"], ticks["40%"]
    assert first[1][1] == pytest.approx(heights[0] + 0.25 / 0.4 * (heights[1] - heights[0]), abs=0.2)


def test_a_strip_holds_a_column_an_epoch_and_a_row_a_unit_the_most_frequent_winner_of_the_last_epoch_on_top():
    first, _ = strips(drawn(table()))
    expected = [[0.9, 1], [0.5, 0.5], [0.5, 0.25], [0.1, 0]]  # units 2, 0, 1, 3
    assert np.array_equal(first, rate_colours(2 * np.array(expected)))


def test_an_even_share_is_white_a_rare_winner_red_a_frequent_one_blue_and_who_never_wins_black():
    never, rare, even, often = rate_colours(np.array([0, 1 / 8, 1, 8])).astype(int)
    assert never.max() < 50 and even.min() > 240
    assert rare[0] > 2 * rare[2] and often[2] > 2 * often[0]


def test_one_epoch_is_a_point_and_not_a_line():
    picture = drawn(table({"only": ["0.5 0.5"]}))
    assert not lines(picture)
    assert len(list(picture.iter(f"{SVG}circle"))) == 2
    assert [strip.shape for strip in strips(picture)] == [(2, 1, 3)]


def test_of_many_layers_epochs_and_units_some_are_drawn_and_it_says_so():
    rates = {f"layer{i}": [" ".join(["0.5"] * 80)] * 210 for i in range(30)}
    picture = drawn(table(rates))
    assert len(lines(picture)) == 30
    assert len(strips(picture)) == 24
    assert all(max(strip.shape) <= 200 for strip in strips(picture))
    assert "24 of 30 layers, evenly spread" in words(picture)


def test_names_are_text_and_never_markup():
    picture = drawn(table({"a<b&c": ["0.5 0.5", "0.5 0.5"]}), title="<script>")
    assert "How the units of <script> compete" in words(picture) and "a<b&c" in words(picture)
