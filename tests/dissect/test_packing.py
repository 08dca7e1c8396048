"""What lies on disk is the record, to fp16, and a competition's is small."""

import pytest
import torch
from torch import nn

from competition_layers import StochasticLWTA
from dissect import record_activations
from dissect.packing import joined, pack, unpack


def size(flat) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in flat.values())


def recorded(model, probe, to_tensor, layer, *summaries):
    return record_activations(model, probe, layer, summaries=summaries, transform=to_tensor)[layer]


@pytest.mark.parametrize("layout", ["strided", "adjacent"])
def test_one_winner_a_group_is_an_index_and_a_value_five_times_smaller(probe, to_tensor, layout):
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 64), StochasticLWTA(8, channel_dim=-1, layout=layout)).eval()
    record = recorded(model, probe, to_tensor, "2", "mean")
    packed = pack(record, model[2])
    assert packed["index.wins"].dtype == torch.uint8 and packed["index.wins"].shape == (10, 8)
    dense = record.summaries["mean"].half()
    assert size({"": dense}) / size({k: v for k, v in packed.items() if v.numel() > 2}) >= 5  # 16/3
    again = unpack(packed)
    assert torch.equal(again["summary.mean"].half(), dense)
    assert torch.equal(again["won.mean"], record.won["mean"])
    assert torch.equal(again["win_rate"], record.win_rate)


@pytest.mark.parametrize("summaries", [("mean",), ("max", "mean"), ("quantile", "max")])
def test_over_positions_every_value_and_every_win_comes_back(probe, to_tensor, summaries):
    model = nn.Sequential(nn.Conv2d(3, 16, 3), StochasticLWTA(8, channel_dim=1)).eval()
    record = recorded(model, probe, to_tensor, "1", *summaries)
    packed = pack(record, model[1])
    assert summaries != ("mean",) or size(packed) < 5 * record.win_rate.numel()
    again = unpack(packed)
    assert [name for name in again if name.startswith("summary.")] == [f"summary.{s}" for s in summaries]
    for name, tensor in record.tensors().items():
        if tensor.dtype == torch.bool:
            assert torch.equal(again[name], tensor)
        torch.testing.assert_close(again[name], tensor, rtol=2e-3, atol=1e-6)


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
