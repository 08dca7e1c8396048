"""The module: when noise is drawn, from where, and what a copy does."""

import copy
import pickle

import pytest
import torch

from competition_layers import Competition, Groups, StochasticLWTA, fixed_noise, lwta, winner_mask
from competition_layers.competition import ESTIMATORS


def layer(**options):
    return StochasticLWTA(4, channel_dim=-1, competition=Competition(**options))


def test_evaluation_follows_the_inference_rule():
    h = torch.randn(64, 16)
    argmax, sample = layer(inference="argmax").eval(), layer(inference="sample").eval()
    assert torch.equal(argmax(h), lwta(h, Groups(4, channel_dim=-1)))
    assert torch.equal(argmax(h), argmax(h))
    assert not torch.equal(sample(h), sample(h))


def test_training_draws_noise_unless_its_scale_is_zero():
    h = torch.randn(64, 16)
    noisy, quiet = layer(noise_scale=1.0).train(), layer(noise_scale=0.0).train()
    assert not torch.equal(noisy(h), noisy(h))
    assert torch.equal(quiet(h), lwta(h, Groups(4, channel_dim=-1)))


def test_the_relaxed_sample_is_hard_in_evaluation():
    h, a = torch.randn(64, 16), layer(estimator="relaxed", inference="sample")
    assert (a.train()(h) != 0).all()
    assert ((a.eval()(h) != 0).sum(1) == 4).all()


def test_argmax_trains_without_noise_whatever_its_scale():
    h, a = torch.randn(64, 16), layer(estimator="argmax").train()
    assert not a.noisy and torch.equal(a(h), lwta(h, Groups(4, channel_dim=-1)))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_nan_is_an_error_that_names_the_layer(estimator):
    a, h = layer(estimator=estimator), torch.randn(2, 16)
    a.name, h[0, 3] = "blocks.3.mlp.act", float("nan")
    for mode in (a.train(), a.eval()):
        with pytest.raises(RuntimeError, match=r"Expected numbers in layer 'blocks.3.mlp.act' but got NaN"):
            mode(h)


def test_no_pictures_are_no_error():
    assert layer().train()(torch.zeros(0, 16)).shape == (0, 16)


def test_the_noise_never_touches_the_global_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    layer().train()(torch.randn(4, 16, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_seed_gives_the_same_noise_and_another_seed_another():
    h, a = torch.randn(64, 16), layer().train()
    a.stream.restore(7)
    first = a(h)
    a.stream.restore(7)
    assert torch.equal(a(h), first)
    a.stream.restore(8)
    assert not torch.equal(a(h), first)


def test_a_stream_can_be_put_back_where_it_stood():
    h, a, b = torch.randn(64, 16), layer().train(), layer().train()
    a(h)
    b.stream.restore(*a.stream.state())
    assert torch.equal(a(h), b(h))


def test_a_pass_run_again_by_activation_checkpointing_meets_its_noise_again():
    from torch.utils.checkpoint import checkpoint

    h, grads = torch.randn(64, 16), []
    for through in (lambda f, x: f(x), lambda f, x: checkpoint(f, x, use_reentrant=False)):
        a, x = layer().train(), h.clone().requires_grad_()
        a.stream.restore(0)
        for _ in range(2):
            through(lambda x, a=a: a(x).exp().sin(), x).sum().backward()
        grads.append(x.grad)
        assert a.stream.state()[1] == 2, "running again is no new pass"
    assert torch.equal(*grads)


def test_the_winners_of_the_latest_pass_can_be_asked_for():
    h, a = torch.randn(64, 16), layer().train()
    for _ in range(2):
        y = a(h)
        assert torch.equal(winner_mask(a.winners(h), Groups(4, channel_dim=-1)), y != 0)


def test_fixed_noise_is_one_for_every_pass_and_image_and_ends():
    h, a = torch.randn(1, 7, 16), layer().train()
    a(h)
    before = a.stream.state()
    with fixed_noise(a), fixed_noise(a, seed=5):
        once, twice = a(h), a(h.expand(3, -1, -1))
        assert torch.equal(once.expand(3, -1, -1), twice)
    a.stream.restore(*before)
    after = a(h)
    a.stream.restore(*before)
    assert torch.equal(after, a(h)) and not torch.equal(after, once)


def test_layers_can_be_copied_and_pickled_after_use():
    a = layer().train()
    a(torch.randn(2, 16))
    for twin in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))):
        assert repr(twin) == repr(a)
        twin(torch.randn(2, 16))


def test_the_repr_says_everything_that_was_chosen():
    competition = Competition(layout="adjacent", temperature=1.67, noise_scale=0.5, inference="sample")
    assert repr(StochasticLWTA(8, channel_dim=1, competition=competition)) == (
        "StochasticLWTA(8, channel_dim=1, layout='adjacent', noise_scale=0.5, temperature=1.67, estimator='gumbel', "
        "inference='sample')"
    )


def test_a_width_that_does_not_divide_names_the_layer():
    a = layer()
    a.name = "blocks.3.mlp.act"
    with pytest.raises(
        ValueError, match=r"'blocks.3.mlp.act' to be a multiple of competitors=4 but got 10; .* 2, 5, 10"
    ):
        a(torch.zeros(1, 10))


@pytest.mark.parametrize(
    "options, text",
    [
        ({"layout": "stripes"}, "strided, adjacent but got 'stripes'"),
        ({"estimator": "relax"}, "gumbel, softmax, relaxed, argmax but got 'relax', did you mean 'relaxed'"),
        ({"inference": "mean"}, "argmax, sample but got 'mean'"),
        ({"temperature": 0.0}, "temperature to be a number > 0 but got 0.0"),
        ({"temperature": float("nan")}, "temperature to be a number > 0 but got nan"),
        ({"noise_scale": -1.0}, "noise_scale to be a number >= 0 but got -1.0"),
        ({"noise_scale": True}, "noise_scale to be a number >= 0 but got True"),
    ],
)
def test_impossible_numbers_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        Competition(**options)


def test_a_group_has_at_least_two_competitors():
    with pytest.raises(ValueError, match="between 2 and 255 but got 1; 1 means no competition"):
        StochasticLWTA(1, channel_dim=-1)
