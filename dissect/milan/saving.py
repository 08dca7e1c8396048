"""A trained MILAN in a folder: weights, words, and which backbone its features are of."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from competition_layers.files import refuse_others, write_folder

from ..fingerprints import digest
from .decoder import Decoder, Prior
from .training import Trained
from .words import MARKS, Words

FORMAT = 1
_FILES = _WEIGHTS, _CONFIG = "milan.safetensors", "milan.json"


@dataclass(frozen=True)
class MilanModel:
    """The decoder, the prior and their words; `backbone` is the identity of the one whose features they read."""

    words: Words
    decoder: Decoder
    prior: Prior
    backbone: str
    fingerprint: str


def save_milan(folder: str | Path, trained: Trained, backbone: str) -> Path:
    """Write a trained model in one piece; an older one is replaced.

    Raises:
        FileExistsError: `folder` holds files of these names that are no trained MILAN.
    """
    place = Path(folder)
    parts: dict[str, nn.Module] = {"decoder": trained.decoder, "prior": trained.prior}
    weights = {f"{part}.{name}": w.contiguous() for part, m in parts.items() for name, w in m.state_dict().items()}
    config = {
        "format": FORMAT,
        "words": list(trained.words.known),
        "dim": trained.decoder.of_feature.in_features,
        "hidden": trained.decoder.cell.hidden_size,
        "backbone": backbone,
        "fingerprint": digest(sorted(weights.items()), list(trained.words.known)),
        "held_out_losses": {"decoder": list(trained.decoder_losses), "prior": list(trained.prior_losses)},
    }
    with write_folder(place, names=_FILES, ours=_is_ours) as temporary:
        (temporary / _WEIGHTS).write_bytes(save(weights))
        (temporary / _CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    return place


def check_milan_folder(folder: str | Path) -> None:
    """Refuse, before training, a folder that `save_milan` would not replace."""
    refuse_others(Path(folder), names=_FILES, ours=_is_ours)


def _is_ours(place: Path) -> bool:
    try:
        return {"format", "words", "fingerprint"} <= json.loads((place / _CONFIG).read_text(encoding="utf-8")).keys()
    except (OSError, ValueError, AttributeError):
        return False


def load_milan(folder: str | Path) -> MilanModel:
    """What `save_milan` wrote.

    Raises:
        FileNotFoundError: nothing there. ValueError: damaged, or of another format.
    """
    place = Path(folder)
    if not (place / _CONFIG).is_file():
        raise FileNotFoundError(f"Expected a folder that `lwta describe-train milan` wrote but got {str(place)!r}")
    try:
        config = json.loads((place / _CONFIG).read_text(encoding="utf-8"))
        if config["format"] != FORMAT:
            raise ValueError(f"format {config['format']}, not {FORMAT}")
        words = Words(tuple(map(str, config["words"])))
        if words.known[: len(MARKS)] != MARKS:
            raise ValueError("words without marks")
        dim, hidden = int(config["dim"]), int(config["hidden"])
        with torch.device("meta"):  # sizes that a file claims take no memory before its weights have them
            decoder, prior = Decoder(len(words.known), dim, hidden), Prior(len(words.known), hidden)
        weights = load_file(place / _WEIGHTS)
        for name, part in (("decoder.", decoder), ("prior.", prior)):
            own = {k.removeprefix(name): w for k, w in weights.items() if k.startswith(name)}
            part.load_state_dict(own, assign=True)
        return MilanModel(words, decoder.eval(), prior.eval(), str(config["backbone"]), str(config["fingerprint"]))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        said = str(error).strip().partition("\n")[0]
        raise ValueError(f"Expected a whole MILAN model in {str(place)!r} but got: {said}; train it again") from error
