"""Stochastic local-winner-takes-all layers for any timm backbone."""

from .functional import competition_kl, draw_noise, lwta, winners
from .groups import winner_mask, winner_units
from .layers import StochasticLWTA
from .layouts import convert_layout
from .noise import gumbel_noise
from .observe import observe
from .projection import WinnerProjection, sparse_inference
from .rules import held_noise, inference_rule, load_noise_state, noise_state, predict, seed_noise
from .surgery import activation_sites, competitions, revert_activations, swap_activations
from .survey import Site, Survey, survey

_FROM_BACKBONES = ("ModelSpec", "create_model", "data_config", "load_model", "model_defaults", "save_model", "spec_of")

__all__ = [
    *_FROM_BACKBONES,
    "Site",
    "StochasticLWTA",
    "Survey",
    "WinnerProjection",
    "activation_sites",
    "competition_kl",
    "competitions",
    "convert_layout",
    "draw_noise",
    "gumbel_noise",
    "held_noise",
    "inference_rule",
    "load_noise_state",
    "lwta",
    "noise_state",
    "observe",
    "predict",
    "revert_activations",
    "seed_noise",
    "survey",
    "sparse_inference",
    "swap_activations",
    "winner_mask",
    "winner_units",
    "winners",
]


def __getattr__(name: str):
    # timm takes seconds to import: only those who build or load a model pay for it
    if name in _FROM_BACKBONES:
        from . import backbones

        return getattr(backbones, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
