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
from dissect.report.schema import report_schema

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


def test_the_schema_in_the_manual_is_that_of_the_code(repository: Path):
    stored = json.loads((repository / "docs/report.schema.json").read_text("utf-8"))
    assert stored == report_schema(), "python -m dissect.report.schema > docs/report.schema.json"
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
