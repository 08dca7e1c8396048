"""Schedules: values at shares of training."""

import pytest

from training import Schedule
from training.schedules import value_at


@pytest.mark.parametrize("shape", ["linear", "cosine", "exponential"])
def test_a_schedule_starts_and_ends_where_it_says(shape):
    schedule = Schedule(2.0, 0.5, until=0.6, shape=shape)
    values = [schedule.at(share / 20) for share in range(21)]
    assert values[0] == pytest.approx(2.0)
    assert values[12:] == pytest.approx([0.5] * 9)
    assert values == sorted(values, reverse=True)


def test_a_number_is_a_schedule_that_never_changes():
    assert [value_at(0.3, share) for share in (0, 0.5, 1)] == [0.3] * 3


@pytest.mark.parametrize(
    ("options", "words"),
    [({"until": 0}, "until"), ({"shape": "square"}, "shape"), ({"shape": "exponential"}, "above 0")],
)
def test_impossible_schedules_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Schedule(1.0, 0.0, **options)
