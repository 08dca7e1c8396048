"""What is read of a competition: dead units, evenness, agreement, over batches."""

import pytest
import torch
from torch import multiprocessing, nn

from competition_layers import StochasticLWTA
from competition_layers.competition import Competition
from training.evaluation import Readings, decision_density
from training.sampling import NOT_COUNTED


class Known(nn.Module):
    """Two layers of two groups of two (units 0 and 2, units 1 and 3), whose inputs are the images themselves."""

    def __init__(self, **options):
        super().__init__()
        competition = Competition(**options)
        self.one = StochasticLWTA(2, channel_dim=-1, competition=competition)
        self.other = StochasticLWTA(2, channel_dim=-1, competition=competition)

    def forward(self, x):
        self.other(x.flatten(1))
        return self.one(x.flatten(1))


def read(model, images, labels):
    readings = Readings(4, samples=1)
    for batch, of in zip(images.split(2), labels.split(2), strict=True):
        readings.update(model.eval(), batch, of, with_win_rates=True)
    return {name: value.item() for name, value in readings.compute().items()}


def images_of(rows):
    return torch.tensor(rows)[:, :, None, None]


def test_dead_units_and_entropy_are_those_of_all_batches_together():
    # unit 0 wins twice, unit 2 twice; unit 1 always, unit 3 never
    images = images_of([[2.0, 3.0, 1.0, 0.0], [1.0, 3.0, 2.0, 0.0], [2.0, 3.0, 1.0, 0.0], [1.0, 3.0, 2.0, 0.0]])
    seen = read(Known(noise_scale=0.0), images, torch.zeros(4, dtype=torch.long))
    assert seen["dead_units"] == 0.25
    assert seen["winner_entropy"] == pytest.approx(0.5)
    assert seen["agreement"] == 1


def test_images_that_fill_up_a_batch_win_nothing():
    images = images_of([[2.0, 3.0, 1.0, 0.0], [1.0, 0.0, 2.0, 3.0]])
    seen = read(Known(noise_scale=0.0), images, torch.tensor([0, NOT_COUNTED]))
    assert seen["dead_units"] == 0.5


@pytest.mark.parametrize("noise", [1.0, 0.5])
@pytest.mark.parametrize("estimator", ["gumbel", "softmax", "relaxed"])
def test_a_sample_agrees_with_argmax_as_often_as_the_softmax_says(estimator, noise):
    images = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(4000, 4)[:, :, None, None]
    readings, network = Readings(4, samples=1), Known(noise_scale=noise, estimator=estimator).eval()
    readings.update(network, images, torch.zeros(4000, dtype=torch.long), with_win_rates=True)
    expected = torch.sigmoid(torch.tensor(1.0 / noise)).item()
    assert readings.compute()["agreement"].item() == pytest.approx(expected, abs=0.02)


def test_each_layer_has_a_reading_of_its_own_in_the_order_in_which_layers_run():
    images = images_of([[2.0, 3.0, 1.0, 0.0], [1.0, 3.0, 2.0, 0.0]])
    readings = Readings(4, samples=1)
    labels = torch.zeros(2, dtype=torch.long)
    readings.update(Known(noise_scale=0.0).eval(), images, labels, with_win_rates=True)
    assert [site.site for site in readings.site_readings()] == ["other", "one"]
    for site in readings.site_readings():
        assert site.win_rate.tolist() == [0.5, 1, 0.5, 0]
        assert (site.density, site.dead_units, site.winner_entropy) == (0.5, 0.25, pytest.approx(0.5))


def test_images_that_fill_up_a_batch_pass_nothing():
    images = images_of([[2.0, 3.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])  # winners of the second are 0
    seen = read(Known(noise_scale=0.0), images, torch.tensor([0, NOT_COUNTED]))
    assert seen["density"] == 0.5


class Decided(nn.Module):
    """A competition between two linear maps; what each winner adds to the margin can be written down."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.act = StochasticLWTA(2, channel_dim=-1)

    def forward(self, x):
        return self.last(self.act(self.first(x.flatten(1))))


def test_effective_density_before_a_linear_head_is_that_of_weight_times_winner():
    torch.manual_seed(0)
    model, images = Decided().eval(), torch.randn(16, 6, 1, 1)
    with torch.no_grad():
        out = model.act(model.first(images.flatten(1)))
        top, runner_up = model.last(out).topk(2).indices.unbind(1)
        shares = []
        for i in range(16):
            margin = out[i] * (model.last.weight[top[i]] - model.last.weight[runner_up[i]])
            sizes = sorted(margin.abs().tolist(), reverse=True)
            shares.append(next(n for n in range(1, 9) if sum(sizes[:n]) >= 0.9 * sum(sizes)) / 8)
    with torch.inference_mode():  # as in validation
        assert decision_density(model, images, "act").tolist() == pytest.approx(shares)
    assert all(weight.grad is None for weight in model.parameters())


def test_looking_closely_leaves_the_noise_where_it_was():
    model = Decided()
    model.act.competition = Competition(noise_scale=1.0, inference="sample")
    model.eval()
    before = model.act.stream.state()
    decision_density(model, torch.randn(4, 6, 1, 1), "act")
    assert model.act.stream.state() == before


def _read_in_process(rank, world, folder):
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet{world}", rank=rank, world_size=world)
    torch.manual_seed(0)
    model, images = Decided().eval(), torch.randn(7, 6, 1, 1)
    model.act.stream.fixed_seed = (
        0  # one noise for every image: whoever reads it, a sample agrees with argmax or does not
    )
    labels = torch.tensor([0] * 6 + [NOT_COUNTED])
    if world == 1:
        images, labels = images[:6], labels[:6]
        batches = [(images, labels)]
    else:  # 6 images shared out unevenly, the second share filled up
        batches = [(images[:4], labels[:4]), (images[4:], labels[4:])][rank : rank + 1]
    readings = Readings(3, samples=1)
    for batch in batches:
        readings.update(model, *batch, with_win_rates=True, with_effective_density=True)
    figures = {name: value.item() for name, value in readings.compute().items()}
    rates = [site.win_rate.tolist() for site in readings.site_readings()]
    torch.save((figures, rates, readings.site_readings()[0].density), f"{folder}/{world}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_read_of_the_same_images_what_one_reads(tmp_path):
    for world in (1, 2):
        multiprocessing.spawn(_read_in_process, (world, str(tmp_path)), nprocs=world)
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    assert first == second
    assert first[0] == pytest.approx(alone[0])
    assert (first[1], first[2]) == (alone[1], alone[2])
    assert "effective_density" in alone[0]
