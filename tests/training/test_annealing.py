"""Schedules: values at shares of training."""

import pytest

from competition_layers.competition import Competition
from training import Annealing, Schedule


@pytest.mark.parametrize("shape", ["linear", "cosine", "exponential"])
def test_a_schedule_starts_where_the_competition_does_and_ends_where_it_says(shape):
    schedule = Schedule(0.5, until=0.6, shape=shape)
    values = [schedule.value(2.0, share / 20) for share in range(21)]
    assert values[0] == pytest.approx(2.0)
    assert values[12:] == pytest.approx([0.5] * 9)
    assert values == sorted(values, reverse=True)


def test_what_is_not_annealed_never_changes():
    competition = Competition(noise_scale=0.3, temperature=2.0)
    annealing = Annealing(temperature=Schedule(1.0, until=1.0))
    found = [annealing.at(competition, share) for share in (0, 0.5, 1)]
    assert [c.noise_scale for c in found] == [0.3] * 3
    assert [c.temperature for c in found] == [2.0, 1.5, 1.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"until": 0}, "until"), ({"shape": "square"}, "shape"), ({"end": -1}, "end to be a number >= 0")],
)
def test_impossible_schedules_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Schedule(**{"end": 0.0, **options})


def test_a_constant_factor_does_not_lead_to_0():
    with pytest.raises(ValueError, match="above 0"):
        Annealing(noise_scale=Schedule(0.0, shape="exponential")).at(Competition(), 0.0)
