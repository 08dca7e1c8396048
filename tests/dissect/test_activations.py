"""Recording: what a unit said about an image, and what it won, held against loops over images, units and positions."""

from math import ceil, isqrt

import pytest
import torch
from torch import nn

from competition_layers import Competition, StochasticLWTA, create_model
from competition_layers.twins import TwinActivation
from dissect import LayerRecord, record_activations
from dissect.recording.subject import reads_class_token
from dissect.recording.summaries import SUMMARIES


def conv_net(**options) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        StochasticLWTA(4, channel_dim=1, competition=Competition(**options)),
        nn.Flatten(),
        nn.Linear(8 * 9, 6),
    ).eval()


def winners_by_loop(h, competitors, layout):
    """True where a unit of (units, positions) beats its group."""
    units, positions = h.shape
    won = torch.zeros_like(h, dtype=torch.bool)
    groups = units // competitors
    for p in range(positions):
        for b in range(groups):
            members = [b + u * groups if layout == "strided" else b * competitors + u for u in range(competitors)]
            won[max(members, key=lambda k: h[k, p].item()), p] = True
    return won


@pytest.mark.parametrize("layout", ["strided", "adjacent"])
def test_a_competition_on_a_map_is_recorded_as_a_loop_over_positions_says(probe, to_tensor, layout):
    model = conv_net(layout=layout)
    record = record_activations(model, probe, "1", summaries=["mean", "max"], transform=to_tensor, batch_size=4)["1"]
    for i in range(len(probe)):
        h = model[0](to_tensor(probe[i])[None])[0].flatten(1)
        won = winners_by_loop(h, 4, layout)
        y = torch.where(won, h, 0)
        for k in range(8):
            values = h[k][won[k]]
            assert bool(record.won["mean"][i, k]) == bool(record.won["max"][i, k]) == bool(won[k].any())
            torch.testing.assert_close(record.summaries["mean"][i, k], y[k].mean())
            torch.testing.assert_close(
                record.summaries["max"][i, k], values.max() if len(values) else torch.tensor(0.0)
            )
            torch.testing.assert_close(record.win_rate[i, k], won[k].float().mean())
            expected = values.mean() if len(values) else torch.tensor(0.0)
            torch.testing.assert_close(record.value_when_winning[i, k], expected)


@pytest.mark.parametrize("activation", ["topk", "relu", "gelu"])
def test_a_twin_is_recorded_as_what_it_gives_and_wins_nothing(probe, to_tensor, activation):
    model = conv_net()
    model[1] = TwinActivation(4, channel_dim=1, competition=Competition(activation=activation))
    record = record_activations(model, probe, "1", summaries=["mean"], transform=to_tensor)["1"]
    given = model[:2](torch.stack([to_tensor(image) for image in probe]))
    torch.testing.assert_close(record.summaries["mean"], given.mean((2, 3)))
    assert record.won is None and record.win_rate is None


def test_a_winner_of_value_zero_has_won(probe, to_tensor):
    model = conv_net()
    nn.init.zeros_(model[0].weight)
    nn.init.zeros_(model[0].bias)
    record = record_activations(model, probe, "1", transform=to_tensor)["1"]
    assert record.won["mean"].sum(1).tolist() == [2] * len(probe)  # the first of equals wins, in both groups
    assert not record.summaries["mean"].any()


def test_the_best_win_of_a_unit_can_be_negative(probe, to_tensor):
    model = conv_net()
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    record = record_activations(model, probe, "1", summaries=["max"], transform=to_tensor)["1"]
    assert (record.summaries["max"][record.won["max"]] < 0).all()


def test_sampled_winners_are_those_of_the_pass_that_was_recorded(probe, to_tensor):
    model = conv_net(inference="sample", noise_scale=5.0)
    passed = []
    model[1].register_forward_hook(lambda module, inputs, output: passed.append(output))
    record = record_activations(model, probe, "1", transform=to_tensor, batch_size=5)["1"]
    y = torch.cat(passed).flatten(2)
    assert torch.equal((y != 0).any(2), record.won["mean"])  # no value is 0 by itself here
    torch.testing.assert_close(y.mean(2), record.summaries["mean"])
    assert (y != 0).float().mean().item() == 1 / 4


def test_a_sampled_record_repeats_and_leaves_the_noise_where_it_was(probe, to_tensor):
    model = conv_net(inference="sample")
    x = torch.randn(2, 3, 8, 8)
    model(x)
    before = model[1].stream.state()
    first = record_activations(model, probe, "1", transform=to_tensor)["1"]
    second = record_activations(model, probe, "1", transform=to_tensor)["1"]
    assert torch.equal(first.won["mean"], second.won["mean"])
    assert model[1].stream.state() == before


def test_several_layers_come_from_one_pass_and_modes_are_restored(probe, to_tensor):
    model = conv_net().train()
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))
    records = record_activations(model, probe, ["0", "1", "3"], transform=to_tensor, batch_size=10)
    assert list(records) == ["0", "1", "3"] and len(passes) == 1 and model.training
    assert records["0"].won is None and records["3"].summaries["mean"].shape == (10, 6)
    with torch.no_grad():
        logits = model.eval()(torch.stack([to_tensor(probe[i]) for i in range(10)]))
    torch.testing.assert_close(records["3"].summaries["mean"], logits)


def test_a_later_module_in_place_changes_nothing_in_the_record(probe, to_tensor):
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten()).eval()
    found = record_activations(model, probe, "0", transform=to_tensor)["0"].summaries["mean"]
    with torch.no_grad():
        alone = model[0](torch.stack([to_tensor(probe[i]) for i in range(10)])).mean((2, 3))
    torch.testing.assert_close(found, alone)
    assert (found < 0).any()


def test_a_dense_layer_supports_where_it_rises_above_its_smallest_value():
    values = torch.tensor([[0.0, 1.0, 3.0], [0.0, 2.0, 3.0], [0.5, 3.0, 3.0]])
    assert LayerRecord("relu", {"mean": values}).support("mean").tolist() == [1, 2, 0]


def test_tensors_and_back():
    record = LayerRecord(
        "a",
        {"mean": torch.ones(2, 3)},
        {"mean": torch.ones(2, 3).bool()},
        torch.ones(2, 3),
        torch.ones(2, 3),
        positions=torch.ones(2).int(),
    )
    again = LayerRecord.from_tensors("a", record.tensors())
    assert again.won.keys() == {"mean"} and torch.equal(again.win_rate, record.win_rate)
    assert LayerRecord.from_tensors("b", LayerRecord("b", {"mean": torch.ones(1, 1)}).tensors()).won is None


class TokenNet(nn.Module):
    """A class token, then a competition in every token."""

    def __init__(self, size: int = 4) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 6))
        self.patch = nn.Conv2d(3, 6, size, size)
        self.act = StochasticLWTA(3, channel_dim=-1)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        return self.act(torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1))[:, 0]


def summary_by_loop(summary, values, counted, won):
    """Of one unit and image: `values` are its outputs, `counted` those it won (no competition: all of them)."""
    loud = sorted((float(v) for v, c in zip(values, counted, strict=True) if c), reverse=True)
    if summary in ("max", "quantile"):
        at = 0 if summary == "max" else ceil(0.05 * len(loud)) - 1
        return (loud[at] if loud else 0.0), any(won)
    part = {"mean": slice(None), "cls": slice(0, 1), "tokens": slice(1, None)}[summary]
    return float(values[part].mean()), any(won[part])


@pytest.mark.parametrize("layer", ["act", "patch"])
@pytest.mark.parametrize("tokens", [4, 64])  # of which 5 % are one position, or four
def test_every_summary_is_its_definition(probe, to_tensor, layer, tokens):
    torch.manual_seed(1)
    model = TokenNet(size=8 // isqrt(tokens)).eval()
    names = SUMMARIES if layer == "act" else ("mean", "max", "quantile")
    record = record_activations(model, probe, layer, summaries=names, transform=to_tensor, batch_size=3)[layer]
    assert record.positions is None or record.positions.tolist() == [tokens + 1] * 10
    for i in range(len(probe)):
        maps = model.patch(to_tensor(probe[i])[None])[0].flatten(1)
        h = torch.cat([model.cls_token[0].T, maps], 1) if layer == "act" else maps
        won = winners_by_loop(h, 3, "strided") if layer == "act" else torch.ones_like(h).bool()
        for unit in range(6):
            for summary in names:
                value, spoke = summary_by_loop(summary, torch.where(won, h, 0)[unit].detach(), won[unit], won[unit])
                assert float(record.summaries[summary][i, unit]) == pytest.approx(value, abs=1e-5)
                assert layer == "patch" or bool(record.won[summary][i, unit]) == spoke


def test_the_class_token_is_the_first_and_its_wins_are_its_own(probe, to_tensor):
    model = TokenNet().eval()
    record = record_activations(model, probe, "act", summaries=["mean", "cls"], transform=to_tensor)["act"]
    with torch.no_grad():
        out = model(torch.stack([to_tensor(probe[i]) for i in range(10)]))
    torch.testing.assert_close(record.summaries["cls"], out)
    assert torch.equal(record.won["cls"], out != 0)
    assert record.won["cls"].sum() == 10 * 2 and record.won["mean"].sum() >= record.won["cls"].sum()


def test_by_default_the_summary_is_what_the_network_reads(probe, to_tensor):
    model = TokenNet()
    assert set(record_activations(model, probe, "act", transform=to_tensor)["act"].summaries) == {"cls"}
    assert set(record_activations(model, probe, "patch", transform=to_tensor)["patch"].summaries) == {"mean"}  # a map
    model.global_pool = "avg"
    assert not reads_class_token(model)
    assert set(record_activations(model, probe, "act", transform=to_tensor)["act"].summaries) == {"mean"}


def test_a_class_token_is_refused_where_there_is_none(probe, to_tensor):
    with pytest.raises(ValueError, match=r"Expected layer '1' to have a class token for summary 'cls'"):
        record_activations(conv_net(), probe, "1", summaries=["cls"], transform=to_tensor)


def test_unknown_layers_and_summaries_offer_the_nearest(probe, to_tensor):
    model = TokenNet()
    with pytest.raises(ValueError, match="Expected a known layer but got 'acts', did you mean 'act'"):
        record_activations(model, probe, "acts", transform=to_tensor)
    with pytest.raises(ValueError, match=r"Expected a summary among .*, tokens but got 'men', did you mean 'mean'"):
        record_activations(model, probe, "act", summaries=["men"], transform=to_tensor)


def test_a_module_that_runs_twice_is_refused_by_name(probe, to_tensor):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x):
            return self.act(self.act(x).mean((2, 3)))

    with pytest.raises(ValueError, match="Expected layer 'act' to run once in a pass but got 2 calls"):
        record_activations(Twice(), probe, "act", transform=to_tensor)


def test_a_layer_that_gives_no_tensor_is_refused_by_name(probe, to_tensor):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    model = nn.Sequential(Pair())
    with pytest.raises(ValueError, match=r"Expected layer '0' to give one tensor .* but got 2 tensors"):
        record_activations(model, probe, "0", transform=to_tensor)


def test_a_model_of_ones_own_needs_a_transform(probe):
    with pytest.raises(ValueError, match="Expected a network that says how a picture becomes its input but Sequential"):
        record_activations(conv_net(), probe, "1")


def test_timms_own_transform_is_the_default(probe):
    model = create_model(
        "vit_tiny_patch16_224", competitors=4, num_classes=3, image_size=32, depth=1, embed_dim=24, num_heads=2
    )
    record = record_activations(model, probe, "*.act", summaries=SUMMARIES)["blocks.0.mlp.act"]
    assert tuple(record.summaries) == SUMMARIES
    assert record.won["cls"].sum(1).tolist() == [24] * 10  # one of 4 in each of 24 groups
    torch.testing.assert_close(record.win_rate.sum(1), torch.full((10,), 24.0))
