"""What each unit of a network means: record, embed, score, name."""

from importlib import import_module

_HOMES = {
    "Comparison": "networks",
    "ConceptSet": "concepts",
    "DEFAULT_SIMILARITY": "similarity",
    "Description": "describers",
    "Dissection": "dissection",
    "Explanation": "explanation",
    "ImageTextEncoder": "encoders",
    "LayerRecord": "records",
    "ProbeImages": "probe",
    "SIMILARITIES": "similarity",
    "compare": "networks",
    "describe": "steps",
    "explain": "one_image",
    "find_units": "search",
    "judge_descriptions": "judge",
    "load_concepts": "concepts",
    "load_encoder": "encoders",
    "name_units": "describers",
    "open_probe": "probe",
    "record_activations": "recording",
    "render_report": "report",
    "wpmi_prior": "similarity",
}
__all__ = list(_HOMES)


def __getattr__(name: str):
    # nothing is imported before it is used: torch alone takes seconds
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
