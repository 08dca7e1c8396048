"""What lies on disk is the record, to fp16, and a competition's is small."""

import pytest
import torch
from torch import nn

from competition_layers import Competition, StochasticLWTA
from dissect import record_activations
from dissect.folder.packing import pack, unpack
from dissect.recording.layer_record import joined


def size(flat) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in flat.values())


class Tokens(nn.Module):
    """A class token, then a competition in every token."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, 512))
        self.patch = nn.Conv2d(3, 512, 4, 4)
        self.act = StochasticLWTA(8, channel_dim=-1)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        return self.act(torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], 1))[:, 0]


def recorded(model, probe, to_tensor, layer, *summaries):
    return record_activations(model, probe, layer, summaries=summaries, transform=to_tensor)[layer]


def shares_of_dense(record, packed):
    """How many times smaller than every unit's value of every image in fp16, the summaries that were asked for."""
    dense = sum(values.numel() * 2 for values in record.summaries.values())
    return dense / size({name: tensor for name, tensor in packed.items() if tensor.ndim and len(tensor) > 3})


@pytest.mark.parametrize("layout", ["strided", "adjacent"])
@pytest.mark.parametrize("summaries", [("mean",), ("max",), ("mean", "max", "quantile")])
def test_one_winner_a_group_is_an_index_and_a_value_five_times_smaller(probe, to_tensor, layout, summaries):
    """A vector's summaries are all the same number, kept once."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(192, 512), StochasticLWTA(8, channel_dim=-1, competition=Competition(layout=layout))
    ).eval()
    record = recorded(model, probe, to_tensor, "2", *summaries)
    packed = pack(record, model[2])
    assert packed["index.wins"].dtype == torch.uint8 and packed["index.wins"].shape == (10, 64)
    assert shares_of_dense(record, packed) >= 5 * len(summaries)  # 16 / (1 + 2), and 4 bytes an image
    again = unpack(packed)
    for summary in summaries:
        assert torch.equal(again[f"summary.{summary}"].half(), record.summaries[summary].half())
        assert torch.equal(again[f"won.{summary}"], record.won[summary])
    assert torch.equal(again["win_rate"], record.win_rate)


def test_a_class_token_is_an_index_and_a_value_five_times_smaller(probe, to_tensor):
    model = Tokens().eval()
    record = recorded(model, probe, to_tensor, "act", "cls")
    packed = pack(record, model.act)
    assert "index.wins" in packed and "count.wins" not in packed and shares_of_dense(record, packed) >= 5


@pytest.mark.parametrize("summaries", [("mean",), ("max",), ("quantile", "max"), ("max", "mean")])
@pytest.mark.parametrize("side", [3, 6])  # of the map: 9 and 36 positions
def test_over_positions_who_won_where_is_a_count_and_a_value_for_each_summary(probe, to_tensor, summaries, side):
    """A unit's mean over positions is a number of its own: nothing is saved where it won anywhere. Beside the maps
    themselves, whose winners would be an index and a value a position (3/16 of them), it is small at any size."""
    model = nn.Sequential(nn.Conv2d(3, 64, 9 - side), StochasticLWTA(8, channel_dim=1)).eval()
    record = recorded(model, probe, to_tensor, "1", *summaries)
    packed = pack(record, model[1])
    won, values = int((record.win_rate > 0).sum()), len({*summaries, "mean"})  # the mean: its value when winning
    assert size(packed) == 10 * 64 / 8 + won * (1 + 2 * values) + 10 + 24 + len(summaries)
    maps = 10 * 64 * side**2 * 2  # bytes in fp16
    assert maps / size(packed) >= (5 if side == 6 else 2)
    again = unpack(packed)
    assert [name for name in again if name.startswith("summary.")] == [f"summary.{s}" for s in summaries]
    assert torch.equal(again["win_rate"], record.win_rate) and torch.equal(again["positions"], record.positions)
    for summary in summaries:
        assert torch.equal(again[f"won.{summary}"], record.won[summary])
        torch.testing.assert_close(again[f"summary.{summary}"], record.summaries[summary], rtol=2**-11, atol=2**-20)


def test_values_too_large_for_fp16_stay_whole(probe, to_tensor):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), StochasticLWTA(4, channel_dim=-1)).eval()
    with torch.no_grad():
        model[1].bias.fill_(1e6)
    record = recorded(model, probe, to_tensor, "2", "mean")
    assert torch.equal(unpack(pack(record, model[2]))["summary.mean"], record.summaries["mean"])


def test_a_dense_layer_is_kept_as_it_is(probe, to_tensor):
    model = nn.Sequential(nn.Conv2d(3, 4, 3)).eval()
    record = recorded(model, probe, to_tensor, "0", "max", "mean")
    again = unpack(pack(record, model[0]))
    assert list(again) == ["summary.max", "summary.mean"]
    assert all(torch.equal(again[name], tensor) for name, tensor in record.tensors().items())


def test_parts_are_joined_in_their_rows():
    x = torch.arange(6.0).view(3, 2)
    whole = joined([(range(2, 3), {"x": x[2:]}), (range(2), {"x": x[:2]})], 3)
    assert torch.equal(whole["x"], x)
