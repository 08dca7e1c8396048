"""Word lists: what a line means does not depend on how the file was written; prompts are averaged, never mixed."""

import pytest
import torch
from torch.nn.functional import normalize

from dissect import ConceptSet, load_concepts
from dissect.encoders.tokenizer import check_words, readable


@pytest.mark.parametrize(
    "content",
    [
        b"boat\npalm tree\nred house\n",
        b"boat\r\npalm tree\r\nred house\r\n",
        b"\xef\xbb\xbfboat\npalm tree\nred house",
        b"\nboat\n\n\npalm tree\n   \nred house\n\n",
        b"boat\npalm tree\nboat\nred house\npalm tree\n",
        b"  boat \npalm tree\t\nred house\n",
    ],
    ids=["plain", "windows", "byte-order mark", "blank lines", "duplicates", "spaces"],
)
def test_the_same_names_whatever_the_file_looks_like(tmp_path, content):
    (tmp_path / "words.txt").write_bytes(content)
    assert load_concepts(tmp_path / "words.txt").names == ("boat", "palm tree", "red house")


def test_a_file_without_phrases_is_refused(tmp_path):
    (tmp_path / "words.txt").write_text("\n \n")
    with pytest.raises(ValueError, match="Expected a phrase on some line"):
        load_concepts(tmp_path / "words.txt")


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "words.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="Expected a text file in UTF-8"):
        load_concepts(tmp_path / "words.txt")


def test_an_unknown_set_offers_the_nearest():
    with pytest.raises(ValueError, match="got 'imagenet-1k', did you mean 'imagenet1k'"):
        load_concepts("imagenet-1k")


def test_imagenet_sets_hold_first_synonyms_once():
    names = load_concepts("imagenet1k").names
    assert "tench" in names and len(names) == len(set(names)) > 990


def test_a_template_needs_a_place_for_the_name(tmp_path):
    (tmp_path / "words.txt").write_text("boat")
    with pytest.raises(ValueError, match=r"Expected a template with '\{\}'.*'a photo'"):
        load_concepts(tmp_path / "words.txt", templates=["a photo"])


def test_prompts_are_averaged_within_a_name_and_never_across_names():
    concepts = ConceptSet(("boat", "palm", "sun"), ("a {}", "two {}s"))
    assert concepts.prompts() == ["a boat", "two boats", "a palm", "two palms", "a sun", "two suns"]
    embeddings = torch.randn(6, 5)
    joined = concepts.joined(embeddings)
    for i in range(3):
        first, second = normalize(embeddings[2 * i], dim=0), normalize(embeddings[2 * i + 1], dim=0)
        torch.testing.assert_close(joined[i], normalize((first + second) / 2, dim=0))


def test_the_fingerprint_follows_names_prompts_and_embeddings_beside_the_file(tmp_path):
    words, beside = tmp_path / "words.txt", tmp_path / "words.safetensors"
    words.write_text("boat\nsun\n")
    seen = {load_concepts(words).fingerprint, load_concepts(words, templates=["a {}"]).fingerprint}
    beside.write_bytes(b"one")
    seen.add(load_concepts(words).fingerprint)
    beside.write_bytes(b"two")
    seen.add(load_concepts(words).fingerprint)
    assert len(seen) == 4


def test_untrained_words_are_refused_by_name_or_dropped_and_counted():
    known = frozenset({"red", "boat", "a", "photo"})
    concepts = ConceptSet(("Red boat", "blue boat", "red zeppelin"), source="list")
    with pytest.raises(ValueError, match=r"got 2 with others: 'blue boat' \(blue\); 'red zeppelin' \(zeppelin\)"):
        check_words(concepts, known)
    kept = readable(concepts, known, str)
    assert kept.names == ("Red boat",)
    check_words(kept, known)
    with pytest.raises(ValueError, match="but all 3 have unknown words or are too long"):
        readable(concepts, frozenset(), str)
