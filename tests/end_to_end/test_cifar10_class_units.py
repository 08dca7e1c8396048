"""Real network, real photographs, real CLIP: the ten class units of a ResNet-20 get the names of their classes."""

import csv
import importlib.util
import sys

import pytest


@pytest.fixture(scope="module")
def class_units(repository):
    """The benchmark's own functions."""
    spec = importlib.util.spec_from_file_location("class_units", repository / "benchmarks" / "class_units.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["class_units"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["class_units"]


@pytest.fixture(scope="module")
def evidence(class_units, shared_data):
    return class_units.gather(shared_data)


def test_the_network_is_the_published_one(evidence):
    assert evidence.accuracy == pytest.approx(0.91, abs=0.005)


@pytest.mark.parametrize("split", ["all 500 images", "final (250-499)"])
def test_at_least_eight_of_ten_class_units_are_named_by_their_class(class_units, evidence, split):
    score = class_units.judge(evidence, class_units.SPLITS[split], similarity="soft_wpmi")
    assert score.accepted >= 8, score.names
    assert score.strict >= 3, score.names


def test_shuffled_images_give_no_names(class_units, evidence):
    accepted, strict = class_units.control(evidence, class_units.SPLITS["all 500 images"], similarity="soft_wpmi")
    assert accepted <= 1.5 and strict <= 0.5


def test_every_accepted_name_is_a_concept_and_stands_for_one_class(class_units, evidence):
    with class_units.ACCEPTED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == list(class_units.CLASSES)
    names = [name for row in rows for name in row["accepted"].split("; ")]
    assert len(names) == len(set(names)) and set(names) <= set(evidence.space.names)
    assert all(not row["strict"] or row["strict"] in row["accepted"].split("; ") for row in rows)


def test_headstall_is_no_horse(class_units):
    assert class_units.count(["headstall (for horses)"] * 10) == class_units.Score(
        0, 0, ("headstall (for horses)",) * 10
    )
