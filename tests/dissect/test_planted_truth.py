"""What is promised of names holds where the truth is planted: few false ones, intervals that hold, right ones kept."""

import importlib.util
import sys

import pytest


@pytest.fixture(scope="module")
def planted(repository):
    """The benchmark's own functions."""
    spec = importlib.util.spec_from_file_location("planted", repository / "benchmarks" / "planted.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["planted"]


def test_false_discoveries_and_intervals_keep_their_promise(planted):
    """300 units of noise among 500: 5 % of the names may be false, 5 % of the intervals miss, and 3 standard errors."""
    layer = planted.plant(images=600, concepts=60, units=100, signals=(0.0, 0.0, 0.0, 0.3, 0.7))
    described = planted.name(layer, similarity="cosine_cubed")
    names, false = planted.false_discoveries(layer, described)
    assert names >= 150 and false <= 0.05 * names + 3 * (0.05 * names) ** 0.5
    noise, weak, strong = planted.count(layer, described)
    assert noise.named < 0.1 and strong.named > 0.95 and strong.right > 0.95 and strong.right > weak.right > 0.4
    for row in (noise, weak, strong):
        assert row.covered == pytest.approx(0.95, abs=3 * (0.05 * 0.95 / row.units) ** 0.5 + 0.01)


def test_noise_alone_has_no_names(planted):
    layer = planted.plant(images=400, concepts=40, units=200, signals=(0.0,), seed=5)
    assert planted.false_discoveries(layer, planted.name(layer))[0] <= 2
