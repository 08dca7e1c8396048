"""`pictures`, `training`, `dissect` and `configs` are common names: does Python find ours, or another package?"""

from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from .finding import Finding, ask_python

ROOMS = ("lwta", "competition_layers", "pictures", "training", "dissect", "configs")
HOME = Path(__file__).resolve().parents[2]
_LOOK = f"""
from importlib.util import find_spec
for room in {ROOMS!r}:
    spec = find_spec(room)
    print(room, (spec.origin or list(spec.submodule_search_locations)[0]) if spec else "", sep="\\t")
"""


def check_shadows(cwd: Path, *, home: Path = HOME, env: Mapping[str, str] | None = None) -> list[Finding]:
    """Where each package is found by the `lwta` command, and by a script or `python -m` started in `cwd`."""
    by_command = _strangers(ask_python(_LOOK, cwd=cwd, env=env, options=("-P",)).stdout, home)
    by_python = _strangers(ask_python(_LOOK, cwd=cwd, env=env).stdout, home)
    findings = [
        Finding(False, f"instead of our package {room!r} Python finds {place}", _remove(place), broken=True)
        for room, place in by_command.items()
    ]
    findings += [
        Finding(
            False,
            f"scripts and `python -m lwta` started in {cwd} find {place} instead of our package {room!r}",
            "use the lwta command, or set PYTHONSAFEPATH=1, or rename the folder",
        )
        for room, place in by_python.items()
        if room not in by_command
    ]
    return findings or [Finding(True, f"our packages are found, in {home}")]


def _strangers(listing: str, home: Path) -> dict[str, str]:
    """The rooms that are found elsewhere than at `home`, and where."""
    found = dict(line.split("\t") for line in listing.splitlines())
    return {room: place or "nothing" for room, place in found.items() if not _is_ours(place, home / room)}


def _is_ours(place: str, folder: Path) -> bool:
    return bool(place) and Path(place).resolve() in (folder, folder / "__init__.py")


def _remove(place: str) -> str:
    return (
        "pip install --force-reinstall lwta"
        if place == "nothing"
        else f"rename it, or take its folder off PYTHONPATH: {place}"
    )


def check_owners(owners: Mapping[str, Sequence[str]] | None = None) -> list[Finding]:
    """Has another distribution installed a package of one of our names? Its files may have mixed with ours.

    Args:
        owners: the distributions that installed each top-level name; by default, what is installed here.
    """
    owners = metadata.packages_distributions() if owners is None else owners
    return [
        Finding(
            False,
            f"the distribution {other!r} installed a package named {room!r}, as we do",
            f"pip uninstall {other}; pip install --force-reinstall --no-deps lwta",
            broken=True,
        )
        for room in ROOMS
        for other in sorted(set(owners.get(room, ())) - {"lwta"})
    ]
