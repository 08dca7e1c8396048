"""Claims about the measures of sparsity."""

import subprocess
import sys

import pytest
import torch

from competition_layers import Groups
from competition_layers.metrics import Density, WinRate, dead_units, deciding_units, effective_density, winner_entropy


def test_effective_density_is_the_smallest_set_by_trying_all_sizes():
    torch.manual_seed(0)
    for units in (1, 5, 40):
        c = torch.randn(units)
        sizes = sorted((abs(v) for v in c.tolist()), reverse=True)
        n = next(n for n in range(1, units + 1) if sum(sizes[:n]) >= 0.9 * sum(sizes) - 1e-9)
        assert effective_density(c).item() == pytest.approx(n / units)


def test_one_unit_that_decides_all_has_density_one_over_k():
    assert effective_density(torch.tensor([0.0, 0.0, -5.0, 0.0])).item() == 0.25


def test_equal_contributions_need_nine_in_ten_whatever_their_number():
    for units in (10, 1000, 30000):
        assert effective_density(torch.full((units,), 0.1)).item() == pytest.approx(0.9)


def test_nothing_contributing_counts_no_unit():
    assert effective_density(torch.zeros(3, 4)).tolist() == [0, 0, 0]
    assert not deciding_units(torch.zeros(4)).any()


def test_sign_and_scale_do_not_matter():
    c = torch.randn(7, 32)
    assert torch.equal(effective_density(c), effective_density(-1e-20 * c.double()))


def test_share_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match="Expected a share above 0 and at most 1 but got 90"):
        effective_density(torch.ones(3), share=90)


def test_metrics_over_batches_equal_one_pass():
    won = torch.rand(20, 3, 3, 8) < 0.3
    density, rate = Density(), WinRate(8)
    for batch in won.split(7):
        density.update(batch)
        rate.update(batch)
    assert density.compute().item() == pytest.approx(won.float().mean().item())
    assert torch.allclose(rate.compute(), won.flatten(0, 2).float().mean(0))


def test_win_rate_names_the_width_it_expected():
    with pytest.raises(ValueError, match="Expected 8 units on the last axis but got the shape"):
        WinRate(8).update(torch.ones(2, 4, dtype=torch.bool))


def test_dead_units_and_entropy():
    rates = torch.tensor([1.0, 0.5, 0.0, 0.5])  # strided groups (0, 2) and (1, 3)
    assert dead_units(rates).item() == 0.25
    assert winner_entropy(rates, Groups(2, channel_dim=0)).item() == pytest.approx(0.5)
    assert winner_entropy(rates[[0, 2, 1, 3]], Groups(2, channel_dim=0, layout="adjacent")).item() == pytest.approx(0.5)


_ONE_RANK = """
import sys
import torch
import torch.distributed as dist
from competition_layers.metrics import Density, WinRate

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
won = torch.tensor([[True, False]] * (1 + 2 * rank) + [[False, True]] * rank)  # each rank sees its own number of images
density, rate = Density(), WinRate(2)
density.update(won)
rate.update(won)
print(density.compute().item(), *rate.compute().tolist())
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_metrics_count_the_images_of_every_process(tmp_path):
    commands = [[sys.executable, "-c", _ONE_RANK, str(rank), str(tmp_path)] for rank in (0, 1)]
    ranks = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    for rank in ranks:
        out, _ = rank.communicate(timeout=120)
        assert [float(v) for v in out.split()] == pytest.approx([0.5, 0.8, 0.2])
