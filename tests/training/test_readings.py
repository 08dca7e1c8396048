"""What is read of a competition: dead units, evenness, agreement, over batches."""

import pytest
import torch
from torch import nn

from competition_layers import StochasticLWTA
from training.readings import Readings
from training.sampling import NOT_COUNTED


class Known(nn.Module):
    """Two layers of two groups of two (units 0 and 2, units 1 and 3), whose inputs are the images themselves."""

    def __init__(self, **options):
        super().__init__()
        self.one = StochasticLWTA(2, channel_dim=-1, **options)
        self.other = StochasticLWTA(2, channel_dim=-1, **options)

    def forward(self, x):
        self.other(x.flatten(1))
        return self.one(x.flatten(1))


def read(model, images, labels):
    readings = Readings(4, samples=1)
    for batch, of in zip(images.split(2), labels.split(2), strict=True):
        readings.update(model.eval(), batch, of, every_rule=False, watch=True)
    return {name: value.item() for name, value in readings.results().items()}


def images_of(rows):
    return torch.tensor(rows)[:, :, None, None]


def test_dead_units_and_entropy_are_those_of_all_batches_together():
    # unit 0 wins twice, unit 2 twice; unit 1 always, unit 3 never
    images = images_of([[2.0, 3.0, 1.0, 0.0], [1.0, 3.0, 2.0, 0.0], [2.0, 3.0, 1.0, 0.0], [1.0, 3.0, 2.0, 0.0]])
    seen = read(Known(noise=0.0), images, torch.zeros(4, dtype=torch.long))
    assert seen["dead_units"] == 0.25
    assert seen["winner_entropy"] == pytest.approx(0.5)
    assert seen["agreement"] == 1


def test_images_that_fill_up_a_batch_win_nothing():
    images = images_of([[2.0, 3.0, 1.0, 0.0], [1.0, 0.0, 2.0, 3.0]])
    seen = read(Known(noise=0.0), images, torch.tensor([0, NOT_COUNTED]))
    assert seen["dead_units"] == 0.5


def test_a_sample_agrees_with_argmax_as_often_as_the_softmax_says():
    images = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(4000, 4)[:, :, None, None]
    readings = Readings(4, samples=1)
    readings.update(Known(noise=1.0).eval(), images, torch.zeros(4000, dtype=torch.long), every_rule=False, watch=True)
    expected = torch.sigmoid(torch.tensor(1.0)).item()
    assert readings.results()["agreement"].item() == pytest.approx(expected, abs=0.02)
