"""The small CLIP that comes with the package: an open_clip model of painted scenes and the words said about them."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

HERE = Path(__file__).parent


def load(folder: Path = HERE) -> tuple[nn.Module, Callable, Callable]:
    """The model (fp32, for evaluation), its preprocessing and its tokenizer, through open_clip's own loader.

    `folder` is another bundle of the same kind, such as `python -m lwta.bundled_clip.train --out FOLDER` writes.
    """
    import open_clip

    place = f"local-dir:{folder}"
    model, preprocess = open_clip.create_model_from_pretrained(place)
    return model.eval(), preprocess, open_clip.get_tokenizer(place, bpe_path=str(folder / "merges.txt.gz"))


def words(folder: Path = HERE) -> frozenset[str]:
    """Every word that the model was trained on, in lower case."""
    return frozenset((folder / "words.txt").read_text(encoding="utf-8").split())


def is_bundle(folder: Path) -> bool:
    """Whether a model of this kind lies in a folder."""
    return all((folder / name).is_file() for name in ("words.txt", "merges.txt.gz", "open_clip_config.json"))


def centres(folder: Path = HERE) -> Tensor | None:
    """16 unit vectors (16, dim): where the embeddings of the pictures that it was trained on lie, written by
    `python -m lwta.bundled_clip.centres`; None where nobody did."""
    path = folder / "centres.safetensors"
    return load_file(path)["centres"] if path.is_file() else None
