"""The keys of `lwta fit`, read off the sources: a slip is answered before anything that takes seconds is imported."""

import ast
import re
from argparse import ArgumentError
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from competition_layers.names import nearest
from training.options_file import read_options

_ROOT = Path(__file__).parents[1]
_OF_THE_COMMAND = (
    *("config", "help", "print_config", "seed_everything", "run", "runs_dir"),
    *("reestimate_batch_norm", "resume", "overwrite", "images", "out", "sweep"),
)
Tree = dict[str, Any]  # a key's own keys; empty where it is a value, or a group that the sources do not show


def refuse_unknown_keys(args: Sequence[str], moved: Mapping[str, str]) -> None:
    """Look at the names of the options in `args` and in the YAML files that `-c` names; values are looked at later.

    Args:
        moved: keys of older versions, and their new names.

    Raises:
        argparse.ArgumentError: an unknown key; the nearest is offered.
    """
    tree = key_tree()
    typed = [re.match(r"--([A-Za-z][\w.*-]*)", arg) for arg in args]
    asked = [("--", found[1].replace("-", "_")) for found in typed if found]
    asked += [("", key) for path in _files(args) for key in _keys(read_options(path), tree)]
    for dashes, key in asked:
        if not _is_known(key.split("."), tree):
            known = ["model", "data", "trainer", *_OF_THE_COMMAND, *_flat(tree)]
            raise ArgumentError(None, explain_key(key, known, moved, dashes))


def key_tree() -> Tree:
    """The keys of a configuration: of the command, of the classifier, of the images, and of Lightning's Trainer."""
    tree: Tree = {name: {} for name in _OF_THE_COMMAND}
    tree["model"] = _options(_ROOT / "training" / "classifier.py", "Classifier")
    tree["data"] = _options(_ROOT / "training" / "data.py", "ImageData")
    lightning = find_spec("lightning")
    trainer = Path(lightning.origin or "" if lightning else "").parent / "pytorch" / "trainer" / "trainer.py"
    tree["trainer"] = _options(trainer, "Trainer") if trainer.is_file() else {}
    return tree


def explain_key(key: str, known: Iterable[str], moved: Mapping[str, str], dashes: str = "") -> str:
    """What to say of an unknown key: its new name, the key that it abbreviates, or the nearest."""
    for old, new in moved.items():
        # a key that became a group is moved itself, and not what is in the group
        if key == old or (f"{key}.".startswith(f"{old}.") and not new.startswith(f"{old}.")):
            return f"Expected a known key but got '{dashes}{key}', which is '{dashes}{new}{key[len(old) :]}' now"
    near = nearest(key, [name for name in known if name.startswith(key)] or known)
    return f"Expected a known key but got '{dashes}{key}'" + near.replace("'", f"'{dashes}", 1)


def _options(file: Path, name: str) -> Tree:
    """The arguments of a class, and of its arguments that are dataclasses."""
    module = ast.parse(file.read_text("utf-8"))
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    imported = {
        alias.asname or alias.name: _file_of(file, node)
        for node in module.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def group(annotation: ast.expr | None) -> Tree:
        names = [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)] if annotation else []
        for found in names:
            source = file if found in classes else imported.get(found)
            if source and _holds_dataclass(source, found):
                return _options(source, found)
        return {}

    for node in classes[name].body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return {a.arg: group(a.annotation) for a in (*node.args.args[1:], *node.args.kwonlyargs)}
    fields = [node for node in classes[name].body if isinstance(node, ast.AnnAssign)]
    return {node.target.id: group(node.annotation) for node in fields if isinstance(node.target, ast.Name)}


def _file_of(file: Path, node: ast.ImportFrom) -> Path | None:
    """The source that names are imported from, where it is one of ours."""
    base = file.parents[node.level - 1] if node.level else _ROOT
    path = base.joinpath(*(node.module or "").split(".")).with_suffix(".py")
    return path if path.is_file() and path.is_relative_to(_ROOT) else None


def _holds_dataclass(file: Path, name: str) -> bool:
    found = re.search(rf"@dataclass[^\n]*\nclass {name}:", file.read_text("utf-8"))
    return found is not None


def _is_known(parts: Sequence[str], tree: Tree) -> bool:
    """Whether a key leads into the tree; below what the sources do not show anything may stand."""
    if not parts or not tree:
        return True
    return parts[0].removesuffix("+") in tree and _is_known(parts[1:], tree[parts[0].removesuffix("+")])


def _files(args: Sequence[str]) -> Iterator[Path]:
    for arg, following in zip(args, [*args[1:], ""], strict=True):
        flag, equals, value = arg.partition("=")
        if flag in ("-c", "--config"):
            yield Path(value if equals else following)


def _keys(config: Any, tree: Tree, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a configuration, as far as the tree shows groups."""
    for key, value in config.items() if isinstance(config, dict) else ():
        own = tree.get(str(key), {})
        yield f"{prefix}{key}"
        if own:
            yield from _keys(value, own, f"{prefix}{key}.")
        elif str(key) not in tree and isinstance(value, dict):  # shown to the leaf, as it would be typed
            yield from (f"{prefix}{key}.{inner}" for inner in value)


def _flat(tree: Tree, prefix: str = "") -> Iterator[str]:
    for key, own in tree.items():
        yield f"{prefix}{key}"
        yield from _flat(own, f"{prefix}{key}.")
