"""`lwta push`: a trained network, its card and the names of its units to a hub."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from competition_layers.terminal import plain

from ..parsing import parse_call

SHOWN = 20  # names in the card
FILES = ("model.safetensors", "config.json", "edits.json")  # beside the card; those that are there


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(push, argv, prog="lwta push", positionals=["model", "repository"])
    return 0


def push(
    model: Path,
    repository: str,
    dissection: Path | None = None,
    private: bool = False,
    message: str = "A network whose units compete",
) -> None:
    """Upload a network to the Hugging Face Hub in one commit; `hf-hub:OWNER/NAME` is then its name in every command.

    The login is the one of `hf auth login`, or HF_TOKEN.

    Args:
        model: a run or model folder.
        repository: OWNER/NAME; made where it is not there.
        dissection: what `lwta describe` wrote of this network: its names go along, in descriptions.csv and
            candidates.csv, and the surest into the card.
        private: make a new repository private.
        message: of the commit.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.utils import validate_repo_id

    from ..open_model import open_dissected, open_model

    folder = _folder(model)
    validate_repo_id(repository)
    if "/" not in repository:
        raise ValueError(f"Expected a repository OWNER/NAME but got {repository!r}")
    files: dict[str, Path | bytes] = {name: folder / name for name in FILES if (folder / name).is_file()}
    card = (folder / "README.md").read_text(encoding="utf-8")
    if dissection is None:
        open_model(str(folder))  # whole, before anything is sent
    else:
        described, _ = open_dissected(dissection, str(folder))
        files |= {path.name: path for path in (described.layout.descriptions, described.layout.candidates)}
        card += _names(described)
    files["README.md"] = card.encode()
    api = HfApi()
    with _reaching(repository):
        address = api.create_repo(repository, private=private, exist_ok=True)
        added = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(repository, added, commit_message=message)
    print(f"{', '.join(sorted(files))}: now at {plain(str(address))}")
    print(f"Everywhere a model is asked for, its name is hf-hub:{plain(repository)}")


def _folder(model: Path) -> Path:
    from competition_layers.entries import find_folder

    folder = find_folder(str(model))
    if folder is None:
        raise FileNotFoundError(f"Expected a run or model folder with config.json but got {str(model)!r}")
    return folder


def _names(dissection: Any) -> str:
    """The card's section about the units."""
    every = list(dissection.descriptions.values())
    named = [about for about in every if about.description]
    surest = sorted(named, key=lambda about: -(about.evidence.predictability if about.evidence else 0))[:SHOWN]
    rows = "".join(f"| `{about.layer}` | {about.unit} | {_cell(about.description)} |\n" for about in surest)
    table = f"| layer | unit | name |\n|---|---:|---|\n{rows}" if surest else ""
    return (
        f"\n## What its units answer to\n\n{len(named)} of {len(every)} units have a name that holds on images that "
        f"did not choose it; all are in descriptions.csv. {'The surest:' if surest else ''}\n\n{table}"
    )


def _cell(name: str) -> str:
    """A name as text in a cell of a Markdown table, never markup."""
    return "".join(f"\\{letter}" if letter in r"\`*_{}[]()<>#+-.!|~&" else letter for letter in plain(name))


@contextmanager
def _reaching(repository: str) -> Iterator[None]:
    """A hub that refuses or cannot be reached, in one line."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    any_http: type[Exception] = HfHubHTTPError.__bases__[0]  # the base of all errors of its HTTP library
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise OSError(f"Expected a hub to send {repository!r} to but HF_HUB_OFFLINE is set; unset it") from error
    except (any_http, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        first = str(error).strip().partition("\n")[0]
        todo = "check the network"
        if status in (401, 403) or isinstance(error, LocalTokenNotFoundError):
            todo = "log in with `hf auth login` or set HF_TOKEN, with the right to write there"
        raise OSError(
            f"Expected to send {repository!r} to the hub but it said: {first}; nothing was sent; {todo}"
        ) from error
