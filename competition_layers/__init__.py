"""Stochastic local-winner-takes-all layers for any timm backbone."""

from importlib import import_module

_HOMES = {
    "Competition": "competition",
    "DecisionHead": "decision",
    "DecisionLayer": "decision",
    "Density": "metrics",
    "Estimator": "competition",
    "Groups": "groups",
    "Layout": "competition",
    "ModelSpec": "spec",
    "Rule": "competition",
    "Site": "wiring.sites",
    "StochasticLWTA": "layers",
    "Survey": "wiring.sites",
    "Votes": "decision",
    "WinRate": "metrics",
    "WinnerProjection": "winner_projection",
    "activation_sites": "surgery",
    "add_decision": "decision",
    "balance_loss": "decision",
    "competition_kl": "functional",
    "competitions": "layers",
    "convert_layout": "layouts",
    "create_model": "backbones",
    "data_config": "backbones",
    "dead_units": "metrics",
    "decision_features": "decision",
    "draw_noise": "functional",
    "effective_density": "metrics",
    "evaluating": "modes",
    "fixed_noise": "inference",
    "gumbel_noise": "noise",
    "inference_rule": "inference",
    "load_model": "model_folder",
    "load_noise_state": "inference",
    "lwta": "functional",
    "model_defaults": "backbones",
    "noise_state": "inference",
    "observe": "observing",
    "permute_units": "wiring.permutation",
    "predict": "inference",
    "revert_activations": "surgery",
    "save_model": "model_folder",
    "seed_noise": "inference",
    "sparse_inference": "winner_projection",
    "spec_of": "spec",
    "survey": "wiring.sites",
    "swap_activations": "surgery",
    "value_places": "decision_places",
    "votes": "decision",
    "winner_entropy": "metrics",
    "winner_mask": "groups",
    "winner_units": "groups",
    "winners": "functional",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    # nothing is imported before it is used: torch alone takes seconds
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
