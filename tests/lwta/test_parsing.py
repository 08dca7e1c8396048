"""Options from signatures, and the nearest key for a mistyped one, on the command line and in YAML."""

from argparse import ArgumentError
from dataclasses import dataclass

import pytest
import yaml
from jsonargparse import ArgumentParser

from competition_layers import DecisionLayer
from lwta.parsing import explain_unknown_keys, parse_call, tidy_options


@dataclass
class Depth:
    layers: int = 2


class Shape: ...


class Round(Shape):
    def __init__(self, radius: float = 1.0):
        self.radius = radius


def draw(
    model: str,
    *,
    concepts: str | list[str] = "nouns",
    random_weights: bool = False,
    depth: Depth = Depth(),  # noqa: B008  (jsonargparse shows it as options)
    shape: Shape | None = None,
):
    """Draw it.

    Args:
        model: a folder.
        concepts: a list of words.
    """
    return model, concepts, random_weights, depth.layers, getattr(shape, "radius", None)


def explain(images: list[str], *, dissection: str = "here"):
    """Explain.

    Args:
        images: pictures.
    """
    return images, dissection


def call(*argv, function=draw, **options):
    return parse_call(function, argv, prog="lwta draw", **options)


def write(path, **content):
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_a_signature_becomes_options():
    assert call("--model", "m", "--depth.layers", "3") == ("m", "nouns", False, 3, None)
    assert call("--model", "m", "--concepts", "[a, b]")[1] == ["a", "b"]


@pytest.mark.parametrize("switch", ["--random-weights", "--random_weights", "--random-weights=true"])
def test_switches_with_dashes_or_underscores(switch):
    assert call("--model", "m", switch)[2] is True
    assert call(switch, "--model", "m")[2] is True


def test_a_switch_can_be_told_its_value():
    assert call("--random-weights", "false", "--model", "m")[2] is False


def test_a_switch_does_not_swallow_what_follows():
    assert call("--random-weights", "m", positionals=["model"])[:3] == ("m", "nouns", True)


def test_options_stand_in_yaml_and_the_later_one_counts(tmp_path):
    config = write(tmp_path / "c.yaml", model="m", depth={"layers": 5})
    assert call("-c", config)[3] == 5
    assert call("-c", config, "--depth.layers", "6")[3] == 6


def test_print_config_writes_what_config_reads(tmp_path, capsys):
    with pytest.raises(SystemExit):
        call("--model", "m", "--random-weights", "--print_config")
    (tmp_path / "c.yaml").write_text(capsys.readouterr().out)
    assert call("-c", str(tmp_path / "c.yaml")) == ("m", "nouns", True, 2, None)


def test_a_list_of_positionals(tmp_path):
    options = {"function": explain, "positionals": ["images"]}
    assert call("a.png", "b.png", "--dissection", "d", **options) == (["a.png", "b.png"], "d")
    assert call("-c", write(tmp_path / "c.yaml", images=["a.png"]), **options) == (["a.png"], "here")
    with pytest.raises(ArgumentError, match="required: images"):
        call(**options)


def test_help_says_what_the_docstring_says(capsys):
    with pytest.raises(SystemExit):
        call("--help")
    shown = capsys.readouterr().out
    assert "Draw it." in shown
    assert "a list of words." in shown


UNKNOWN = {
    "--concpets x": "'--concpets', did you mean '--concepts'?",
    "--random-wieghts": "'--random_wieghts', did you mean '--random_weights'?",
    "--depth.lyers 3": "'--depth.lyers', did you mean '--depth.layers'?",
    "--depth.lay=3": "'--depth.lay', did you mean '--depth.layers'?",
    "--zzzzzz 3": "'--zzzzzz'",
}


@pytest.mark.parametrize("typed", UNKNOWN)
def test_an_unknown_option_offers_the_nearest(typed):
    with pytest.raises(ArgumentError) as caught:
        call("--model", "m", *typed.split())
    assert str(caught.value) == f"Expected a known key but got {UNKNOWN[typed]}"


def test_an_unknown_key_in_yaml_offers_the_nearest(tmp_path):
    with pytest.raises(ArgumentError, match="got 'concpets', did you mean 'concepts'"):
        call("-c", write(tmp_path / "c.yaml", model="m", concpets="x"))
    with pytest.raises(ArgumentError, match=r"got 'depth\.lyers', did you mean 'depth\.layers'"):
        call("-c", write(tmp_path / "c.yaml", model="m", depth={"lyers": 1}))


def test_an_unknown_key_of_a_chosen_class_offers_the_nearest(tmp_path):
    spec = {"class_path": f"{Round.__module__}.Round", "init_args": {"raduis": 2}}
    with pytest.raises(ArgumentError, match="got 'raduis', did you mean 'radius'"):
        call("-c", write(tmp_path / "c.yaml", model="m", shape=spec))


def test_other_messages_are_left_alone():
    with pytest.raises(ArgumentError, match="Expected a <class 'int'>"):
        call("--model", "m", "--depth.layers", "many")
    with pytest.raises(ArgumentError, match="required: model"):
        call()


# LightningCLI has a parser class of its own, which takes the two functions
LIGHTNING = {
    "--trainer.max_ep 3": "'--trainer.max_ep', did you mean '--trainer.max_epochs'?",
    "--model.competitorz 3": "'--model.competitorz', did you mean '--model.competitors'?",
    "--trainer.logger CSVLogger --trainer.logger.sav_dir x": "'sav_dir', did you mean 'save_dir'?",
    "-c modle.yaml": "'modle.competitors', did you mean 'model.competitors'?",
    "-c model.yaml": "'model.competitorz', did you mean 'model.competitors'?",
    "-c trainer.yaml": "'trainer.max_epoch', did you mean 'trainer.max_epochs'?",
}


@pytest.fixture(scope="module")
def lightning_cli():
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
    from lightning.pytorch.demos.boring_classes import BoringDataModule, BoringModel

    class Model(BoringModel):
        def __init__(self, competitors: int = 4, *, compiled: bool = False):
            super().__init__()

    class Parser(LightningArgumentParser):
        def parse_args(self, args=None, *rest, **options):
            return super().parse_args(args if args is None else tidy_options(self, args), *rest, **options)

        def error(self, message, ex=None):
            super().error(explain_unknown_keys(self, message), ex)

    class CLI(LightningCLI):
        def init_parser(self, **options):
            parser = Parser(**options)
            parser.add_argument("-c", "--config", action="config")
            return parser

    def run(*argv, run=True):
        strict = {"allow_abbrev": False, "exit_on_error": False}
        return CLI(
            Model, BoringDataModule, args=list(argv), run=run, seed_everything_default=False, parser_kwargs=strict
        )

    return run


@pytest.mark.parametrize("typed", LIGHTNING)
def test_lightning_offers_the_nearest_too(typed, lightning_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lwta"])  # LightningCLI warns where it is given arguments and finds others
    write(tmp_path / "modle.yaml", modle={"competitors": 2})
    write(tmp_path / "model.yaml", model={"competitorz": 2})
    write(tmp_path / "trainer.yaml", trainer={"max_epoch": 2})
    with pytest.raises(ArgumentError) as caught:
        lightning_cli("fit", *typed.split())
    assert f"Expected a known key but got {LIGHTNING[typed]}" in str(caught.value)


def test_tidy_options_leaves_values_alone():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--a_b", type=bool, default=False)
    assert tidy_options(parser, ["--a-b", "x-y", "--c-d=e-f", "-g"]) == ["--a_b=true", "x-y", "--c_d=e-f", "-g"]
    assert tidy_options(parser, []) == []


def decide(decision: DecisionLayer | None = None) -> DecisionLayer | None:
    """Says what it was given."""
    return decision


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--decision.units=100", "^Expected competitors of a decision layer of 100 units to be one of 2, 4, 5, .* 16"),
        ("--decision.units=2.5", r"^decision\.units: Expected a <class 'int'>\. Got value: 2\.5$"),
        ("--decision.at=position", r"^decision\.at: Expected one of pooled, positions but got 'position',"),
        ("--decision.unit=64", r"^Expected a known key but got 'unit', did you mean 'units'\?, of decision$"),
    ],
)
def test_a_group_that_may_be_left_out_refuses_in_its_own_words(option, text):
    """Not as jsonargparse does, which lists the types of a union."""
    with pytest.raises(ArgumentError, match=text):
        parse_call(decide, [option], prog="decide")
