"""Encoders: unit vectors from any open_clip model, from the bundled one, from files; rows never slip."""

import time
from math import isfinite

import open_clip
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import interpolate, normalize

from dissect import (
    SIMILARITIES,
    ConceptSet,
    DescribeOptions,
    ImageTextEncoder,
    Naming,
    describe,
    load_concepts,
    load_encoder,
    open_probe,
)
from dissect.describing import usable
from dissect.encoders import bundled_clip
from dissect.encoders.clip import ClipEncoder
from dissect.encoders.precomputed import PrecomputedEncoder
from dissect.encoders.tokenizer import too_long
from dissect.naming.verifying import MINIMUM_SUPPORT


class TinyClip(nn.Module):
    """Images by their mean colour, texts by their first letters."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Linear(3, 4)
        self.text = nn.Embedding(128, 4)

    def encode_image(self, x):
        return self.image(x.mean((2, 3)))

    def encode_text(self, tokens):
        return self.text(tokens).sum(1)


def letters(texts):
    return torch.tensor([[ord(c) for c in text.ljust(12)[:12]] for text in texts])


@pytest.fixture
def tiny(to_tensor):
    return ClipEncoder(TinyClip(), to_tensor, letters, batch_size=3)


def test_encoders_give_unit_vectors_in_order_whatever_the_batch(tiny, probe, to_tensor):
    assert isinstance(tiny, ImageTextEncoder)
    images = tiny.encode_images(probe)
    x = torch.stack([to_tensor(probe[i]) for i in range(len(probe))])
    torch.testing.assert_close(images, normalize(tiny.model.encode_image(x), dim=1).detach())
    names = ("boat", "palm", "red house", "sun")
    texts = tiny.encode_texts(ConceptSet(names))
    torch.testing.assert_close(texts, normalize(tiny.model.encode_text(letters(names)), dim=1).detach())
    assert images.dtype == texts.dtype == torch.float32 and not images.requires_grad


def test_templates_are_averaged_name_by_name_across_batches(tiny):
    concepts = ConceptSet(("boat", "palm", "sun"), ("a {}", "the {}"))
    found = tiny.encode_texts(concepts)
    for i, name in enumerate(concepts.names):
        both = normalize(tiny.model.encode_text(letters([f"a {name}", f"the {name}"])), dim=1).mean(0)
        torch.testing.assert_close(found[i], normalize(both, dim=0).detach())


def test_the_identity_follows_the_weights(to_tensor):
    model = TinyClip()
    before = ClipEncoder(model, to_tensor, letters).identity
    assert ClipEncoder(model, to_tensor, letters).identity == before
    with torch.no_grad():
        model.image.weight[0, 0] += 1
    assert ClipEncoder(model, to_tensor, letters).identity != before


def test_the_bundled_encoder_refuses_untrained_words_or_drops_them(monkeypatch, to_tensor):
    words = frozenset({"red", "boat"})
    monkeypatch.setattr(bundled_clip, "load", lambda _: (TinyClip(), to_tensor, letters))
    monkeypatch.setattr(bundled_clip, "words", lambda _: words)
    encoder = load_encoder("bundled")
    concepts = ConceptSet(("red boat", "zeppelin"))
    with pytest.raises(ValueError, match=r"Expected phrases of words .* 'zeppelin' \(zeppelin\).*drop_unknown"):
        encoder.encode_texts(concepts)
    kept, dropped = encoder.known(concepts)
    assert kept.names == ("red boat",) and dropped == 1
    assert encoder.encode_texts(kept).shape == (1, 4)


@pytest.mark.parametrize(
    "name, match",
    [
        ("ViT-B32/openai", "but got 'ViT-B32/openai', did you mean 'ViT-B-32'"),
        ("ViT-B-32/opena", "Expected ViT-B-32/TAG with a tag among .*openai.* but got 'ViT-B-32/opena', did you mean"),
        ("ViT-B-32", "Expected ViT-B-32/TAG with a tag among"),
        ("bundle", "Expected 'bundled', MODEL/TAG of open_clip"),
    ],
)
def test_unknown_encoders_offer_the_nearest(name, match):
    with pytest.raises(ValueError, match=match):
        load_encoder(name)


def test_an_open_clip_model_from_a_folder(tmp_path, probe):
    """`local-dir:` in open_clip's own format: a small model written here, read by its loader."""
    import json

    config = {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"image_size": 32, "layers": 1, "width": 16, "head_width": 16, "patch_size": 16},
            "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
        },
        "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3},
    }
    model = open_clip.CLIP(
        embed_dim=16,
        vision_cfg=open_clip.CLIPVisionCfg(**config["model_cfg"]["vision_cfg"]),
        text_cfg=open_clip.CLIPTextCfg(**config["model_cfg"]["text_cfg"]),
    )
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    encoder = load_encoder(f"local-dir:{tmp_path}", batch_size=4)
    images, texts = encoder.encode_images(probe), encoder.encode_texts(ConceptSet(("boat", "sun")))
    assert images.shape == (10, 16) and texts.shape == (2, 16)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(10))
    with torch.no_grad():
        expected = model.eval().encode_text(open_clip.get_tokenizer("ViT-B-32")(["boat", "sun"], context_length=16))
    torch.testing.assert_close(texts, normalize(expected, dim=1))


@pytest.fixture
def siglip(tmp_path, probe, to_tensor):
    """A small SigLIP in open_clip's own format, weights at random: a timm tower with an attention pool, texts read both
    ways, a bias in the logits. Its cosines are negative, as those of trained ones mostly are."""
    import json

    config = {
        "embed_dim": 192,  # the pool's own width: nothing is projected
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": 224,
            "timm_model_name": "vit_tiny_patch16_224",
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": {
            **{"context_length": 16, "vocab_size": 49408, "width": 192, "heads": 1, "layers": 1},
            **{"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}},
        },
    }
    torch.manual_seed(0)
    model = open_clip.CustomTextCLIP(**{k: v for k, v in config.items() if k != "custom_text"}).eval()
    with torch.no_grad():
        pictures = interpolate(torch.stack([to_tensor(probe[i]) for i in range(10)]), size=224, mode="bicubic")
        image = normalize(model.encode_image(pictures, normalize=True).mean(0), dim=0)
        model.text.text_projection.bias.copy_(
            -9 * model.encode_text(torch.zeros(1, 16, dtype=torch.int64)).norm() * image
        )
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    return load_encoder(f"local-dir:{tmp_path}")


def test_a_siglip_with_negative_cosines_names_by_every_similarity(siglip, probe, to_tensor, tmp_path):
    words = ConceptSet(("boat", "palm", "red sun", "house", "wave", "cloud"))
    images, texts = siglip.encode_images(probe), siglip.encode_texts(words)
    assert images.shape == (10, 192) and texts.shape == (6, 192) and (images @ texts.T).max() < 0
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    for similarity in SIMILARITIES:
        options = DescribeOptions(layers="1", transform=to_tensor, naming=Naming(similarity))
        dissection = describe(model, probe, words, siglip, tmp_path / "out", options)
        units = [dissection.description("1", unit) for unit in range(8)]
        spoke = [unit for unit in units if unit.support >= MINIMUM_SUPPORT]
        assert len(spoke) > 2 and all(isfinite(unit.similarity) and unit.candidates for unit in spoke)


@pytest.mark.parametrize("name, quick", [("ViT-B-32/openai", True), ("ViT-B-32/laion2b_s34b_b79k", False)])
def test_weights_get_the_gelu_that_they_were_trained_with(monkeypatch, to_tensor, name, quick):
    """open_clip itself only warns, and its embeddings are then others."""
    seen = {}

    def create(model_name, **options):
        seen.update(options)
        return TinyClip(), None, to_tensor

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    load_encoder(name)
    assert seen == {"pretrained": name.split("/")[1], "force_quick_gelu": quick}


def test_weights_that_cannot_be_had_are_said_in_one_line(monkeypatch):
    def create(*_, **__):
        raise RuntimeError("Failed to download weights for tag 'openai': no connection\nand more")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    for name in ("ViT-B-32/openai", "hf-hub:laion/none"):
        with pytest.raises(
            FileNotFoundError, match=f"Expected the weights of '{name}' in the cache or on the Hub"
        ) as e:
            load_encoder(name)
        assert "\n" not in str(e.value)


@pytest.mark.parametrize("suffix", ["", "dfndr2b="], ids=["MODEL/FILE", "MODEL/TAG=FILE"])
def test_weights_in_a_file_are_prepared_as_their_models_tags_are(monkeypatch, tmp_path, to_tensor, suffix):
    """MobileCLIP2 takes pictures between 0 and 1; open_clip takes a file's weights to be OpenAI's."""
    seen = {}

    def create(model_name, **options):
        seen.update(options)
        return TinyClip(), None, to_tensor

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"")
    load_encoder(f"MobileCLIP2-S0/{suffix}{file}")
    assert seen["pretrained"] == str(file) and seen["image_mean"] == (0.0, 0.0, 0.0)
    assert seen["image_std"] == (1.0, 1.0, 1.0) and seen["image_interpolation"] == "bilinear"
    load_encoder(f"ViT-B-32/openai={file}")
    assert seen["force_quick_gelu"]
    with pytest.raises(ValueError, match="since the weights of ViT-B-32 differ in quick_gelu"):
        load_encoder(f"ViT-B-32/{file}")
    with pytest.raises(FileNotFoundError, match=r"with a file of weights but 'none\.pt' is not there"):
        load_encoder("ViT-B-32/openai=none.pt")


def test_damaged_weights_are_said_in_one_line_with_the_file(tmp_path):
    (tmp_path / "open_clip_config.json").write_text('{"model_cfg": {')
    with pytest.raises(ValueError, match=r"Expected weights of open_clip's format .*'local-dir:.*copy them anew"):
        load_encoder(f"local-dir:{tmp_path}")
    (tmp_path / "half.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"Expected a whole safetensors file but got .*half.safetensors"):
        load_encoder(tmp_path / "half.safetensors").identity  # noqa: B018


def test_phrases_longer_than_the_encoder_reads_are_refused_or_dropped(to_tensor):
    """Cut at the context's end they would be equal: two long phrases that differ in their last words."""
    encoder = ClipEncoder(TinyClip(), to_tensor, open_clip.get_tokenizer("ViT-B-32"))
    head = "a red boat and a blue boat and a white house and a green tree at night in a forest " * 5
    long = ConceptSet((f"{head} a beach", f"{head} a city", "a boat", "sun", "a palm"))
    with pytest.raises(ValueError, match=r"at most 77 tokens.* but got 2 longer: 'a red boat and .*drop_unknown"):
        encoder.encode_texts(long)
    assert encoder.known(long) == (ConceptSet(("a boat", "sun", "a palm")), 2)
    whole = " ".join(["boat"] * 75)  # with begin and end 77: read whole
    assert not too_long([whole], encoder.tokenizer)[0] and too_long([f"{whole} sun"], encoder.tokenizer)[0]
    assert too_long([head * 20], encoder.tokenizer)[0]


@pytest.fixture
def embedded(tmp_path):
    """Images with embeddings in one file: probe and encoder at once."""
    torch.manual_seed(0)
    path = tmp_path / "both.safetensors"
    pixels = torch.randint(0, 256, (9, 4, 4, 3), dtype=torch.uint8)
    save_file({"images": pixels, "embeddings": torch.randn(9, 5)}, path)
    return path


def test_precomputed_images_follow_the_probe_through_its_limit(embedded):
    rows = PrecomputedEncoder(str(embedded)).encode_images(open_probe(embedded))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(9))
    some = open_probe(embedded, limit=3)
    torch.testing.assert_close(load_encoder(embedded).encode_images(some), rows[[0, 3, 6]])


def test_precomputed_images_of_another_number_are_refused(embedded, probe):
    with pytest.raises(ValueError, match="for each of the 10 probe images but got 9"):
        load_encoder(embedded).encode_images(probe)


def test_a_file_without_embeddings_is_refused(tmp_path, probe):
    with pytest.raises(ValueError, match=r"Expected a tensor 'embeddings' in .* but got images"):
        load_encoder(probe.source).encode_images(probe)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_encoder(tmp_path / "none.safetensors").encode_images(probe)


@pytest.mark.parametrize(
    "text, rows",
    [
        ("boat\nsun\npalm\n", [0, 1, 2]),
        ("boat\n\nsun\nboat\npalm\n", [0, 2, 4]),  # a row a line
        ("\ufeffboat\r\nsun\r\nboat\r\n\r\npalm", [0, 1, 4]),
    ],
)
def test_cleaning_a_word_list_keeps_its_rows(tmp_path, embedded, text, rows):
    (tmp_path / "words.txt").write_text(text, encoding="utf-8", newline="")
    lines = text.splitlines()
    table = torch.randn(len(lines), 5)
    save_file({"embeddings": table}, tmp_path / "words.safetensors")
    concepts = load_concepts(tmp_path / "words.txt")
    assert concepts.names == ("boat", "sun", "palm")
    found = load_encoder(embedded).encode_texts(concepts)
    torch.testing.assert_close(found, normalize(table[rows], dim=1))
    kept = [i for i, line in enumerate(lines) if line.strip()]  # made from the lines that are not blank
    save_file({"embeddings": table[kept]}, tmp_path / "words.safetensors")
    torch.testing.assert_close(load_encoder(embedded).encode_texts(concepts), found)


def test_precomputed_texts_are_checked(tmp_path, embedded):
    encoder = load_encoder(embedded)
    with pytest.raises(ValueError, match=r"Expected text embeddings beside the word list .* 'imagenet'"):
        encoder.encode_texts(ConceptSet(("tench",), source="imagenet"))
    words = tmp_path / "words.txt"
    words.write_text("boat\nsun\n")
    save_file({"embeddings": torch.randn(5, 4)}, tmp_path / "words.safetensors")
    with pytest.raises(ValueError, match=r"for each of the 2 lines \(2 not blank\) .* but got 5"):
        encoder.encode_texts(load_concepts(words))
    with pytest.raises(
        ValueError, match=r"Expected no templates with precomputed text embeddings but got \['a \{\}'\]"
    ):
        encoder.encode_texts(load_concepts(words, templates=["a {}"]))


@pytest.fixture
def words(tmp_path):
    """Four phrases; the embeddings of the second are not finite."""
    (tmp_path / "words.txt").write_text("boat\nsun\npalm\nsea\n")
    rows = torch.randn(4, 5)
    rows[1] = torch.inf
    save_file({"embeddings": rows}, tmp_path / "words.safetensors")
    return load_concepts(tmp_path / "words.txt")


@pytest.mark.parametrize("limit", [None, 4])
def test_rows_that_are_not_finite_are_named_and_left_out(embedded, words, limit, to_tensor, tmp_path):
    """One NaN made every similarity NaN, and left all units without a name."""
    pixels = torch.randint(0, 256, (9, 4, 4, 3), dtype=torch.uint8)
    rows = torch.randn(9, 5)
    rows[2, 3], rows[4] = torch.nan, 0.0
    save_file({"images": pixels, "embeddings": rows}, embedded)
    encoder, probe = load_encoder(embedded), open_probe(embedded, limit=limit)
    kept, concepts, dropped = usable(probe, words, encoder)
    bad = {"2", "4"} if limit is None else {"2", "4"} & set(probe.names)
    assert bad and set(kept.names) == set(probe.names) - bad and {name for name, _ in kept.skipped} == bad
    assert concepts.names == ("boat", "palm", "sea") and dropped == ["sun"]
    found = encoder.encode_images(kept)
    torch.testing.assert_close(found, normalize(rows[[int(name) for name in kept.names]], dim=1))
    assert [kept[i].getpixel((0, 0)) for i in range(len(kept))] == [
        tuple(pixels[int(n), 0, 0].tolist()) for n in kept.names
    ]
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    dissection = describe(model, probe, words, encoder, tmp_path / "out", DescribeOptions("1", transform=to_tensor))
    assert dissection.images == kept.names and dissection.image_embeddings().isfinite().all()
    assert [name for name, _ in dissection.manifest["probe"]["skipped"]] == [name for name, _ in kept.skipped]


def test_rows_of_a_limited_probe_stay_with_their_pictures_when_some_are_left_out(embedded, words):
    some = open_probe(embedded, limit=3)  # three rows, of these three alone
    rows = torch.randn(3, 5)
    rows[0] = torch.nan
    save_file({"embeddings": rows}, embedded.with_name("three.safetensors"))
    encoder = load_encoder(embedded.with_name("three.safetensors"))
    kept, *_ = usable(some, words, encoder)
    assert kept.names == some.names[1:]
    torch.testing.assert_close(encoder.encode_images(kept), normalize(rows[1:], dim=1))
    save_file({"embeddings": torch.full((3, 5), torch.nan)}, embedded.with_name("none.safetensors"))
    with pytest.raises(ValueError, match=r"Expected finite embeddings .* but no row is"):
        usable(some, words, load_encoder(embedded.with_name("none.safetensors")))


def test_embeddings_of_two_sizes_and_too_few_concepts_are_refused(embedded, words, tmp_path):
    probe = open_probe(embedded)
    save_file({"embeddings": torch.randn(4, 7)}, tmp_path / "words.safetensors")
    with pytest.raises(ValueError, match=r"Expected embeddings of one size but got 5 .* and 7 of the phrases"):
        usable(probe, words, load_encoder(embedded))
    save_file({"embeddings": torch.randn(4)}, tmp_path / "words.safetensors")
    with pytest.raises(ValueError, match=r"Expected 'embeddings' \(rows, dim\) in .*words.safetensors' but got \(4,\)"):
        usable(probe, words, load_encoder(embedded))
    with pytest.raises(ValueError, match=r"Expected at least 3 concepts, .* but got 2: boat, sun"):
        usable(probe, ConceptSet(("boat", "sun")), ClipEncoder(TinyClip(), str, letters))


def test_twenty_thousand_concepts_are_checked_in_a_moment(embedded, tmp_path):
    names = [f"word {i}" for i in range(20_000)]
    (tmp_path / "many.txt").write_text("\n".join(names))
    rows = torch.ones(20_000, 5)
    rows[7] = torch.nan
    save_file({"embeddings": rows}, tmp_path / "many.safetensors")
    began = time.process_time()
    _, concepts, dropped = usable(open_probe(embedded), load_concepts(tmp_path / "many.txt"), load_encoder(embedded))
    assert dropped == ["word 7"] and len(concepts) == 19_999 and time.process_time() - began < 10  # 0.1 s; squared 400
