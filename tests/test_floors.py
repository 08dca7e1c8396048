"""The floors of the house: who may import whom, and where the heavy libraries are let in."""

import ast
from collections.abc import Iterator
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

SOURCES = sorted(path for room in BELOW for path in (ROOT / room).rglob("*.py"))
each_source = pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


def imports(source: Path) -> Iterator[tuple[int, str, int]]:
    """(level of relative import, module, line) of every import in a file, those inside functions included."""
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module in (None, "timm"):  # `from timm import data`
                yield from (
                    (node.level, ".".join(filter(None, (node.module, alias.name))), node.lineno) for alias in node.names
                )
            else:
                yield node.level, node.module or "", node.lineno


@each_source
def test_imports_only_point_down(source):
    room = source.relative_to(ROOT).parts[0]
    wrong = [
        f"line {line}: {module}"
        for level, module, line in imports(source)
        if level == 0 and module.split(".")[0] in BELOW.keys() - BELOW[room] - {room}
    ]
    assert not wrong, (
        f"{room} may import {sorted(BELOW[room]) or 'no other room'}, but {source.relative_to(ROOT)} has {wrong}"
    )


@each_source
def test_imports_inside_a_package_are_relative(source):
    parts = source.relative_to(ROOT).parts
    wrong = [
        f"line {line}: {module}"
        for level, module, line in imports(source)
        if (level == 0 and module.split(".")[0] == parts[0]) or level >= len(parts)
    ]
    assert not wrong, f"{source.relative_to(ROOT)}: expected `from .name import ...` but got {wrong}"


@each_source
@pytest.mark.parametrize("library", DOORS)
def test_heavy_libraries_come_in_by_their_doors_alone(source, library):
    path = source.relative_to(ROOT).as_posix()
    if any(path == door or (door.endswith("/") and path.startswith(door)) for door in DOORS[library]):
        return
    wrong = [
        f"line {line}: {module}"
        for level, module, line in imports(source)
        if level == 0
        and f"{module}.".startswith(f"{library}.")
        and not f"{module}.".startswith(tuple(h + "." for h in TIMM_HELPERS))
    ]
    assert not wrong, f"{library} is imported in {sorted(DOORS[library])} alone, but {path} has {wrong}"


@each_source
def test_a_file_is_one_idea_said_in_its_first_line(source):
    text = source.read_text("utf-8")
    assert len(text.splitlines()) <= MAX_LINES, f"Expected at most {MAX_LINES} lines: split what holds two ideas"
    assert ast.get_docstring(ast.parse(text)), "Expected the idea of the file as its docstring"


def test_there_are_sources_in_every_room():
    assert {source.relative_to(ROOT).parts[0] for source in SOURCES} == set(BELOW)


def test_the_doors_exist():
    doors = {door for library in DOORS.values() for door in library}
    assert {door for door in doors if not (ROOT / door).exists()} == set()
