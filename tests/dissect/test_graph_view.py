"""Claims about the attribution graph on the page, in the JSON, and in Neuronpedia's schema."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from competition_layers import DecisionLayer, create_model
from dissect import explain, explain_graph, explanation_text, render_report
from dissect.explaining.explanation import GraphView
from dissect.explaining.neuronpedia import neuronpedia_graph
from dissect.numbers import signed

LABELS = ("beach", "city", "farm", "park")
# of neuronpedia's graph-schema.json: what must be there, and of which type
METADATA = {"slug": str, "scan": str, "prompt_tokens": list, "prompt": str}
NODE = {
    "node_id": str,
    "feature": (int, type(None)),
    "layer": (str, int),
    "ctx_idx": int,
    "feature_type": str,
    "jsNodeId": str,
    "clerp": str,
    "influence": (float, int, type(None)),
    "activation": (float, int, type(None)),
}
LINK = {"source": str, "target": str, "weight": float}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    model = create_model(
        "vit_tiny_patch16_224", competitors=4, depth=2, embed_dim=24, num_heads=2, patch_size=8, num_classes=4,
        image_size=32, label_names=LABELS, decision=DecisionLayer(16, 4),
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def view(model, picture) -> GraphView:
    return explain_graph(model, picture, units=3)


def test_every_field_of_neuronpedia_s_schema_is_there_in_its_type(view):
    found = json.loads(json.dumps(neuronpedia_graph(view, slug="a", scan="b")))
    assert set(found) == {"metadata", "qParams", "nodes", "links"}
    for record, fields in [
        (found["metadata"], METADATA),
        *((n, NODE) for n in found["nodes"]),
        *((e, LINK) for e in found["links"]),
    ]:
        for name, kind in fields.items():
            assert isinstance(record[name], kind), (name, record)
    ids = [node["node_id"] for node in found["nodes"]]
    assert len(set(ids)) == len(ids)
    assert {end for link in found["links"] for end in (link["source"], link["target"])} <= set(ids)
    tokens = found["metadata"]["prompt_tokens"]
    assert all(0 <= node["ctx_idx"] < len(tokens) for node in found["nodes"])
    assert tokens[:2] == ["patch 1,1", "patch 1,2"] and len(tokens) == 4 * 4 + 3
    into = sum(link["weight"] for link in found["links"] if link["target"] == "target")
    assert into == pytest.approx(view.graph["target"].value, abs=1e-5)


def test_the_viewer_s_influence_grows_to_the_whole_from_the_strongest_on(view):
    found = neuronpedia_graph(view, slug="a", scan="b")
    sizes = {node.id: abs(node.influence) for node in view.graph.nodes if node.kind != "target"}
    ordered = sorted((n for n in found["nodes"] if n["node_id"] in sizes), key=lambda n: -sizes[n["node_id"]])
    reached = [node["influence"] for node in ordered]
    assert reached == sorted(reached)
    assert reached[-1] == pytest.approx(1)
    assert reached[0] == pytest.approx(max(sizes.values()) / sum(sizes.values()))


def test_a_class_a_pair_and_the_lead_can_be_asked_for(model, picture, view):
    logits = {label: explain_graph(model, picture, target=label, units=1).graph["target"].value for label in LABELS}
    pair = explain_graph(model, picture, target=("city", "park"), units=1)
    assert (pair.target, pair.over) == ("city", "park")
    assert pair.graph["target"].value == pytest.approx(logits["city"] - logits["park"], abs=1e-5)
    top, second = sorted(LABELS, key=lambda label: -logits[label])[:2]
    assert (view.target, view.over) == (top, second)
    with pytest.raises(ValueError, match=r"but got 'citty', did you mean 'city'"):
        explain_graph(model, picture, target="citty")


def test_a_name_that_a_person_gave_stands_in_the_graph(model, picture, view):
    node = next(node for node in view.graph.nodes if node.kind == "unit")
    spec = model.lwta
    try:
        model.lwta = replace(spec, unit_names={node.layer: {str(node.unit): "roof"}})
        named = explain_graph(model, picture, units=3)
    finally:
        model.lwta = spec
    assert named.label(named.graph[node.id]) == "roof"
    clerps = {n["node_id"]: n["clerp"] for n in neuronpedia_graph(named, slug="a", scan="b")["nodes"]}
    assert clerps[node.id] == f"roof of {node.layer}"


def test_page_json_and_terminal_show_the_same_graph(model, picture, view, tmp_path: Path):
    explanation = replace(explain(model, picture), graph=view)
    page = render_report(tmp_path / "p.html", [explanation])
    text, record = page.read_text("utf-8"), json.loads(page.with_suffix(".json").read_text("utf-8"))
    graph = record["explanations"][0]["graph"]["graph"]
    assert len(graph["nodes"]) == len(view.graph.nodes) and len(graph["edges"]) == len(view.graph.edges)
    units = [node for node in view.graph.nodes if node.kind == "unit"]
    assert text.count('<li class="node"') == len(units)
    assert "Attention is held and not explained" in text
    for layer in view.graph.layers:
        assert f"<code>{layer}</code>" in text
    line = next(line for line in explanation_text(explanation).splitlines() if line.startswith("  why: "))
    strongest = view.graph.into("target")[0]
    assert f"{view.label(view.graph[strongest.source])} of decision {signed(strongest.effect)}" in line
    assert "attention is not explained" in explanation_text(explanation)


def test_markup_in_a_class_stays_text_in_the_graph(model, picture, view, tmp_path: Path):
    evil = "<img src=x onerror=alert(1)>"
    explanation = replace(explain(model, picture), graph=replace(view, target=evil))
    text = render_report(tmp_path / "p.html", [explanation]).read_text("utf-8")
    assert evil not in text
    assert "&lt;img src=x" in text
