"""The schema of the JSON beside a page of explanations, read off the values that it is made of.

`python -m dissect.report.schema > docs/report.schema.json` writes it anew after a field has changed.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ..explaining.explanation import Explanation
from .record import FORMAT

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}
# what `explanation_record` adds
_DERIVED = {
    "predicted": {"type": "string"},
    "share": {"type": "number"},
    "explains": {"type": "boolean"},
    "effective_density": {"type": "number"},
    "sentence": {"type": "string"},
    "words": {"type": "array", "items": {"type": "string"}},
    "other_layer": {"type": "string"},
    "needed": {"type": "string"},
    "disagreements": {"type": "array", "items": {"type": "string"}},
}


def report_schema() -> dict[str, Any]:
    """JSON schema (2020-12) of `report.json`; of `comparison`, only that it is an object."""
    explanation = schema_of(Explanation)
    explanation["properties"] |= _DERIVED
    explanation["required"] += list(_DERIVED)
    unit = explanation["properties"]["units"]["items"]
    unit["properties"]["label"] = {"type": "string"}
    unit["required"].append("label")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Explanations of pictures, as lwta explain writes them beside the page",
        "type": "object",
        "properties": {
            "format": {"const": FORMAT},
            "explanations": {"type": "array", "items": {"$ref": "#/$defs/explanation"}},
            "twins": {"type": "array", "items": {"$ref": "#/$defs/explanation"}},
            "comparison": {"type": ["object", "null"]},
        },
        "required": ["format", "explanations", "twins", "comparison"],
        "$defs": {"explanation": explanation},
    }


def schema_of(kind: Any) -> dict[str, Any]:
    """The schema of a type made of frozen dataclasses, tuples, mappings by name, literals and plain values."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        kept = [field.name for field in fields(kind) if hints[field.name] is not bytes]  # no pictures
        properties = {name: schema_of(hints[name]) for name in kept}
        return {"type": "object", "properties": properties, "required": kept, "additionalProperties": False}
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(argument) for argument in arguments]}
    if origin is tuple:
        return {"type": "array", "items": schema_of(arguments[0])}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if origin is Literal:
        return {"enum": list(arguments)}
    return {"type": _PLAIN[kind]}


if __name__ == "__main__":
    print(json.dumps(report_schema(), indent=1))
