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


def words() -> frozenset[str]:
    """Every word that the model was trained on, in lower case."""
    return frozenset((HERE / "words.txt").read_text(encoding="utf-8").split())


def centres() -> Tensor:
    """16 unit vectors (16, dim): where the embeddings of the pictures that it was trained on lie, written by
    `python -m lwta.bundled_clip.centres`."""
    return load_file(HERE / "centres.safetensors")["centres"]
