"""A command that fails before it wrote anything leaves nothing behind."""

from contextlib import ExitStack

import pytest

from dissect.folder.claim import claimed, locked
from dissect.folder.layout import Layout


def fail(*_):
    raise ValueError("refused")


def test_a_failure_before_anything_is_written_leaves_no_folder(tmp_path):
    with pytest.raises(ValueError, match="refused"), claimed(tmp_path / "a" / "b", "model"):
        fail()
    assert not (tmp_path / "a").exists()


def test_what_was_written_or_was_there_stays(tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="refused"), claimed(tmp_path / "there", "model"):
        fail()
    with pytest.raises(ValueError, match="refused"), claimed(tmp_path / "new", "model") as layout:
        fail(layout.invalidate("model"))
    assert (tmp_path / "there").is_dir() and (tmp_path / "new" / "unfinished.json").is_file()


def test_a_failure_leaves_the_folder_to_who_is_at_work_there(tmp_path):
    layout = Layout(tmp_path / "new")
    with ExitStack() as other:
        with pytest.raises(ValueError, match="refused"), claimed(layout.folder, "model", share=(1, 2)):
            fail(other.enter_context(locked(layout, share=(0, 2))))
        assert layout.lock((0, 2)).exists()
