"""Trains the small CLIP that is bundled with the package: `python -m lwta.bundled_clip.train`.

The image tower is open_clip's ResNet, the text tower its transformer. The truth of each statement about a painted
picture is known, so that the loss has three terms: InfoNCE over captions (Radford et al. 2021), a sigmoid for each
pair of picture and statement (Zhai et al. 2023), and a softmax over hard negatives (scenes, weathers, the colours of
one kind of object). Two auxiliary heads are used in training only: statements from the embedding, objects and colours
from an 8 x 8 map.
"""

import argparse
import json
import time
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from pictures.scenes import COLOURED, COLOURS

from .figures import figures, print_figures
from .painted_pool import CELL_NAMES, Pool, paint_pool
from .statements import SceneStatement, all_statements
from .tokenizer import trained_words, write_merges

BUNDLE = Path(__file__).parents[2] / "dissect" / "encoders" / "bundled_clip"
CONTEXT = 24
WIDTH = 24  # of the image tower
CAPTIONS = 64  # whole captions a step, beside the phrases
MEAN, STD = 0.5, 0.25
GROUPS = ("scene", "weather", "time", "ground")
ALWAYS = ("scene", "object", "pair", "weather", "time", "ground")


def model_config(tokens: int, width: int = WIDTH) -> dict:
    """open_clip's configuration: 64 px, ResNet (1, 1, 1, 1) of a width, text 96 wide and 2 deep, embeddings of 128."""
    return {
        "embed_dim": 128,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": width, "head_width": 32},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": tokens, "width": 96, "heads": 4, "layers": 2},
    }


def preprocess_config() -> dict:
    """How open_clip prepares a picture for this model."""
    return {"mean": [MEAN] * 3, "std": [STD] * 3, "interpolation": "bicubic", "resize_mode": "shortest"}


class AuxiliaryHeads(nn.Module):
    """Used in training only: a bias of the sigmoids, statements from the embedding, objects and colours from a map."""

    def __init__(self, embedding: int, channels: int, statements: int):
        super().__init__()
        self.bias = nn.Parameter(torch.tensor(-6.0))
        self.statements = nn.Linear(embedding, statements)
        self.cells = nn.Conv2d(channels, len(CELL_NAMES), 1)


def train(
    pool: Pool, tokenizer, *, config: dict, steps: int, batch_size: int, lr: float, seed: int, bf16: bool = True
) -> nn.Module:
    """A model trained on the pool for so many steps. The same arguments give the same model on the same machine."""
    torch.manual_seed(seed)
    statements = all_statements()
    model = open_clip.CLIP(**config)
    visual = model.visual.to(memory_format=torch.channels_last)
    heads = AuxiliaryHeads(config["embed_dim"], 8 * config["vision_cfg"]["width"], len(statements))
    optimizer = torch.optim.AdamW(_groups(model, heads), lr=lr, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.1)
    phrases = [tokenizer(list(statement.phrases)) for statement in statements]
    always, others = _split(statements)
    started, order, smooth = time.time(), torch.empty(0, dtype=torch.long), None
    for step in range(steps):
        if len(order) < batch_size:
            order = torch.randperm(len(pool.labels))
        chosen, order = order[:batch_size], order[batch_size:]
        picked = torch.cat([always, others[torch.randperm(len(others))[:24]]])
        said = torch.stack([_any(phrases[n]) for n in picked])
        told = tokenizer([_any(pool.captions[n]) for n in chosen[:CAPTIONS]])
        image, cells = _augment(pool.images[chosen], pool.cells[chosen])
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            embedded, fine = _forward(visual, image)
            guessed = heads.cells(fine)
            texts = torch.cat([_encode(model, said), _encode(model, told)])
        embedded, guessed, texts = embedded.float(), guessed.float(), functional.normalize(texts.float(), dim=-1)
        known = pool.truth[chosen]
        unit = functional.normalize(embedded, dim=-1)
        logits = model.logit_scale.exp() * unit @ texts.T
        loss = (
            12 * _sigmoid_loss(logits[:, : len(picked)] + heads.bias, known[:, picked])
            + 12 * _sigmoid_loss(heads.statements(embedded), known)
            + 40 * functional.binary_cross_entropy_with_logits(guessed, cells.float())
            + _softmax_loss(logits, known, statements, picked)
            + 0.2 * _contrastive_loss(logits[:CAPTIONS, len(picked) :])
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=4.0)
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if step % 50 == 49:
            pace = (step + 1) * batch_size / (time.time() - started)
            print(f"step {step + 1}/{steps}  loss {smooth:.3f}  {pace:.0f} pictures/s", flush=True)
    return model.eval()


def save_bundle(model: nn.Module, config: dict, out: Path, words: tuple[str, ...], seed: int) -> None:
    """Writes weights (fp16) and configuration into the bundle's folder, each under another name and then renamed."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {
        name: value.half().contiguous() for name, value in model.state_dict().items() if value.is_floating_point()
    }
    weights |= {name: value for name, value in model.state_dict().items() if not value.is_floating_point()}
    unfinished = out / "unfinished"
    unfinished.write_bytes(save(weights, metadata={"format": "pt", "seed": str(seed)}))
    unfinished.rename(out / "open_clip_model.safetensors")
    both = {"model_cfg": config, "preprocess_cfg": preprocess_config()}
    unfinished.write_text(json.dumps(both, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(out / "open_clip_config.json")
    unfinished.write_text("\n".join(words) + "\n", encoding="utf-8")
    unfinished.rename(out / "words.txt")


def main(argv: list[str] | None = None) -> None:
    """Paints, trains, saves, and prints the figures of what was saved."""
    parser = argparse.ArgumentParser(prog="python -m lwta.bundled_clip.train", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=BUNDLE, help="folder of the bundle")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch-size", type=int, default=192)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--width", type=int, default=WIDTH, help="of the image tower")
    parser.add_argument("--pictures", type=int, default=96000, help="painted once, then seen again and again")
    parser.add_argument("--test", type=int, default=4000, help="held-out pictures for the figures")
    parser.add_argument("--fp32", action="store_true", help="ten times faster where the processor lacks bf16")
    parser.add_argument("--eval-only", action="store_true", help="only print the figures of the bundle in --out")
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    if not options.eval_only:
        words = trained_words()
        options.out.mkdir(parents=True, exist_ok=True)
        merges = options.out / "merges.txt.gz"
        config = model_config(write_merges(merges, words), options.width)
        tokenizer = open_clip.tokenizer.SimpleTokenizer(str(merges), context_length=CONTEXT)
        started = time.time()
        pool = paint_pool("clip", options.pictures, seed=options.seed)
        print(f"painted {options.pictures} pictures in {time.time() - started:.0f} s")
        started, used = time.time(), time.process_time()
        settings = {name: getattr(options, name) for name in ("steps", "batch_size", "lr", "seed")}
        model = train(pool, tokenizer, config=config, bf16=not options.fp32, **settings)
        took, used = time.time() - started, time.process_time() - used
        print(f"trained with seed {options.seed} in {took:.0f} s ({used:.0f} s of one core)")
        save_bundle(model, config, options.out, words, options.seed)
    print_figures(figures(options.out, options.test))


def _groups(model, heads):
    """Weight decay by tower: a heavy one on the text tower keeps it from memorising the 150 pairs of kind and colour,
    so that pairs that training never showed are composed of their words."""
    image = [*model.visual.parameters(), *heads.parameters()]
    text = [value for name, value in model.named_parameters() if not name.startswith("visual.")]
    return [
        {"params": [value for value in image if value.ndim > 1], "weight_decay": 0.05},
        {"params": [value for value in text if value.ndim > 1], "weight_decay": 4.0},
        {"params": [value for value in (*image, *text) if value.ndim <= 1], "weight_decay": 0.0},
    ]


def _split(statements: tuple[SceneStatement, ...]) -> tuple[Tensor, Tensor]:
    """Indices of the statements of every step, and of those of which 24 are drawn for each step."""
    always = [n for n, statement in enumerate(statements) if statement.sort in ALWAYS]
    return torch.tensor(always), torch.tensor([n for n in range(len(statements)) if n not in set(always)])


def _forward(visual, image):
    fine = visual.layer2(visual.layer1(visual.stem(image)))
    return visual.attnpool(visual.layer4(visual.layer3(fine))), fine


def _encode(model, tokens: Tensor) -> Tensor:
    """As `model.encode_text`, without the padding that all of the texts share: attention only looks back."""
    length = int(tokens.argmax(1).max()) + 1
    hidden = model.token_embedding(tokens[:, :length]) + model.positional_embedding[:length]
    hidden = model.ln_final(model.transformer(hidden, attn_mask=model.attn_mask[:length, :length]))
    return hidden[torch.arange(len(tokens)), tokens.argmax(1)] @ model.text_projection


def _any(choices):
    return choices[int(torch.randint(len(choices), ()))]


def _augment(images: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the pictures mirrored, with their maps; colours are not changed, since statements name them."""
    mirror = (torch.rand(len(images)) < 0.5)[:, None, None, None]
    images = (images.float() / 255 - MEAN) / STD
    images = torch.where(mirror, images.flip(3), images).contiguous(memory_format=torch.channels_last)
    return images, torch.where(mirror, cells.flip(3), cells)


def _sigmoid_loss(logits: Tensor, known: Tensor) -> Tensor:
    """Sigmoid loss of every picture and statement whose truth is known; true ones are rare and weigh four times."""
    true = (known == 1).float()
    weight = (known >= 0).float() * (1 + 3 * true)
    return functional.binary_cross_entropy_with_logits(logits, true, weight)


def _softmax_loss(logits: Tensor, known: Tensor, statements: tuple[SceneStatement, ...], picked: Tensor) -> Tensor:
    """Softmax within groups of which one is true: scenes, weathers, times, grounds, and the colours of one kind."""
    places = {int(n): place for place, n in enumerate(picked)}
    total = logits.new_zeros(())
    for sort in GROUPS:
        group = [n for n, statement in enumerate(statements) if statement.sort == sort]
        total = total + functional.cross_entropy(logits[:, [places[n] for n in group]], known[:, group].argmax(1))
    rows, targets = [], []
    for kind in COLOURED:
        group = [n for n, statement in enumerate(statements) if statement.sort == "pair" and statement.about[0] == kind]
        truth = known[:, group]
        sure = ((truth == 1).sum(1) == 1) & ((truth == -1).sum(1) == 0)
        scores = logits[:, [places[n] for n in group]][sure]
        rows.append(functional.pad(scores, (0, len(COLOURS) - len(group)), value=-1e4))
        targets.append(truth[sure].argmax(1))
    return total + 6 * functional.cross_entropy(torch.cat(rows), torch.cat(targets))


def _contrastive_loss(logits: Tensor) -> Tensor:
    """InfoNCE both ways: which caption belongs to which picture."""
    target = torch.arange(len(logits))
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


if __name__ == "__main__":
    main()
