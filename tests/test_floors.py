"""The floors of the house: who may import whom, and where the heavy libraries are let in."""

import ast
from collections.abc import Callable
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 300

# an arrow of imports only points down
BELOW = {
    "lwta": {"training", "dissect", "pictures", "competition_layers", "configs"},
    "training": {"pictures", "competition_layers", "configs"},
    "dissect": {"pictures", "competition_layers", "configs"},
    "pictures": {"competition_layers", "configs"},
    "competition_layers": set(),
    "configs": set(),
}

# the libraries that take seconds to import, and the only files that let them in
DOORS = {
    "timm": {"competition_layers/backbones.py"},
    "open_clip": {"dissect/encoders/", "lwta/bundled_clip/train.py"},
    "lightning": {"training/", "lwta/training_cli.py"},
}
# timm beside its model factory: data, optimisers, schedules are used where they are needed
TIMM_HELPERS = ("timm.data", "timm.loss", "timm.optim", "timm.scheduler", "timm.utils", "timm.layers")

SOURCES = {path.relative_to(ROOT).as_posix(): path for room in BELOW for path in sorted((ROOT / room).rglob("*.py"))}


@cache
def tree(source: str) -> ast.Module:
    return ast.parse(SOURCES[source].read_text("utf-8"))


@cache
def imports(source: str) -> tuple[tuple[int, str, int], ...]:
    """(level of relative import, module, line) of every import in a file, those inside functions included."""
    found: list[tuple[int, str, int]] = []
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Import):
            found += ((0, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module in (None, "timm"):  # `from timm import data`
                names = (".".join(filter(None, (node.module, alias.name))) for alias in node.names)
                found += ((node.level, name, node.lineno) for name in names)
            else:
                found.append((node.level, node.module or "", node.lineno))
    return tuple(found)


def lines_of(wrong: Callable[[str, int, str], bool]) -> list[str]:
    """`FILE:LINE MODULE` of every import (file, level, module) that is `wrong`."""
    every = ((source, *found) for source in SOURCES for found in imports(source))
    return [f"{source}:{line} {module}" for source, level, module, line in every if wrong(source, level, module)]


def test_imports_only_point_down():
    def points_up(source: str, level: int, module: str) -> bool:
        room = source.split("/")[0]
        return level == 0 and module.split(".")[0] in BELOW.keys() - BELOW[room] - {room}

    assert lines_of(points_up) == [], "Expected rooms to import what is below them alone"


def test_the_rooms_of_a_package_import_one_another_in_no_circle():
    def room(module: str) -> str:
        """A folder of a package, or a file that lies beside its folders."""
        package, *within = module.split(".")
        return ".".join((package, *within[:1]))

    above: dict[str, set[str]] = {}
    for source in SOURCES:
        if source.count("/") == 1 and source.endswith("/__init__.py"):
            continue  # a face hands names on
        parts = source.removesuffix(".py").split("/")
        for level, module, _ in imports(source):
            if level:
                target = room(".".join((*parts[:-level], module)))
                above.setdefault(room(".".join(parts)), set()).add(target)
    above = {name: below - {name} for name, below in above.items()}
    assert above["dissect.report"] and not any("dissect.report" in below for below in above.values())
    list(TopologicalSorter(above).static_order())  # CycleError: the rooms of a circle


def test_imports_inside_a_package_are_relative():
    def is_absolute(source: str, level: int, module: str) -> bool:
        parts = source.split("/")
        return (level == 0 and module.split(".")[0] == parts[0]) or level >= len(parts)

    assert lines_of(is_absolute) == [], "Expected `from .name import ...`"


@pytest.mark.parametrize("library", DOORS)
def test_heavy_libraries_come_in_by_their_doors_alone(library):
    def comes_in(source: str, level: int, module: str) -> bool:
        if any(source == door or (door.endswith("/") and source.startswith(door)) for door in DOORS[library]):
            return False
        helps = f"{module}.".startswith(tuple(f"{name}." for name in TIMM_HELPERS))
        return level == 0 and f"{module}.".startswith(f"{library}.") and not helps

    assert lines_of(comes_in) == [], f"Expected {library} to be imported in {sorted(DOORS[library])} alone"


def test_a_file_is_one_idea_said_in_its_first_line():
    lines = {source: len(path.read_text("utf-8").splitlines()) for source, path in SOURCES.items()}
    long = {source: count for source, count in lines.items() if count > MAX_LINES}
    assert long == {}, f"Expected at most {MAX_LINES} lines: split what holds two ideas"
    silent = [source for source in SOURCES if not ast.get_docstring(tree(source))]
    assert silent == [], "Expected the idea of the file as its docstring"


def test_there_are_sources_in_every_room():
    assert {source.split("/")[0] for source in SOURCES} == set(BELOW)


def test_the_doors_exist():
    doors = {door for library in DOORS.values() for door in library}
    assert {door for door in doors if not (ROOT / door).exists()} == set()
