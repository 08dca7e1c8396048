"""Globs, nearest names, and folders that are whole or absent."""

import pytest

from competition_layers.files import write_file, write_folder
from competition_layers.names import match_names, nearest


def test_globs_keep_the_order_of_the_known_names():
    assert match_names(["b*", "a"], ["a", "b1", "b0"], what="layer") == ["a", "b1", "b0"]


def test_a_pattern_that_matches_nothing_offers_the_nearest():
    with pytest.raises(
        ValueError, match=r"known layer but got 'blokcs.0', did you mean 'blocks.0'\? \(known: blocks.0\)"
    ):
        match_names("blokcs.0", ["blocks.0"], what="layer")
    assert nearest("zzz", ["abc"]) == ""


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_an_interrupted_write_leaves_the_old_one_whole(tmp_path, write):
    target = tmp_path / "target"
    for text in ("old", "new"):
        try:
            with write(target) as temporary:
                (temporary if write is write_file else temporary / "x").write_text(text)
                if text == "new":
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert (target if write is write_file else target / "x").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["target"]
