"""`lwta describe`: name the units of a network."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from competition_layers.origins import is_function
from competition_layers.terminal import plain

from ..open_model import class_names, open_backbone, open_model
from ..parsing import parse_call
from ..processes import first_after_all, own_device, own_share
from .units import write_units


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parse_call(describe, argv, prog="lwta describe")
    return 0


def describe(
    model: str,
    probe: str,
    out: Path,
    layers: str | list[str] | None = None,
    concepts: str = "scenes",
    clip: str = "bundled",
    root: Path = Path("."),
    split: str = "",
    describer: str | list[str] = "clip-dissect",
    captioner: str | None = None,
    language_model: str = "words",
    text_to_image: str | None = None,
    scoring: str = "topk-compare",
    domain: str = "",
    max_calls: int | None = None,
    milan: str | None = None,
    backbone: str | None = None,
    similarity: str | None = None,
    least_r: float | None = None,
    blocks: str | None = None,
    summary: str = "auto",
    templates: str | list[str] | None = None,
    limit: int | None = None,
    on_bad: Literal["skip", "refuse"] = "skip",
    drop_unknown: bool = False,
    random_weights: bool = False,
    beside_random: bool = False,
    batch_size: int = 64,
    device: str | None = None,
    overwrite: bool = False,
    shard: str | None = None,
) -> None:
    """Name the units of a network by the concepts that its activations follow.

    Args:
        model: a run or model folder, hf-hub:OWNER/NAME, local-dir:PATH, a timm name (its pretrained weights),
            torchvision:NAME[/WEIGHTS], or package.module:function that returns a network, or one and its transform.
        probe: images to look at: a folder, a safetensors file with uint8 `images`, wds/FOLDER of .tar shards, or a
            data set by timm's name, torch/NAME or hfds/NAME.
        out: the dissection folder to write; what is in it already and still fits is not computed again.
        layers: a name or glob of modules, or a list of them; by default the last place where units compete.
        concepts: a built-in set (scenes, imagenet1k, imagenet21k), classes for the network's own, or a text file, one
            phrase a line.
        clip: bundled, or a folder of another of its kind, MODEL/TAG of open_clip, MODEL/FILE or MODEL/TAG=FILE with
            its weights, hf-hub:..., local-dir:..., or a safetensors file of image `embeddings`.
        root: where wds/, torch/ and hfds/ sources lie.
        split: a folder in the probe's folder, a word in the names of shards, a split of a torch/ or hfds/ source (by
            default validation).
        describer: who proposes names, one or several (a,b), which share the pass over the images: clip-dissect (matches
            concepts), lwta (ours, fits them over all images), dnd (Describe-and-Dissect; dnd-coded as its published
            code does), patches (activated patches against phrases), milan (a trained MILAN; milan-free without
            training). The first one's become the names; candidates.csv holds those of all.
        captioner: for dnd and milan-free: bundled (scenes only; default with the bundled encoder), concepts (the
            nearest ones of the list), a transformers model or folder, or URL#MODEL of an OpenAI-compatible endpoint
            (key in LWTA_API_KEY).
        language_model: for dnd, patches and milan-free: words (counting, no model), a transformers model, folder or
            .gguf file, or URL#MODEL.
        text_to_image: for dnd and lwta: painter (scenes only; default with the bundled encoder), found:SOURCE (held-out
            pictures by the encoder), or a diffusers model.
        scoring: of dnd: topk-compare, topk-sq-mean, mean, image-products.
        domain: of patches: the language model is asked for phrases of this domain; without it the concepts are matched.
        max_calls: ask captioner, language model and text-to-image model so many new questions; then the dissection is
            written with what was said, and the same command goes on. By default as many as it takes.
        milan: the folder that `lwta describe-train milan` wrote; milan-free takes its prior from there where no
            language model is named.
        backbone: the network that it was trained with, as --model; by default the bundled one.
        similarity: how activations are compared with concepts: claims (default), soft_wpmi, wpmi, cosine,
            cosine_cubed, rank_reorder, jensen_shannon.
        least_r: a name is written if it predicts its unit on other images with at least this correlation; by default
            0.15; 0 writes every name that is better than chance.
        blocks: pictures that belong together, such as frames of one clip, count as one and never stand on both sides:
            folder, prefix (file names without their last digits), or a CSV file with the columns image, block.
        summary: what stands for an image: cls, tokens (without the class token), mean, max, quantile; auto is the class
            token where the network reads it, else mean.
        templates: a prompt with {} for the concept, or a list of them; their embeddings are averaged.
        limit: look at so many images only, evenly spread.
        on_bad: skip unreadable images and list them, or refuse to start.
        drop_unknown: leave out concepts that the encoder does not read whole: with words that the bundled one was not
            trained on, or longer than its context; instead of refusing.
        random_weights: a timm name without its weights.
        beside_random: name the same network with random weights too, and say beside each layer how many of its units
            have a name: what the pictures and the architecture give by themselves.
        batch_size: images a step.
        device: cpu, cuda, ...; by default an accelerator where there is one.
        overwrite: take over a folder that holds the dissection of another network.
        shard: i/n, counted from 0: only record this share of the images; the command without it, afterwards, names.
            Under torchrun each process records its share, and the first one names.
    """
    share = own_share(shard)  # what can be told without torch is told before it is imported
    if beside_random and random_weights:
        raise ValueError("Expected a trained network for --beside-random but got --random-weights: leave one out")
    if beside_random and shard is not None:
        raise ValueError(
            "Expected --beside-random where units are named but got --shard, which only records: give it to the "
            "command without --shard, afterwards"
        )
    if beside_random and is_function(model):
        raise ValueError(
            f"Expected a network for --beside-random that can be made without its weights but got {model!r}, which "
            "code makes; describe a second function that gives it random weights"
        )
    from dissect import (
        DEFAULT_SIMILARITY,
        DescribeOptions,
        Naming,
        Tools,
        describe_beside,
        load_concepts,
        load_encoder,
        open_probe,
        record_share,
    )
    from dissect import describe as dissect_units
    from dissect.backends.answers import AnswerStore
    from dissect.backends.budget import CallBudget
    from dissect.backends.loading import Backends
    from dissect.describers import describer_names, load_describers
    from dissect.describing import usable
    from dissect.folder.layout import Layout
    from dissect.folder.sources import ModelSource, write_encoder
    from dissect.inputs import inference_rules
    from dissect.naming.verifying import LEAST_R
    from pictures import print_skipped

    naming = Naming(similarity or DEFAULT_SIMILARITY, LEAST_R if least_r is None else least_r, blocks)
    options = DescribeOptions(layers=layers, summary=summary, batch_size=batch_size, naming=naming, overwrite=overwrite)
    names = describer_names(describer)
    where = own_device(device)
    prompts = [templates] if isinstance(templates, str) else templates or ["{}"]
    words = None if concepts == "classes" else load_concepts(concepts, templates=prompts)
    images = open_probe(probe, on_bad=on_bad, limit=limit, root=root, split=split)
    network = open_model(model, random_weights=random_weights).to(where)
    words = words or load_concepts("classes", templates=prompts, names=class_names(network))
    encoder = load_encoder(clip, batch_size=batch_size, device=where)
    if drop_unknown:
        words, dropped = encoder.known(words)
        print(f"dropped {dropped} of {dropped + len(words)} concepts that the encoder does not read whole")
    images, words, without = usable(images, words, encoder)
    print_skipped((*images.skipped, *((name, "its row of embeddings is not finite") for name in without)))
    asked = text_to_image or ("painter" if clip == "bundled" else "")
    captioner = captioner or ("bundled" if clip == "bundled" else "concepts")
    held_out = partial(open_probe, on_bad=on_bad, root=root, split=split)
    store = AnswerStore(Layout(out).answers, CallBudget(max_calls))
    backends = Backends(captioner, language_model, asked, store, encoder, words, held_out, where)
    seeing = partial(open_backbone, backbone) if backbone else None
    tools = Tools(naming, backends, scoring, domain, milan, seeing)
    options = replace(options, describers=load_describers(names, tools))
    if share is not None:
        record_share(network, images, encoder, out, share, options)
        print(f"Recorded share {share[0]}/{share[1]} into {plain(out)}", flush=True)
        if shard is not None or not first_after_all():
            return
    dissection = dissect_units(network, images, words, encoder, out, options)
    ModelSource.of(out, model, random_weights=random_weights).write(out)  # `lwta explain` needs the network again
    write_encoder(out, clip)  # and `lwta find` the encoder
    if beside_random:
        random = open_model(model, random_weights=True).to(where)
        dissection = describe_beside(dissection, random, images, words, encoder, options)
        beside = dissection.layout.beside_random
        ModelSource.of(beside, model, random_weights=True).write(beside)
        write_encoder(beside, clip)
    print(f"The page of its units is {plain(write_units(dissection.layout.units_page, dissection, network))}")
    print("\n".join(map(plain, summarise(dissection, inference_rules(network)))))


def summarise(dissection, rules: dict[str, str]) -> list[str]:
    """A short table: of each layer how many units have a name, why the others have none, and the five surest names."""
    from dissect.naming.description import OUTCOMES
    from dissect.report.losses_text import losses_text

    width = max(map(len, ("layer", *dissection.layers)))
    lines = [f"{'layer':{width}}  units  {'  '.join(f'{outcome:>5}' for outcome in OUTCOMES)}  rule"]
    for layer in dissection.layers:
        units = [dissection.description(layer, unit) for unit in range(dissection.units(layer))]
        count = dissection.outcomes(layer)
        widths = zip(count.values(), map(len, OUTCOMES), strict=True)
        counts = "  ".join(f"{number:{max(wide, 5)}}" for number, wide in widths)
        lines.append(f"{layer:{width}}  {len(units):5}  {counts}  {rules.get(layer, 'does not compete')}")
        random = dissection.named_at_random(layer)
        if random is not None:
            lines.append(f"{'':{width}}  with random weights {random} of {len(units)} have a name")
        surest = sorted((unit for unit in units if unit.named), key=lambda unit: -unit.evidence.predictability)[:5]
        lines += [
            f"{'':{width}}  unit {unit.unit}: {_said(unit)} (r {unit.evidence.predictability:.2f}, "
            f"95 % {unit.evidence.low:.2f} to {unit.evidence.high:.2f})"
            for unit in surest
        ]
    return [
        *lines,
        *(line for layer in dissection.layers for line in losses_text(dissection, layer)),
        *(f"WARNING: {warning}" for warning in dissection.manifest.get("warnings", ())),
        "r: how well a name predicts its unit on images that did not choose it, under the same encoder.",
        f"The dissection is in {dissection.folder}",
    ]


def _said(unit) -> str:
    """A unit's name; where several meanings were fitted together, all with their weights."""
    fitted = " + ".join(f"{each.description} {each.similarity:.2f}" for each in unit.meanings)
    return fitted if len(unit.meanings) > 1 else unit.description
