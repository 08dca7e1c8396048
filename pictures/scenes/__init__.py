"""The built-in data set: painted scenes with known objects, masks and captions."""

from .painter import Scene, Thing, paint, paint_plan
from .plan import Item, Plan, draw_plan
from .table import read_scenes, write_scenes
from .vocabulary import COLOURED, COLOURS, HELD_OUT_COMPANIONS, HELD_OUT_PAIRS, OBJECTS, SCENES, SPLITS

__all__ = [
    "COLOURED",
    "COLOURS",
    "HELD_OUT_COMPANIONS",
    "HELD_OUT_PAIRS",
    "OBJECTS",
    "SCENES",
    "SPLITS",
    "Item",
    "Plan",
    "Scene",
    "Thing",
    "draw_plan",
    "paint",
    "paint_plan",
    "read_scenes",
    "write_scenes",
]
