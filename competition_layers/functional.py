"""The stochastic local-winner-takes-all competition as pure functions of tensors.

In each group of U competitors one unit wins and passes its value with its sign; the others give 0
(Panousis & Chatzis 2023, "DISCOVER", sec. 3; Panousis et al. 2019, "Nonparametric Bayesian Deep Networks with Local
Competition"). Nothing here is random: noise comes from a key (`noise.py`).

With noise scale s, temperature tau and G = dL/dy, one formula holds for every estimator:

    y_u = h_u p_u        dL/dh_u = G_u p_u + (1/tau) m_u (G_u h_u - sum_v m_v G_v h_v)        m = softmax(l / tau)

| estimator | who wins | p, what passes | l | source |
|---|---|---|---|---|
| `gumbel` | argmax(h + s g), g standard Gumbel | the winner, p in {0, 1} | h + s g | DISCOVER, sec. 3 |
| `softmax` | a draw from softmax(h / s), by its inverse CDF | the winner | h | Bengio et al. 2013, straight-through |
| `relaxed` | argmax(h + s g) | m: all units, softly | h + s g | Panousis et al. 2019; its exact gradient |
| `argmax` | argmax(h) | the winner | h | the others at s = 0 |

`gumbel` and `softmax` choose by one law, `softmax` from a single uniform number a group. tau shapes gradients (and
`relaxed` values), never which unit wins. At tau = inf the estimator's term is gone and dL/dh_u = G_u p_u: the gradient
of what was computed, which is a network's in evaluation.

A loser gives 0 also where it is infinite. Second derivatives are those of the formula, p a constant of the winners.
"""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from .competition import Estimator
from .formula import NOISY_LOGITS, Options, ranked, soft_values
from .groups import Groups, grouped
from .noise import Key, draw_noise
from .on_gpu import formula_for
from .private_torch import in_forward_mode


def lwta(
    h: Float[Tensor, "*shape"],
    groups: Groups,
    *,
    noise: Float[Tensor, "*drawn"] | Key | None = None,
    noise_scale: float = 1.0,
    temperature: float = 1.0,
    estimator: Estimator = "gumbel",
) -> Float[Tensor, "*shape"]:
    """Pass the winner of each group with its value, and 0 for the losers; the gradient is that of `estimator`.

    Args:
        h: pre-activations; their channel axis holds the K units.
        groups: which of them compete with one another.
        noise: a key, from which `draw_noise` draws forward and once more backward; or what it gave, which is kept for
            backward; `None` for the deterministic argmax.
        noise_scale: s.
        temperature: tau; `math.inf` for the gradient of what is computed.

    >>> lwta(torch.tensor([1.0, -3.0, 2.0, -4.0]), Groups(2, channel_dim=0))
    tensor([ 0., -3.,  2.,  0.])
    """
    return compete(h, groups, noise=noise, noise_scale=noise_scale, temperature=temperature, estimator=estimator)[0]


def compete(
    h: Float[Tensor, "*shape"],
    groups: Groups,
    *,
    noise: Float[Tensor, "*drawn"] | Key | None = None,
    noise_scale: float = 1.0,
    temperature: float = 1.0,
    estimator: Estimator = "gumbel",
) -> tuple[Float[Tensor, "*shape"], UInt8[Tensor, "*groups"]]:
    """What `lwta` and `winners` give, at once."""
    if not torch.compiler.is_compiling() and (in_forward_mode() or torch.jit.is_tracing()):
        return _in_plain_operations(h, noise, groups, (noise_scale, temperature, estimator))
    return _Competition.apply(h, noise, groups, noise_scale, temperature, estimator)


def winners(
    h: Float[Tensor, "*shape"],
    groups: Groups,
    *,
    noise: Float[Tensor, "*drawn"] | Key | None = None,
    noise_scale: float = 1.0,
    estimator: Estimator = "gumbel",
) -> UInt8[Tensor, "*groups"]:
    """Which competitor (0 .. U-1) wins in each group; `channel_dim` shrinks from K to K/U. The first of equals wins.

    A group that holds a NaN has the index U, which no unit has.

    >>> winners(torch.tensor([1.0, -3.0, 2.0, -4.0]), Groups(2, channel_dim=0))
    tensor([1, 0], dtype=torch.uint8)
    """
    return ranked(h, groups, noise, noise_scale, estimator)[1]


def competition_kl(h: Float[Tensor, "*shape"], groups: Groups) -> Float[Tensor, ""]:
    """KL of the posterior q = softmax(h_b) to the uniform prior: mean over groups of sum_u q_u log(U q_u).

    Between 0 (every competitor equally likely) and log U (one is certain). DISCOVER, eq. for the ELBO; never switched
    on in its published code (docs/deviations.md).
    """
    grouped_h, axis = grouped(h, groups)
    log_q = grouped_h.float().log_softmax(axis)
    return (log_q.exp() * (log_q + math.log(groups.competitors))).sum(axis).mean()


class _Competition(torch.autograd.Function):
    """The formula above; keeps h, the noise or its key (where l needs it) and one byte a group."""

    generate_vmap_rule = True

    @staticmethod
    def forward(h, noise, groups, *options):
        return formula_for(h, groups, noise, options).compete(h, groups, noise, options)

    @staticmethod
    def setup_context(ctx, inputs, output):
        h, noise, ctx.groups, *options = inputs
        ctx.options = tuple(options)
        index = output[1]
        ctx.mark_non_differentiable(index)
        ctx.save_for_backward(h, noise if options[-1] in NOISY_LOGITS else None, index)

    @staticmethod
    def backward(ctx, grad_y, _):
        h, noise, index = ctx.saved_tensors
        here = formula_for(h, ctx.groups, noise, ctx.options)
        return here.gradient(h, grad_y, index, ctx.groups, noise, ctx.options), *_NO_GRADIENT


_NO_GRADIENT = (None,) * 5  # for noise, groups and options


def _in_plain_operations(h: Tensor, noise: Tensor | None, groups: Groups, options: Options) -> tuple[Tensor, Tensor]:
    """The same, in operations of which torch knows the forward mode too, and TorchScript how to trace them."""
    scale, temperature, estimator = options
    if temperature != math.inf and estimator != "relaxed":
        raise NotImplementedError(
            "Expected a gradient by reverse mode but got forward mode (jvp, jacfwd, hessian) or a TorchScript trace of "
            f"a competition in training, whose {estimator!r} estimator has none: use jacrev twice, or model.eval()"
        )
    noise = draw_noise(h, groups, noise, estimator=estimator)
    behind, index = ranked(h.detach(), groups, noise, scale, estimator)
    if estimator == "relaxed":
        y = soft_values(h, groups, noise, options, index)
    else:
        y = torch.where(behind < 0, grouped(h, groups)[0], 0.0)
    return y.reshape(h.shape), index
