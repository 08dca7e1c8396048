"""The keys that are read off the sources are those that the parser has."""

from argparse import ArgumentError

import pytest

from lwta.keys import _flat, key_tree, refuse_unknown_keys
from lwta.parsing import _actions
from lwta.training_cli import TrainingCLI


@pytest.fixture(scope="module")
def parsed():
    """The keys of the real parser."""
    parser = TrainingCLI("fit", ["--run=x", "--data.data_dir=x"]).parser
    return {action.dest for action in _actions(parser)}


def test_every_key_of_the_parser_is_read_off_the_sources_and_no_other(parsed):
    tree = key_tree()
    read = {key for section in ("model", "data", "trainer") for key in _flat(tree[section], f"{section}.")}
    known = {key for key in parsed if key.split(".")[0] in ("model", "data", "trainer") and "." in key}
    known = {key for key in known if not key.endswith(".help")}
    assert len(known) > 60
    assert known <= read
    groups = {key for key in read if any(other.startswith(f"{key}.") for other in read)}
    optional = {key for key in read if any(key.startswith(f"{group}.") for group in known)}  # one action, many keys
    assert read - groups - known - optional == set()


@pytest.mark.parametrize(
    "typed",
    [
        ["--model.competitors.layer4.*", "4"],
        ["--model.start.model_args.channels", "[8]"],
        ["--trainer.logger.save_dir=x"],
        ["--trainer.callbacks+=EarlyStopping"],
        ["--print_config=skip_null"],
        ["--runs-dir", "x"],
    ],
)
def test_what_the_parser_may_take_is_let_through(typed):
    assert refuse_unknown_keys(typed, {}) is None  # a refusal is an error


def test_a_slip_deep_in_a_group_is_answered():
    with pytest.raises(ArgumentError, match=r"'--model\.annealing\.noise_scale\.untill', did you mean"):
        refuse_unknown_keys(["--model.annealing.noise_scale.untill=1"], {})
