"""A class has the number of its name, never that of its place alone."""

import pytest

from pictures import class_numbers


def numbers(found, known):
    return class_numbers(found, known, where="PICTURES")


def test_classes_are_found_by_name():
    assert numbers(("dog", "cat"), ("bird", "cat", "dog")) == [2, 1]


def test_an_unknown_class_is_refused_and_the_nearest_offered():
    with pytest.raises(ValueError, match=r"knows \(cat, dog\) but got 'dogs' in 'PICTURES', did you mean 'dog'"):
        numbers(("cat", "dogs"), ("cat", "dog"))


def test_wordnets_numbers_are_an_imagenet_networks_classes():
    assert numbers(("n02012849", "n03126707"), ("crane", "crane")) == [0, 1]
    assert numbers(("n01440764", "n01484850"), ("hen", "great white shark", "tench")) == [2, 1]


def test_as_many_other_wordnet_classes_are_not_the_same():
    with pytest.raises(ValueError, match="got 'n10000000'"):
        numbers([f"n1000000{i}" for i in range(4)], [f"n0000000{i}" for i in range(4)])
    with pytest.raises(ValueError, match="got 'n01440764' in 'PICTURES', which is 'tench'"):
        numbers(("n01440764", "n01484850"), ("hen", "ostrich"))
    with pytest.raises(ValueError, match="got 'n02012849' in 'PICTURES', which is 'crane'"):
        numbers(("n02012849",), ("crane", "tench", "crane"))


def test_a_name_that_two_classes_have_is_no_answer():
    assert numbers(("crane", "crane"), ("crane", "crane")) == [0, 1]
    with pytest.raises(ValueError, match="got 'crane' once in"):
        numbers(("crane",), ("crane", "crane"))


def test_classes_that_a_source_only_numbers_are_the_known_ones_in_order():
    assert numbers(("0", "2"), ("cat", "dog", "owl")) == [0, 2]
    with pytest.raises(ValueError, match="Expected classes that the network knows"):
        numbers(("0", "3"), ("cat", "dog", "owl"))
