"""`lwta describe-train`: teach a describer from units whose descriptions are known."""

from collections.abc import Sequence
from pathlib import Path

from ..open_model import open_backbone
from ..parsing import parse_call


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(describe_train, argv, prog="lwta describe-train", positionals=["describer"])
    return 0


def describe_train(
    describer: str,
    out: Path,
    exemplars: Path | None = None,
    annotations: Path | None = None,
    backbone: str | None = None,
    pictures: int = 1000,
    epochs: int = 100,
    hidden: int = 512,
    seed: int = 0,
) -> None:
    """Teach a describer: milan, on described units of painted scenes or on annotations in MILAN's format.

    Args:
        describer: milan.
        out: the folder to write, for `lwta describe --describer milan --milan`.
        exemplars: a folder with a folder a layer, each with images.npy and masks.npy as MILAN has them; by default the
            painted scenes, whose captions are known.
        annotations: a CSV file with the columns layer, unit, summary; several rows a unit are several descriptions.
        backbone: the frozen network whose features are described, as --model of `lwta describe`; by default the
            bundled CLIP's image tower, which knows the painted scenes alone.
        pictures: so many scenes are painted.
        epochs: at most; training ends after 4 without progress on held-out units.
        hidden: units of the LSTMs.
        seed: of the scenes, the split and the weights.
    """
    if describer != "milan":
        raise ValueError(f"Expected milan, the describer that is taught, but got {describer!r}")
    if (exemplars is None) != (annotations is None):
        raise ValueError("Expected --exemplars and --annotations together, or neither for the painted scenes")
    from dissect.milan.annotations import annotated_units
    from dissect.milan.backbone import bundled_backbone
    from dissect.milan.saving import check_milan_folder, save_milan
    from dissect.milan.training import train_milan

    from ..milan_scenes import scene_units

    check_milan_folder(out)
    seeing = open_backbone(backbone) if backbone else bundled_backbone()
    if exemplars is not None and annotations is not None:
        units = annotated_units(exemplars, annotations, seeing)
    else:
        units = scene_units(seeing, count=pictures, seed=seed)
    print(f"{len(units)} described units, features of {units[0].features.shape[1]} numbers", flush=True)
    trained = train_milan(units, epochs=epochs, hidden=hidden, seed=seed)
    save_milan(out, trained, seeing.identity)
    for name, losses in (("decoder", trained.decoder_losses), ("prior", trained.prior_losses)):
        best = min(losses)
        print(
            f"{name:8} {losses[0]:.2f} to {best:.2f} nats a description on held-out units, epoch "
            f"{losses.index(best) + 1} of {len(losses)}"
        )
    print(f"The model is in {out}: lwta describe --describer milan --milan {out}")
