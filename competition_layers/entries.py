"""Where the files of a model are that a person names: in a run's or a model's folder, or on a hub."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from .files import recover_folder


def entry_of(name: str) -> Callable[[str], Path]:
    """Where the files of a run folder, a model folder, `local-dir:PATH` or `hf-hub:OWNER/NAME` are, by their names.

    Raises:
        FileNotFoundError: no model there, or a file of it is missing.
    """
    if name.startswith("hf-hub:"):
        repository, _, revision = name.removeprefix("hf-hub:").partition("@")

        def fetched(file: str) -> Path:
            with reaching(name):
                return Path(hf_hub_download(repository, file, revision=revision or None))

        return fetched
    folder = find_folder(name)
    if folder is None:
        raise FileNotFoundError(f"Expected a run or model folder with config.json but got {name!r}")

    def place(file: str) -> Path:
        if not (folder / file).is_file():
            raise FileNotFoundError(f"Expected {file} in {str(folder)!r} but it is not there; copy the whole folder")
        return folder / file

    return place


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """A hub that cannot be reached or has no such entry, in one line."""
    try:
        yield
    except (HfHubHTTPError, LocalEntryNotFoundError) as error:
        first = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"Expected the files of {name!r} from its hub but got none ({first}): check the name and the network, or "
            "fetch it where there is one and give its folder"
        ) from error


def find_folder(source: str) -> Path | None:
    """The folder that holds config.json, for a run folder or a model folder; None when `source` is no folder."""
    path = Path(source.removeprefix("local-dir:"))
    for folder in (path / "model", path):
        recover_folder(folder)
        if (folder / "config.json").is_file():
            return folder
    if source.startswith("local-dir:") or path.exists():
        raise FileNotFoundError(f"Expected a run or model folder with config.json but got {str(path)!r}")
    return None
