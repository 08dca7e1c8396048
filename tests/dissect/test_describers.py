"""Describers: one interface, several at once on the same pass, and the names of each weighed alike."""

import csv
import sys
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from dissect import DESCRIBERS, ConceptSet, DescribeOptions, Proposals, Tools, describe, load_describers
from dissect.naming.description import Candidate

CONCEPTS = ConceptSet(("boat", "palm", "sun"), source="words")


class Encoder:
    """Phrases and images in a space of 6; `unheard` words it does not read."""

    identity = "fixed"

    def encode_images(self, probe):
        return normalize(torch.randn(len(probe), 6, generator=torch.Generator().manual_seed(0)), dim=1)

    def encode_texts(self, concepts):
        rows = [torch.randn(6, generator=torch.Generator().manual_seed(hash_of(name))) for name in concepts.names]
        return normalize(torch.stack(rows), dim=1)

    def known(self, concepts):
        from dataclasses import replace

        names = tuple(name for name in concepts.names if "unheard" not in name)
        if not names:
            raise ValueError("none is read")
        return replace(concepts, names=names), len(concepts) - len(names)


def hash_of(name):
    return sum(map(ord, name))


@dataclass(frozen=True)
class Fixed:
    """Says the same phrases of every unit, and remembers what it was handed."""

    method: str
    phrases: tuple[str, ...]
    seen: list = field(default_factory=list, compare=False)

    @property
    def options(self):
        return {"phrases": list(self.phrases)}

    def propose(self, probed):
        self.seen.append((probed.layer, dict(probed.earlier), probed.reader.values([probed.probe[0], probed.probe[1]])))
        candidates = tuple(Candidate(phrase, 1.0 - i, self.method) for i, phrase in enumerate(self.phrases))
        return Proposals([candidates] * probed.units, {"said": torch.ones(2)} if self.method == "a" else {})


@pytest.fixture
def run(probe, to_tensor, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU()).eval()

    def call(*describers):
        options = DescribeOptions(layers=["1"], transform=to_tensor, describers=describers)
        return describe(model, probe, CONCEPTS, Encoder(), tmp_path / "out", options)

    return call


def test_several_share_a_pass_and_the_first_ones_candidates_are_judged(run, probe):
    first, second = Fixed("a", ("red boat", "sun")), Fixed("b", ("palm",))
    dissection = run(first, second, *load_describers("clip-dissect"))
    unit = dissection.description("1", 0)
    methods = [candidate.method for candidate in unit.candidates]
    assert methods == ["a", "a", "b", *["clip-dissect"] * 3]
    assert unit.candidates[0].description == "red boat" and unit.margin == pytest.approx(1.0)
    assert unit.description in ("", "red boat")
    (layer, earlier, values), (_, later, _) = first.seen[0], second.seen[0]
    assert layer == "1" and set(earlier) == set() and set(later) == {"a"}
    record = dissection.record("1").summaries["mean"]
    assert values.values.shape == (2, 5) and torch.allclose(values.values, record[:2], atol=1e-3)
    with (dissection.folder / "candidates.csv").open(newline="") as file:
        rows = [(row["method"], row["rank"]) for row in csv.DictReader(file) if row["unit"] == "0"]
    assert rows[:4] == [("a", "1"), ("a", "2"), ("b", "1"), ("clip-dissect", "1")]


def test_phrases_of_no_list_are_kept_with_their_embeddings(run):
    dissection = run(Fixed("a", ("red boat", "sun")))
    space = dissection.space()
    assert space.names == ("boat", "palm", "sun", "red boat")
    assert torch.allclose(space.concept_embeddings, Encoder().encode_texts(ConceptSet(space.names)))
    assert (dissection.folder / "describers" / "a" / "1.safetensors").is_file()


def test_exemplars_are_collected_once_and_read_again(run, monkeypatch):
    from dissect import layer_names

    collected = []
    whole = layer_names.collect_exemplars
    monkeypatch.setattr(layer_names, "collect_exemplars", lambda *given: collected.append(given) or whole(*given))

    class Looking(Fixed):
        def propose(self, probed):
            self.seen.append((probed.exemplars.images, probed.halves.choosing.tolist()))
            return Proposals([()] * probed.units)

    one, other = Looking("a", ()), Looking("b", ())
    run(one, other)
    later = Looking("c", ())
    run(later)
    assert len(collected) == 1
    for images, choosing in (*one.seen, *other.seen, *later.seen):
        assert torch.equal(images, one.seen[0][0]) and set(images.flatten().tolist()) <= {*choosing, -1}


def test_what_is_said_of_a_unit_is_kept_until_it_depends_on_something_else(run):
    class Slow(Fixed):
        def propose(self, probed):
            return probed.unit_by_unit(self, self.of)

        def of(self, units):
            for unit in units:
                self.seen.append(unit)
                yield (Candidate("sun", unit / 3, self.method),)

    one = Slow("a", ("sun",))
    dissection = run(one)
    assert one.seen == list(range(5)) and dissection.description("1", 2).candidates[0].similarity == pytest.approx(
        2 / 3
    )
    files = sorted((dissection.folder / "describers" / "a" / "1").iterdir())
    files[3].write_text("damaged")
    (dissection.folder / "manifest.json").unlink()  # as if it had been killed
    again, other = Slow("a", ("sun",)), Slow("a", ("palm",))
    run(again)
    run(other)
    assert again.seen == [3] and other.seen == list(range(5))


def test_a_phrase_that_the_encoder_does_not_read_is_left_out_and_told(run):
    dissection = run(Fixed("a", ("unheard of", "sun")))
    assert [c.description for c in dissection.description("1", 0).candidates] == ["sun"]
    assert "1: the encoder does not read 1 of the phrases proposed" in dissection.manifest["warnings"]
    alone = run(Fixed("a", ("unheard of",)))
    assert alone.description("1", 0).candidates == () and not alone.description("1", 0).named


def test_other_options_of_a_describer_describe_again(run):
    one = run(Fixed("a", ("sun",)))
    again = Fixed("a", ("sun",))
    assert run(again).manifest["key"] == one.manifest["key"] and not again.seen
    assert run(Fixed("a", ("palm",))).manifest["key"] != one.manifest["key"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("clip-disect", "Expected a describer among .* but got 'clip-disect', did you mean 'clip-dissect'"),
        ("clip-dissect,clip-dissect", "Expected describers, each once, but got clip-dissect, clip-dissect"),
    ],
)
def test_a_slip_is_told(names, told):
    with pytest.raises(ValueError, match=told):
        load_describers(names)


def test_a_file_and_a_line_make_a_describer(monkeypatch):
    """And each line of the table is of a file there."""
    made = ModuleType("dissect.describers.loudest")
    made.from_tools = lambda tools: Fixed("loudest", (tools.domain,))
    monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setitem(DESCRIBERS, "loudest", "loudest.from_tools")
    (found,) = load_describers("loudest", Tools(domain="flags"))
    assert found.method == "loudest" and found.phrases == ("flags",)
    for where in DESCRIBERS.values():
        file, _, function = where.partition(".")
        assert callable(getattr(import_module(f"dissect.describers.{file}"), function))
