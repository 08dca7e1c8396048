"""The schemas of the JSON beside each page, read off the values that it is made of.

`python -m dissect.report.schema docs` writes them anew after a field has changed.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from competition_layers.files import write_file

from ..comparing.figures import Comparison
from ..explaining.at_random import AtRandom
from ..explaining.class_summary import ClassReport
from ..explaining.explanation import Explanation
from ..explaining.unit_entries import UnitEntry
from .record import FORMAT

Schema = dict[str, Any]
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def report_schema() -> Schema:
    """JSON schema (2020-12) of `report.json`, and of `comparison.json`, which holds no explanations."""
    explanation = _and(
        schema_of(Explanation),
        **dict.fromkeys(("share", "effective_density"), schema_of(float)),
        **dict.fromkeys(("predicted", "sentence", "other_layer", "needed"), schema_of(str)),
        **dict.fromkeys(("words", "disagreements"), schema_of(tuple[str, ...])),
        explains=schema_of(bool),
    )
    _and(explanation["properties"]["units"]["items"], label=schema_of(str))
    comparison = _and(schema_of(Comparison), remarks=schema_of(tuple[str, ...]))
    names = comparison["properties"]["networks"]["items"]["properties"]["names"]["items"]
    _and(names, units=schema_of(int), share=schema_of(float))
    explanations = {"type": "array", "items": {"$ref": "#/$defs/explanation"}}
    return _page(
        "Explanations of pictures, and networks compared, as lwta explain and lwta compare write them beside the page",
        explanations=explanations,
        twins=explanations,
        comparison={"anyOf": [{"$ref": "#/$defs/comparison"}, {"type": "null"}]},
    ) | {"$defs": {"explanation": explanation, "comparison": comparison}}


def units_schema() -> Schema:
    """Of `units.json`: without the maps of where a unit spoke on its pictures."""
    unit = _and(schema_of(UnitEntry), anchor=schema_of(str))
    del unit["properties"]["masks"]
    unit["required"].remove("masks")
    return _page(
        "The units of a dissection, as lwta units writes them beside the page",
        units={"type": "array", "items": unit},
        at_random={"type": "object", "additionalProperties": _and(schema_of(AtRandom), high=schema_of(float))},
    )


def classes_schema() -> Schema:
    """Of `classes.json`."""
    title = "What decides each class, as lwta explain --classes writes it beside the page"
    return _page(title, class_report=schema_of(ClassReport))


SCHEMAS: Mapping[str, Callable[[], Schema]] = {
    "report": report_schema,
    "units": units_schema,
    "classes": classes_schema,
}


def schema_of(kind: Any) -> Schema:
    """The schema of a type made of frozen dataclasses, tuples, mappings by name, literals and plain values."""
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        kept = [field.name for field in fields(kind) if hints[field.name] is not bytes]  # no pictures
        about = {"type": "object", "description": " ".join((kind.__doc__ or "").split())}
        return _and(about, **{name: schema_of(hints[name]) for name in kept}) | {"additionalProperties": False}
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(argument) for argument in arguments]}
    if origin is tuple and arguments[1:] == (...,):
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is tuple:
        each = [schema_of(argument) for argument in arguments]
        return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_of(arguments[1])}
    if origin is Literal:
        return {"enum": list(arguments)}
    return {"type": _PLAIN[kind]}


def _and(schema: Schema, **properties: Schema) -> Schema:
    """Change `schema` in place: these fields are there, too."""
    schema.setdefault("properties", {}).update(properties)
    schema.setdefault("required", []).extend(properties)
    return schema


def _page(title: str, **properties: Schema) -> Schema:
    about = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, "type": "object"}
    return _and(about, format={"const": FORMAT}, **properties)


if __name__ == "__main__":
    for name, schema in SCHEMAS.items():
        with write_file(Path(sys.argv[1]) / f"{name}.schema.json") as temporary:
            temporary.write_text(json.dumps(schema(), indent=1) + "\n", encoding="utf-8")
