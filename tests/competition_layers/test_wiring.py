"""The graph of a pass, held against torch.export's; the order of registration decides nothing in it."""

import copy

import pytest
import timm
import torch
from torch import nn

from competition_layers import Competition, StochasticLWTA, create_model, survey, swap_activations
from competition_layers.surgery import Site
from competition_layers.wiring.axes import channel_axes, channel_axis
from competition_layers.wiring.feeding import fed_by
from competition_layers.wiring.graph import OUTPUT
from competition_layers.wiring.permutation import neighbours
from competition_layers.wiring.readers import winner_pairs
from competition_layers.wiring.trace import trace

FAMILIES = {  # pixels of a side
    "test_vit": 32,
    "test_resnet": 32,
    "test_convnext": 32,
    "test_efficientnet": 32,
    "test_nfnet": 32,
    "swin_tiny_patch4_window7_224": 224,
    "levit_128s": 224,
}  # no DLA: one module stands at several of its places, which torch.export knows by the first name alone
SLOW = ("swin_tiny_patch4_window7_224", "levit_128s")
every_family = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in FAMILIES]
)
LAYERS = {"linear", "layer_norm", "batch_norm", "group_norm", "conv1d", "conv2d"}
SUMS = {"add", "sub", "cat", "stack"}
LENT = {"reshape_as", "view_as", "expand_as"}  # the second tensor lends its shape
NOTHING = {"dropout", "clone", "contiguous", "detach"}  # in evaluation


class Exported:
    """torch.export's graph, asked what our own graph is asked."""

    def __init__(self, model, x):
        with torch.no_grad():
            model(x)  # LeViT keeps its attention biases at the first pass in evaluation
        nodes = torch.export.export(model, (x,)).graph.nodes
        self.nodes = [node for node in nodes if node.op in ("call_function", "output")]
        self.model = model

    def inside(self, node, name):
        return any(f"{path}.".startswith(f"{name}.") for path, _ in node.meta.get("nn_module_stack", {}).values())

    def module(self, node):
        return [path for path, _ in node.meta.get("nn_module_stack", {}).values()][-1] if node.op != "output" else ""

    def function(self, node):
        return str(node.target).removeprefix("aten.").split(".")[0].rstrip("_")

    def fed_by(self, site, activations):
        """Back from the first function of the site: through sums to each term, elsewhere to what is changed."""
        found, todo = [], [next(node for node in self.nodes if self.inside(node, site)).args[0]]
        while todo:
            node = todo.pop(0)
            if any(self.inside(node, other) for other in activations) or node.op != "call_function":
                continue
            if self.function(node) in LAYERS:
                found.append(self.module(node))
            else:
                terms = node.args[0] if isinstance(node.args[0], list | tuple) else node.args
                terms = [term for term in terms if isinstance(term, torch.fx.Node)]
                terms = terms[:1] if self.function(node) in LENT else terms
                terms = terms[1:] if self.function(node) == "matmul" else terms  # weights of positions come first
                todo += terms if self.function(node) in SUMS else self.changed(node, terms)
        return set(found)

    def changed(self, node, terms):
        """Of the factors of a product the one that has its shape: the other is a gate."""
        shape, *shapes = (getattr(each.meta["val"], "shape", None) for each in (node, *terms))  # a split has none
        return ([term for term, its in zip(terms, shapes, strict=True) if its == shape] or terms)[:1]

    def readers(self, site):
        """The modules that call what reads the site's last function."""
        todo = list([node for node in self.nodes if self.inside(node, site)][-1].users)
        found = []
        while todo:
            node = todo.pop()
            if self.function(node) in NOTHING:
                todo += node.users
            else:
                found.append((self.module(node), "" if node.op == "output" else self.function(node)))
        return sorted(found)


@every_family
def test_what_feeds_and_what_reads_a_site_is_what_torch_export_says(name):
    size = FAMILIES[name]
    options = {"img_size": size} if name == "test_vit" else {}
    model, x = timm.create_model(name, num_classes=3, **options).eval(), torch.zeros(1, 3, size, size)
    exported, graph = Exported(model, x), trace(model, x)
    activations = survey(model, inputs=x).activations
    sites = [a for a in activations if a.site]
    assert len(sites) > 2
    for a in sites:
        assert set(a.fed_by) == exported.fed_by(a.name, [b.name for b in activations if b.name != a.name]), a.name
        (call,) = graph.calls[a.name]
        readers = [(n.module, n.function.strip("_")) for value in call.gives for n in value.readers]
        assert sorted((m, "" if f == OUTPUT else f) for m, f in readers) == exported.readers(a.name)


def shuffled(model):
    """The same network, registered backwards wherever nobody loops over the order."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if not isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            module._modules = dict(reversed(module._modules.items()))
    return model


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet"])
def test_the_order_of_registration_decides_nothing(name):
    size = FAMILIES[name]
    model, x = create_model(name, competitors=2, num_classes=3, image_size=size).eval(), torch.zeros(1, 3, size, size)
    other = shuffled(model)
    assert [n for n, _ in other.named_modules()] != [n for n, _ in model.named_modules()]
    assert str(survey(other)) == str(survey(model))
    assert winner_pairs(other) == winner_pairs(model)
    assert neighbours(other, model.lwta.sites[0].name, x=x) == neighbours(model, model.lwta.sites[0].name, x=x)


class Turned(nn.Module):
    """Maps with channels first, last, as tokens, and pooled; registered in another order than they run."""

    def __init__(self):
        super().__init__()
        self.head, self.act, self.norm = nn.Linear(8, 3), nn.GELU(), nn.LayerNorm(8)
        self.conv = nn.Conv2d(3, 8, 1)
        self.first, self.last, self.tokens, self.pooled = (nn.Identity() for _ in range(4))

    def forward(self, x):
        x = self.act(self.first(self.conv(x)))
        x = self.norm(self.last(x.permute(0, 2, 3, 1)))
        return self.head(self.pooled(self.tokens(x.flatten(1, 2)).mean(1)))


@pytest.mark.parametrize("size", [(5, 7), (5, 5), (8, 8)])
def test_the_axis_of_the_units_is_followed_through_the_pass(size):
    layers = {"first": 1, "act": 1, "last": 3, "norm": 3, "tokens": 2, "pooled": 1, "head": 1}
    assert channel_axes(Turned(), list(layers), torch.randn(2, 3, *size)) == layers


def test_a_competition_and_a_site_of_the_dense_twin_tell_their_axis():
    model, x = nn.Sequential(nn.Conv2d(3, 8, 1), StochasticLWTA(2, channel_dim=-1)), torch.zeros(2, 3, 7, 8)
    assert channel_axis(model, "1", x) == -1
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.GELU())
    model.lwta = type("Spec", (), {"sites": (Site("1", -1),)})()
    assert channel_axis(model, "1", x) == -1
    assert channel_axis(model, "0", x) == 1


def test_a_layer_whose_units_cannot_be_told_is_refused_by_name():
    model, x = timm.create_model("test_vit", num_classes=3), torch.zeros(1, 3, 160, 160)
    model.blocks[0].attn.fused_attn = False
    with pytest.raises(ValueError, match=r"'blocks.0.attn.attn_drop' to have its units on one axis"):
        channel_axis(model, "blocks.0.attn.attn_drop", x)
    with pytest.raises(ValueError, match=r"'blocks.0.attn.attn_drop' to run once in a pass but got 0 calls"):
        channel_axis(timm.create_model("test_vit", num_classes=3), "blocks.0.attn.attn_drop", x)


def test_what_is_written_into_is_a_new_value():
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.act, self.head = nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)

        def forward(self, x):
            y = self.act(self.fc(x))
            y[:, 0] = 1.0
            return self.head(y)

    graph = trace(Written())
    (act,), (head,) = graph.calls["act"], graph.calls["head"]
    assert [node.function for node in act.gives[0].readers] == ["__setitem__"]
    assert head.reads[0] is not act.gives[0] and head.reads[0].maker.function == "__setitem__"
    assert fed_by(head.reads[0]) == ("fc",)


def test_the_shape_of_the_input_is_found_whatever_is_registered_first():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.second, self.first = nn.Linear(6, 2), nn.Conv2d(8, 6, 3), nn.Conv2d(3, 8, 3)

        def forward(self, x):
            return self.head(self.second(self.first(x)).mean((2, 3)))

    assert trace(Backwards()).calls["first"][0].reads[0].shape == (1, 3, 224, 224)
    with pytest.raises(RuntimeError, match="channels"):
        trace(Backwards(), torch.zeros(1, 4, 8, 8))


def test_a_trace_leaves_nothing_behind():
    class Keeping(nn.Module):
        """Keeps tensors of its pass, as rotary embeddings and window masks do."""

        def __init__(self):
            super().__init__()
            self.fc, self.act = nn.Linear(4, 8), nn.ReLU()

        def forward(self, x):
            self.kept = self.act(self.fc(x))
            return {"logits": self.kept, "pair": (x, x)}

    model = Keeping()
    model.fc.eval()
    swap_activations(model, 2, competition=Competition(inference="sample"))
    stood = model.act.stream.state()
    graph = trace(model)
    assert [value.shape for value in graph.output.reads] == [(1, 8), (1, 4), (1, 4)]
    assert not hasattr(model.kept, "_value") and not any(hasattr(p, "_value") for p in model.parameters())
    assert [m.training for m in (model, model.fc, model.act)] == [True, False, True]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model.act.stream.state() == stood and model.act.competition.inference == "sample"
