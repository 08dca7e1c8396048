"""The training of the small CLIP: its statements are true, its words are tokens, and a step of it repeats."""

import numpy as np
import open_clip
import pytest
import torch

from dissect import ConceptSet, load_encoder
from dissect.encoders.familiarity import encoder_warnings
from lwta.bundled_clip.painted_pool import CELL_NAMES, paint_pool
from lwta.bundled_clip.statements import all_statements, truth
from lwta.bundled_clip.tokenizer import merges, trained_words, write_merges
from lwta.bundled_clip.train import CONTEXT, _encode, model_config, save_bundle, train
from pictures.scenes import COLOURS, HELD_OUT_PAIRS, paint


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    path = tmp_path_factory.mktemp("words") / "merges.txt.gz"
    tokens = write_merges(path, trained_words())
    made = open_clip.tokenizer.SimpleTokenizer(str(path), context_length=CONTEXT)
    assert made.vocab_size == tokens
    return made


@pytest.fixture(scope="module")
def pool():
    return paint_pool("clip", 24, processes=1)


def test_statements_agree_with_the_picture():
    statements = all_statements()
    for index in range(20):
        scene = paint("clip", index)
        row = truth(scene, statements)
        for statement, holds in zip(statements, row, strict=True):
            if statement.sort == "scene":
                assert holds == (statement.about[0] == scene.label)
            if statement.sort == "pair":
                pixels = sum(t.mask.sum() for t in scene.things if (t.name, t.colour) == statement.about)
                assert holds == (1 if pixels >= 12 else 0 if pixels == 0 else -1)
            if statement.sort == "weather":
                assert holds == (statement.about[0] == scene.attributes["weather"])


def test_held_out_pairs_are_not_among_the_statements_nor_their_phrases():
    statements = all_statements()
    assert not {statement.about for statement in statements} & HELD_OUT_PAIRS
    said = "  ".join(f" {phrase} " for statement in statements for phrase in statement.phrases)
    assert not [pair for kind, colour in HELD_OUT_PAIRS if (pair := f" {colour} {kind} ") in said]


def test_merges_make_one_token_of_every_word(tokenizer):
    assert merges(["boat", "boats"])[-1] == ("boat", "s</w>")
    assert all(len(tokenizer.encode(word)) == 1 for word in trained_words())
    assert len(tokenizer.encode("zebra")) > 1


def test_the_map_says_where_things_are(pool):
    for index in range(24):
        names = {thing.name for thing in paint("clip", index).things}
        marked = {CELL_NAMES[n] for n in np.flatnonzero(pool.cells[index].any((1, 2)).numpy())}
        assert marked - set(COLOURS) <= names


def test_short_texts_are_encoded_as_open_clip_does(tokenizer):
    model = open_clip.CLIP(**model_config(tokenizer.vocab_size)).eval()
    tokens = tokenizer(["a boat", "a foggy village at night with two red cars"])
    torch.testing.assert_close(_encode(model, tokens), model.encode_text(tokens))


def test_a_folder_of_another_small_clip_is_an_encoder(tmp_path):
    words = trained_words()
    config = model_config(write_merges(tmp_path / "merges.txt.gz", words), 8)
    save_bundle(open_clip.CLIP(**config), config, tmp_path, words, seed=1)
    encoder = load_encoder(tmp_path)
    assert encoder.encode_batch(torch.zeros(1, 3, 64, 64)).shape == (1, 128)
    assert encoder.words == frozenset(words) and encoder.identity != load_encoder("bundled").identity
    with pytest.raises(ValueError, match="zebra"):
        encoder.encode_texts(ConceptSet(("a zebra", "a red boat"), source="words"))
    assert encoder_warnings(encoder, torch.zeros(1, 128)) == [], "where its pictures lie, nobody wrote down"


@pytest.mark.slow
def test_training_repeats_and_what_is_saved_loads(pool, tokenizer, tmp_path):
    config = model_config(tokenizer.vocab_size)
    settings = {"config": config, "steps": 3, "batch_size": 8, "lr": 1e-3, "seed": 1}
    one, other = (train(pool, tokenizer, **settings) for _ in range(2))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    save_bundle(one, config, tmp_path, trained_words(), seed=1)
    loaded = open_clip.create_model(f"local-dir:{tmp_path}", load_weights=True).eval()
    images = torch.zeros(2, 3, 64, 64)
    torch.testing.assert_close(loaded.encode_image(images), one.encode_image(images), atol=0.02, rtol=0.02)
