"""Trains the small captioner of the painted scenes: `python -m lwta.bundled_clip.train_captioner`.

The image tower of the bundled CLIP is frozen and sees each picture once; what is trained are heads on its map
(`dissect.backends.bundled_captioner`), on whole scenes and on parts of them, since describers caption parts too.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from competition_layers.files import write_file
from dissect.backends.bundled_captioner import KINDS, WEIGHTS, SceneHeads, Tower

from .caption_figures import caption_figures, print_figures
from .parts import FILLED, Parts, paint_parts
from .train import BUNDLE, MEAN, STD

SEED = 40_000  # of pictures that nothing else is trained, probed or judged with
BATCH = 128


def train(parts: Parts, *, epochs: int, lr: float = 2e-3, seed: int = 0) -> SceneHeads:
    """Heads that say what is there (of a kind its surest place counts), where, and the scene, weather and time."""
    torch.manual_seed(seed)
    heads = SceneHeads()
    maps, embeddings = _seen(parts.images)
    steps = epochs * (len(maps) // BATCH)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    for epoch in range(epochs):
        started, total = time.time(), 0.0
        batches = torch.randperm(len(maps)).split(BATCH)[: len(maps) // BATCH]
        for some in batches:
            kinds, colours, wholes = heads(maps[some].float(), embeddings[some].float())
            known = parts.kinds[some].float()
            there = binary_cross_entropy_with_logits(kinds.amax(1), known, (known >= 0).float())
            filled = (parts.filled[some].float() >= FILLED).float()
            where = binary_cross_entropy_with_logits(torch.cat([kinds, colours], 2), filled)
            about = [cross_entropy(x, parts.wholes[some, i]) for i, x in enumerate(wholes)]
            loss = len(KINDS) * (there + where) + sum(about, torch.zeros(()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}/{epochs}  loss {total / len(batches):.3f}  {time.time() - started:.0f} s", flush=True)
    return heads


def main(argv: list[str] | None = None) -> None:
    """Paints, trains, saves, and prints the figures of what was saved."""
    parser = argparse.ArgumentParser(prog="python -m lwta.bundled_clip.train_captioner", description=__doc__)
    parser.add_argument("--out", type=Path, default=BUNDLE, help="folder of the captioner")
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1, help="that paint")
    parser.add_argument("--test", type=int, default=1000, help="held-out pictures for the figures")
    parser.add_argument("--eval-only", action="store_true", help="only print the figures of the captioner in --out")
    options = parser.parse_args(argv)
    if not options.eval_only:
        parts = paint_parts("clip", options.pictures, seed=SEED + options.seed, processes=options.processes)
        used = time.process_time()
        heads = train(parts, epochs=options.epochs, seed=options.seed)
        print(f"trained with seed {options.seed} in {time.process_time() - used:.0f} s of one core, without painting")
        weights = {name: weight.half().contiguous() for name, weight in heads.state_dict().items()}
        options.out.mkdir(parents=True, exist_ok=True)
        with write_file(options.out / WEIGHTS) as temporary:
            temporary.write_bytes(save(weights))
    print_figures(caption_figures(options.out, options.test))


def _seen(images: Tensor) -> tuple[Tensor, Tensor]:
    """What the tower sees of every picture, fp16."""
    tower = Tower()
    parts = [tower.see((some.float() / 255 - MEAN) / STD) for some in images.split(BATCH)]
    return torch.cat([maps.half() for maps, _ in parts]), torch.cat([whole.half() for _, whole in parts])


if __name__ == "__main__":
    main()
