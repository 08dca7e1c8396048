"""Claims about attribution graphs: sums are exact, and every edge is what happens with the rest held."""

import pytest
import torch
from competing import small_resnet
from torch import nn

from competition_layers import DecisionLayer, attribution_graph, create_model, fixed_noise, inference_rule
from competition_layers.attribution import flat_positions
from competition_layers.graphs.held_pass import PICTURE, held_again, held_pass

LABELS = ("beach", "city", "farm", "park")
EXACT = {torch.float32: 1e-5, torch.float64: 1e-10}


def vit(competitors: int = 4, **options) -> nn.Module:
    torch.manual_seed(0)
    small = {"depth": 2, "embed_dim": 24, "num_heads": 2, "patch_size": 8, "num_classes": 4, "image_size": 32}
    return create_model("vit_tiny_patch16_224", competitors=competitors, **small, **options)


NETWORKS = {
    "ViT": vit,
    "ResNet": lambda: small_resnet(4, LABELS),
    "ViT with a decision layer": lambda: vit(decision=DecisionLayer(16, 4, at="positions")),
    "ResNet with a decision layer": lambda: small_resnet(4, LABELS, decision=DecisionLayer(16, 4)),
    "GELU twin": lambda: vit(1),
    "ReLU twin": lambda: small_resnet(1, LABELS),
}


def network(name: str, dtype: torch.dtype) -> nn.Module:
    """With biases, gates and norms that do something: a fresh one is too regular to find a fault with."""
    model = NETWORKS[name]()
    torch.manual_seed(1)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval().to(dtype)


def picture(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)).to(dtype)


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", EXACT)
def test_effects_and_bias_sum_to_what_the_network_computed(name, dtype, positions):
    model, x = network(name, dtype), picture(dtype)
    graph = attribution_graph(model, x, units=3, positions=positions)
    before, logits = plain_pass(model, x, graph.layers)  # by hooks alone, nothing held
    top, second = logits[0].topk(2).indices.tolist()
    assert (graph.target, graph.over) == (top, second)
    assert graph["target"].value == pytest.approx((logits[0, top] - logits[0, second]).item(), abs=EXACT[dtype])
    expanded = [node for node in graph.nodes if node.kind in ("target", "unit")]
    assert len(expanded) > len(graph.layers)
    for node in expanded:
        effects = [edge.effect for edge in graph.into(node.id)]
        assert abs(sum(effects) - node.value) <= EXACT[dtype] * sum(map(abs, effects))
        if node.kind == "unit":
            flat = flat_positions(before[node.layer], axis_of(before[node.layer]))[0, :, node.unit]
            assert node.places <= len(flat)
            if positions:
                assert node.value == pytest.approx(flat[node.position].item(), rel=1e-4, abs=1e-5)


def without_patch(x: torch.Tensor, graph, node) -> torch.Tensor:
    """The picture with the mean colour in the place of a patch."""
    row, column = divmod(node.position, graph.grid[1])
    high, wide = x.shape[-2] // graph.grid[0], x.shape[-1] // graph.grid[1]
    grey = x.clone()
    grey[..., row * high : (row + 1) * high, column * wide : (column + 1) * wide] = 0
    return grey


@pytest.mark.parametrize("name", NETWORKS)
def test_a_source_ablated_with_the_rest_held_takes_its_edge(name):
    model, x = network(name, torch.float64), picture(torch.float64)
    graph = attribution_graph(model, x, units=2)
    with fixed_noise(model):
        first = held_pass(model, x, graph.layers)
        whole = held_again(model, first, first.sources)
        for source in [node for node in graph.nodes if node.kind in ("unit", "patch")]:
            if source.kind == "patch":
                left = held_again(model, first, dict(first.sources) | {PICTURE: without_patch(x, graph, source)})
            else:
                ablated = first.sources[source.layer].detach().clone()
                ablated.select(axis_of(ablated), source.unit).zero_()
                left = held_again(model, first, dict(first.sources) | {source.layer: ablated})
            edges = {edge.target: edge.effect for edge in graph.edges if edge.source == source.id}
            lost = (whole[""] - left[""])[0]
            assert edges.get("target", 0) == pytest.approx((lost[graph.target] - lost[graph.over]).item(), abs=1e-10)
            for node in [node for node in graph.nodes if node.kind == "unit" and node.layer != source.layer]:
                change = whole[node.layer] - left[node.layer]
                change = flat_positions(change, axis_of(change))[0, :, node.unit]
                if node.places == len(change):  # summed over all: a unit that won somewhere alone is told by the others
                    assert edges.get(node.id, 0) == pytest.approx(change.sum().item(), abs=1e-9)


@pytest.mark.parametrize("name", ["ViT", "ResNet with a decision layer"])
def test_beside_each_edge_stands_what_switching_off_really_does(name):
    model, x = network(name, torch.float64), picture(torch.float64)
    graph = attribution_graph(model, x, units=2)
    _, logits = plain_pass(model, x, graph.layers)
    for source in [node for node in graph.nodes if node.kind == "unit"]:

        def off(module, inputs, output, unit=source.unit):
            keep = torch.ones(output.shape[axis_of(output)], dtype=output.dtype)
            keep[unit] = 0
            return output * (keep[:, None, None] if output.ndim == 4 else keep)

        handle = model.get_submodule(source.layer).register_forward_hook(off)
        _, without = plain_pass(model, x, graph.layers)
        handle.remove()
        lost = (logits - without)[0]
        assert source.unheld == pytest.approx((lost[graph.target] - lost[graph.over]).item(), abs=1e-9)
        direct = [edge for edge in graph.into("target") if edge.source == source.id]
        assert all(edge.unheld == source.unheld for edge in direct)
    for source in [node for node in graph.nodes if node.kind == "patch"]:
        grey = without_patch(x, graph, source)
        lost = (logits - plain_pass(model, grey, graph.layers)[1])[0]
        assert source.unheld == pytest.approx((lost[graph.target] - lost[graph.over]).item(), abs=1e-9)
        assert all(edge.unheld is not None for edge in graph.edges if edge.source == source.id)


def test_of_the_last_competition_nothing_but_its_own_path_leads_to_the_decision():
    graph = attribution_graph(network("ResNet with a decision layer", torch.float64), picture(torch.float64), units=99)
    sources = {edge.source for edge in graph.into("target")}
    assert all(source == "bias" or source.startswith("decision/") for source in sources)
    for edge in graph.into("target"):  # held or not: after the last competition all is linear
        assert edge.unheld is None or edge.unheld == pytest.approx(edge.effect, abs=1e-9)
    assert graph.kept["decision"] == pytest.approx(1)


def test_influences_of_a_layer_s_sources_and_biases_are_the_whole_value():
    graph = attribution_graph(network("ViT", torch.float64), picture(torch.float64))
    ends = [n.influence for n in graph.nodes if n.kind in ("patch", "other patches", "bias")]
    assert sum(ends) == pytest.approx(graph["target"].value, abs=1e-9)


def test_a_class_or_a_difference_of_two_can_be_asked_for():
    model, x = network("ViT", torch.float64), picture(torch.float64)
    logits = model(x)[0]
    assert attribution_graph(model, x, 1)["target"].value == pytest.approx(logits[1].item())
    graph = attribution_graph(model, x, (1, 3))
    assert (graph.target, graph.over) == (1, 3)
    assert graph["target"].value == pytest.approx((logits[1] - logits[3]).item())


def test_a_network_that_samples_is_explained_on_one_draw():
    model, x = network("ViT", torch.float64), picture(torch.float64)
    with inference_rule(model, "sample"):
        assert attribution_graph(model, x) == attribution_graph(model, x)


def test_pruning_keeps_the_largest_edges_of_each_node():
    graph = attribution_graph(network("ViT", torch.float32), picture())
    fewer = graph.pruned(0.5)
    for node in graph.nodes:
        every, kept = ([abs(edge.effect) for edge in g.into(node.id)] for g in (graph, fewer))
        assert every[: len(kept)] == kept
        assert sum(kept) >= 0.5 * sum(every) >= sum(kept[:-1])


def test_what_is_shown_is_the_strongest_and_its_share_is_told():
    model, x = network("ViT", torch.float64), picture(torch.float64)
    few, all_ = attribution_graph(model, x, units=2), attribution_graph(model, x, units=96)
    layer = few.layers[0]
    sizes = sorted(abs(node.influence) for node in all_.nodes if node.layer == layer and node.kind == "unit")
    shown = [abs(node.influence) for node in few.nodes if node.layer == layer and node.kind == "unit"]
    assert shown == pytest.approx(sizes[:-3:-1])
    assert few.kept[layer] == pytest.approx(sum(shown) / sum(sizes))


def test_a_bend_that_is_not_held_is_refused():
    class Squared(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.act, self.fc2 = nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3)

        def forward(self, x):
            return self.fc2(self.act(self.fc1(x.flatten(1))) ** 2)

    with pytest.raises(ValueError, match=r"Expected Squared to be linear between these layers .* miss their values by"):
        attribution_graph(Squared().eval(), torch.randn(1, 3, 2, 2), layers=["act"])


def test_arguments_are_checked_before_work_starts():
    model = network("ViT", torch.float32)
    with pytest.raises(ValueError, match=r"Expected one image \(1, channels, height, width\) but got \(2, 3, 32, 32\)"):
        attribution_graph(model, torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="Expected units >= 1 but got 0"):
        attribution_graph(model, picture(), units=0)
    with pytest.raises(ValueError, match="Expected a target class between 0 and 3 but got 9"):
        attribution_graph(model, picture(), 9)
    with pytest.raises(ValueError, match=r"Expected a known layer but got 'blocks.0.mlp.acts', did you mean"):
        attribution_graph(model, picture(), layers=["blocks.0.mlp.acts"])


def axis_of(t: torch.Tensor) -> int:
    """Of the units: maps have their channels first here."""
    return 1 if t.ndim == 4 else -1


def plain_pass(model: nn.Module, x: torch.Tensor, layers) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    before: dict[str, torch.Tensor] = {}
    handles = [
        model.get_submodule(name).register_forward_hook(lambda m, i, o, name=name: before.update({name: i[0].clone()}))
        for name in layers
    ]
    with torch.no_grad():
        logits = model(x)
    for handle in handles:
        handle.remove()
    return before, logits
