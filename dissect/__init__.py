"""What each unit of a network means: record, embed, score, name."""

from competition_layers.lazy import lazy_names

_HOMES = {
    "Comparison": ".comparing.figures",
    "ConceptSet": ".encoders.concepts",
    "DEFAULT_SIMILARITY": ".similarity",
    "DescribeOptions": ".describing",
    "Description": ".naming.description",
    "Dissection": ".folder.dissection",
    "Evidence": ".naming.evidence",
    "Explanation": ".explaining.explanation",
    "ImageTextEncoder": ".encoders.protocol",
    "LayerRecord": ".recording.layer_record",
    "Naming": ".describers.concept_matching",
    "PixelEncoder": ".encoders.protocol",
    "ProbeImages": ".probe.probe_images",
    "SIMILARITIES": ".similarity",
    "Space": ".naming.space",
    "compare": ".comparing.comparing",
    "contributions": "competition_layers.attribution",
    "default_transform": ".recording.subject",
    "describe": ".describing",
    "explain": ".explaining.explain_image",
    "explanation_text": ".report",
    "find_units": ".explaining.find_units",
    "judge_descriptions": ".judging.judging",
    "load_concepts": ".encoders.concepts",
    "load_encoder": ".encoders.loading",
    "logits_without": "competition_layers.attribution",
    "name_units": ".describers.concept_matching",
    "name_verified": ".describers.concept_matching",
    "open_probe": ".probe.probe_images",
    "record_activations": ".recording.recording",
    "record_share": ".describing",
    "render_report": ".report",
    "score_units": ".describers.concept_matching",
}
__all__ = list(_HOMES)
__getattr__ = lazy_names(__name__, _HOMES)
