"""Claims about the schema of the JSON beside the page: it holds what is written, and refuses what is not."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from competing import small_resnet
from PIL import Image

from competition_layers import DecisionLayer
from dissect import explain, explain_graph, render_report
from dissect.comparing.figures import (
    Accuracy,
    Alike,
    Attack,
    Calibration,
    Comparison,
    Decision,
    DecisionNames,
    Names,
    NetworkFigures,
    Robustness,
    SeedFigures,
    Sparsity,
    UntrainedNames,
)
from dissect.describers.class_ablation import ClassLoss
from dissect.explaining.at_random import AtRandom
from dissect.explaining.class_summary import ClassReport, ClassSummary, ClassUnit, Mistake
from dissect.explaining.explanation import Alternative, UnitName
from dissect.explaining.unit_entries import Histogram, UnitEntry
from dissect.naming.description import Candidate, Description
from dissect.naming.evidence import Evidence
from dissect.report.record import classes_record, units_record
from dissect.report.schema import SCHEMAS, report_schema

jsonschema = pytest.importorskip("jsonschema", reason="pip install 'lwta[dev]'")
LABELS = ("beach", "city", "farm", "park")


@pytest.fixture(scope="module", params=["decision layer", "none", "dense"])
def written(request, tmp_path_factory) -> dict:
    options = {"decision": DecisionLayer(16, 4)} if request.param == "decision layer" else {}
    model = small_resnet(1 if request.param == "dense" else 4, LABELS, **options)
    picture = Image.fromarray(np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    plain = explain(model, picture)
    why = replace(plain, graph=explain_graph(model, picture, units=2))
    page = render_report(tmp_path_factory.mktemp("page") / "p.html", [plain, why], twins=[plain, plain])
    return json.loads(page.with_suffix(".json").read_text("utf-8"))


@pytest.mark.parametrize("page", SCHEMAS)
def test_the_schema_in_the_manual_is_that_of_the_code(page, repository: Path):
    stored = json.loads((repository / f"docs/{page}.schema.json").read_text("utf-8"))
    assert stored == SCHEMAS[page](), "python -m dissect.report.schema docs"
    jsonschema.Draft202012Validator.check_schema(stored)


def test_what_is_written_keeps_to_it(written):
    assert list(jsonschema.Draft202012Validator(report_schema()).iter_errors(written)) == []


def test_a_field_lost_or_added_or_of_another_type_is_refused(written):
    holds = jsonschema.Draft202012Validator(report_schema()).is_valid
    for harm in (
        lambda e: e.pop("lead"),
        lambda e: e["units"][0].pop("label"),
        lambda e: e.update(more=1),
        lambda e: e["at"].update(width="8"),
        lambda e: e["checks"]["curves"].update(deletion=None),
    ):
        harmed = deepcopy(written)
        harm(harmed["explanations"][0])
        assert not holds(harmed)
    assert not holds(written | {"format": 0})


def comparison() -> Comparison:
    """Every figure that there is."""
    control = UntrainedNames(1, 1, None, DecisionNames(1, 1, 0))
    names = Names("decision", {"named": 3, "chance": 1}, 2, Alike(0.3, 0.5, 0.2), control)
    network = NetworkFigures(
        "sparse", "resnet18", 4, "argmax", Accuracy(0.7, 0.7, None, 0.8),
        Sparsity("decision", 16, "direct", 0.25, 0.1, 0.2, 0.9, 0.1), 1000, 1.5, 4096, None, (names,),
        Decision(16, 3, 1, 2, 1.5, 0.0, DecisionNames(0.5, 2.0, 0.1)), Calibration(0.5, 0.1, 1.2, 0.4, 0.05),
        Robustness(8, {"fog": (0.5, 0.4)}, Attack(2 / 255, 8, 0.3, None)),
    )  # fmt: skip
    dense = replace(network, name="dense", names=(), decision=None, calibration=None, robustness=None)
    seeds = (SeedFigures("sparse", 2, {"accuracy": (0.7, 0.1), "log-loss": (0.5, None)}),)
    return Comparison((network, dense), "test", 8, 8, 32, "CPU", "encoder", ("one is ahead",), seeds)


def unit() -> UnitEntry:
    evidence = Evidence(0.6, 0.5, 0.7, 0.4, 0.01, 0.02, "beach")
    about = Description("decision", 3, "sand", 0.4, 0.1, 2.0, 9, (Candidate("sand", 0.4, "claims"),), 0.1, evidence)
    losses = (ClassLoss("beach", 10, 0.9, 0.5),)
    return UnitEntry(
        about, Histogram(0, 1, (2, 3)), 0.4, ((4, "sea"),), 4, (("beach", 1.2),), losses, b"", (((1.0,),),), "x"
    )


def report() -> ClassReport:
    named = UnitName(name="sand", alternatives=(Alternative("beach", 0.1),), r=0.5, low=0.4, high=0.6)
    one = ClassSummary("beach", 3, None, 1, 1.5, (ClassUnit(3, named, 1.0, 2),), 0.2, 0.3, 0.0)
    wrong = Mistake("a.png", "beach", "desert", 0.5, 3, named, 0.4, "beach")
    return ClassReport("decision", ("direct",), 3, (one,), (wrong,))


WRITTEN = {
    "report": lambda: {"format": 1, "explanations": [], "twins": [], "comparison": comparison().to_dict()},
    "units": lambda: units_record(
        [unit(), UnitEntry(Description("decision", 4, "", 0.0, None, None, 0), None, None)],
        {"decision": AtRandom(4, 1, (0.1, 0.2), None)},
    ),
    "classes": lambda: classes_record(report()),
}
HARMS = {
    "report": lambda r: r["comparison"]["networks"][0],
    "units": lambda r: r["units"][0],
    "classes": lambda r: r["class_report"]["classes"][0],
}


@pytest.mark.parametrize("page", SCHEMAS)
def test_every_field_of_every_page_is_known(page):
    schema, written = jsonschema.Draft202012Validator(SCHEMAS[page]()), json.loads(json.dumps(WRITTEN[page]()))
    assert list(schema.iter_errors(written)) == []
    for field in list(HARMS[page](written)):
        for harm in (lambda values: values.pop(field), lambda values: values.update({field: object})):  # noqa: B023
            harmed = deepcopy(written)
            harm(HARMS[page](harmed))
            assert not schema.is_valid(harmed), field
    HARMS[page](written)["more"] = 1
    assert not schema.is_valid(written)
