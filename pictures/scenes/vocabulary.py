"""The law of the painted scenes: which scenes there are, what may stand in them, and what is held out.

A scene is defined by its *telling* things: a kind that occurs in one scene only. Everything else (companions, grounds,
skies) is shared by several scenes, so a picture is recognised by what stands in it and by nothing else.
"""

SPLITS = ("train", "val", "probe", "test", "clip")
HELD_OUT_SPLITS = ("probe", "test")

COLOURS = {
    "red": (216, 38, 44),
    "orange": (246, 138, 28),
    "yellow": (250, 220, 60),
    "green": (48, 160, 66),
    "blue": (40, 92, 214),
    "purple": (136, 52, 178),
    "white": (246, 246, 242),
    "black": (38, 36, 44),
}

TELLING = {
    "beach": ("umbrella", "sandcastle", "surfboard"),
    "harbour": ("ship", "lighthouse", "crane"),
    "desert": ("cactus", "pyramid", "camel"),
    "farm": ("barn", "tractor", "haystack"),
    "forest": ("mushroom", "stump", "owl"),
    "village": ("church", "well", "windmill"),
    "city": ("skyscraper", "bus", "billboard"),
    "campsite": ("tent", "campfire", "caravan"),
    "park": ("bench", "fountain", "slide"),
    "railway": ("train", "signal", "tunnel"),
}
SCENES = tuple(TELLING)

COMPANIONS = {
    "beach": ("palm", "boat", "ball", "rock", "car", "flag", "house"),
    "harbour": ("boat", "house", "palm", "lamp", "car", "flag", "rock"),
    "desert": ("rock", "palm", "car", "house", "flag", "ball", "fence"),
    "farm": ("fence", "tree", "house", "car", "flower", "pine", "rock"),
    "forest": ("pine", "tree", "rock", "flower", "fence", "car", "house"),
    "village": ("house", "tree", "fence", "car", "boat", "flower", "lamp"),
    "city": ("car", "lamp", "house", "tree", "flag", "boat", "fence"),
    "campsite": ("pine", "boat", "ball", "car", "flag", "tree", "rock"),
    "park": ("tree", "lamp", "ball", "flower", "boat", "flag", "palm"),
    "railway": ("house", "pine", "fence", "lamp", "tree", "car", "flower"),
}
SKY = ("sun", "moon", "cloud", "bird", "kite", "balloon")

# What a scene usually has (four pictures of five) comes first; the others are what it may have as well.
GROUNDS = {
    "beach": ("sand", "pavement", "grass"),
    "harbour": ("pavement", "sand", "gravel"),
    "desert": ("sand", "earth", "gravel"),
    "farm": ("field", "earth", "grass"),
    "forest": ("moss", "grass", "earth"),
    "village": ("earth", "grass", "field"),
    "city": ("pavement", "gravel", "earth"),
    "campsite": ("grass", "sand", "moss"),
    "park": ("grass", "pavement", "moss"),
    "railway": ("gravel", "field", "grass"),
}
BACKDROPS = {
    "beach": ("plain", "hills", "dunes"),
    "harbour": ("hills", "plain", "mountains"),
    "desert": ("dunes", "plain", "mountains"),
    "farm": ("hills", "plain", "woods"),
    "forest": ("woods", "hills", "mountains"),
    "village": ("hills", "woods", "mountains"),
    "city": ("plain", "hills", "dunes"),
    "campsite": ("mountains", "woods", "hills"),
    "park": ("woods", "plain", "hills"),
    "railway": ("mountains", "hills", "plain"),
}
USUAL = 0.8
WATERSIDE = {"beach": 0.8, "harbour": 0.8, "campsite": 0.35, "park": 0.2, "village": 0.1, "city": 0.1}
AFLOAT = ("boat", "ship")
WEATHERS = ("clear", "cloudy", "rainy", "snowy", "foggy")
TIMES = ("day", "sunset", "night")
SNOWLESS = ("beach", "desert")
LAYOUTS = ("scattered", "row", "sides", "cluster")
HELD_OUT_LAYOUTS = ("diagonal", "ring")

# The kinds that are painted in any of the COLOURS; all the others have a colour of their own.
COLOURED = (
    "umbrella",
    "surfboard",
    "ship",
    "barn",
    "tractor",
    "mushroom",
    "bus",
    "tent",
    "caravan",
    "bench",
    "slide",
    "train",
    "boat",
    "house",
    "car",
    "ball",
    "flag",
    "flower",
    "kite",
    "balloon",
)

OBJECTS = (
    tuple(kind for kinds in TELLING.values() for kind in kinds)
    + tuple(dict.fromkeys(kind for kinds in COMPANIONS.values() for kind in kinds))
    + SKY
    + ("window",)
)

# One colour of each coloured kind, and each colour about equally often (5 and 8 have no common divisor).
HELD_OUT_PAIRS = frozenset((kind, tuple(COLOURS)[(5 * n) % len(COLOURS)]) for n, kind in enumerate(COLOURED))

# Each telling kind with one companion of its scene.
HELD_OUT_COMPANIONS = frozenset(
    (kind, COMPANIONS[scene][n]) for scene, kinds in TELLING.items() for n, kind in enumerate(kinds)
)

# A telling thing at least this large (pixels of a 64 px picture) and at least this visible stands in every picture.
TELLING_PIXELS = 28
TELLING_VISIBLE = 0.5


def is_held_out(split: str) -> bool:
    """Whether the split paints layouts, colours and companions that "train", "val" and "clip" never show."""
    if split not in SPLITS:
        raise ValueError(f"Expected a split among {', '.join(SPLITS)} but got {split!r}.")
    return split in HELD_OUT_SPLITS


def colours_of(kind: str, split: str) -> tuple[str, ...]:
    """The colours in which a coloured kind is painted in a split."""
    if is_held_out(split):
        return tuple(COLOURS)
    return tuple(colour for colour in COLOURS if (kind, colour) not in HELD_OUT_PAIRS)
