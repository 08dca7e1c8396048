"""`lwta describe-train`: MILAN taught on painted scenes, from the command to a model that describe reads."""

import pytest

from dissect.milan.backbone import bundled_backbone
from dissect.milan.saving import load_milan
from lwta.commands import describe_train
from lwta.milan_scenes import PHRASES, scene_units


def test_statements_about_scenes_become_units_with_the_features_of_what_they_mean():
    units = scene_units(bundled_backbone(), count=40)
    said = {description for unit in units for description in unit.descriptions}
    assert len(units) >= 10 and "a window" in said
    assert all(unit.features.shape == units[0].features.shape and len(unit.descriptions) <= PHRASES for unit in units)
    assert units[0].features.shape[0] == 15 and units[0].features.isfinite().all()


def test_the_command_ends_with_a_model_of_the_bundled_backbone(tmp_path, capsys):
    arguments = ["milan", f"--out={tmp_path / 'milan'}", "--pictures=40", "--epochs=1", "--hidden=8"]
    assert describe_train.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "nats a description on held-out units" in printed and "lwta describe --describer milan --milan" in printed
    assert load_milan(tmp_path / "milan").backbone == bundled_backbone().identity


def test_half_of_a_choice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="Expected --exemplars and --annotations together, or neither"):
        describe_train.main(["milan", f"--out={tmp_path}", "--exemplars=x"])
    with pytest.raises(ValueError, match="Expected milan, the describer that is taught, but got 'dnd'"):
        describe_train.main(["dnd", f"--out={tmp_path}"])
