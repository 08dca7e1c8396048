"""The picture of a run's competition: what stands in the table is what is drawn."""

from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.image import AxesImage

from training.callbacks.competition_plot import competition_figure, relative_rates, write_competition_plot

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


def panels(figure):
    """The two panels of curves, and the strips' images."""
    evenness, dead, *others = figure.get_axes()
    return evenness, dead, [image for panel in others for image in panel.get_children() if type(image) is AxesImage]


def test_each_layer_has_a_line_of_evenness_and_one_of_dead_units_with_a_point_an_epoch():
    evenness, dead, _ = panels(competition_figure(table(), title="a run"))
    assert [line.get_label() for line in evenness.get_lines()] == ["first", "last"]
    assert [list(line.get_ydata()) for line in evenness.get_lines()] == [[0.875, 0.875]] * 2
    assert [list(line.get_ydata()) for line in dead.get_lines()] == [[0.0, 0.25], [0.0, 0.0]]
    assert all(list(line.get_xdata()) == [0, 1] for line in (*evenness.get_lines(), *dead.get_lines()))


def test_a_strip_holds_a_column_an_epoch_and_a_row_a_unit_the_most_frequent_winner_of_the_last_epoch_on_top():
    _, _, (first, _) = panels(competition_figure(table(), title="a run"))
    expected = [[0.9, 1], [0.5, 0.5], [0.5, 0.25], [0.1, 0]]  # units 2, 0, 1, 3
    drawn = first.get_array()
    assert np.array_equal(drawn.mask, np.array(expected) == 0)
    assert np.ma.allclose(drawn, relative_rates(2 * np.array(expected)))


def test_an_even_share_is_white_a_rare_winner_red_a_frequent_one_blue_and_who_never_wins_black():
    _, _, (image, _) = panels(competition_figure(table(), title="a run"))
    never, rare, even, often = (255 * image.to_rgba(relative_rates(np.array([0, 1 / 8, 1, 8])))[:, :3]).tolist()
    assert max(never) < 50 and min(even) > 240
    assert rare[0] > 2 * rare[2] and often[2] > 2 * often[0]


def test_of_many_layers_epochs_and_units_some_are_drawn_and_it_says_so():
    rates = {f"layer{i}": [" ".join(["0.5"] * 80)] * 210 for i in range(30)}
    figure = competition_figure(table(rates), title="a run")
    evenness, _, strips = panels(figure)
    assert (len(evenness.get_lines()), len(strips)) == (30, 24)
    assert all(strip.get_array().shape == (55, 200) for strip in strips)
    assert "strips of 24 of 30 layers, evenly spread" in figure.get_suptitle()


@pytest.mark.parametrize("rates", [{"a<b&c $x$": ["0.5 0.5", "0.5 0.5"]}, {"only": ["0.5 0.5"]}])
def test_the_file_is_svg_whose_names_are_text_and_never_markup(tmp_path, rates):
    write_competition_plot(tmp_path / "plot.svg", table(rates), title="<script>")
    picture = ElementTree.parse(tmp_path / "plot.svg")
    words = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert any(word.startswith("How the units of <script> compete") for word in words)
    assert any(word.startswith(next(iter(rates))) for word in words)
