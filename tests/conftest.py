"""What all tests share: one thread, known seeds, the data beside the checkout, a browser."""

import os
import shutil
import sys
from pathlib import Path

# before torch is imported anywhere: several test processes share few cores
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for a hub should fail at once, everywhere

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config):
    """Check shapes; not in the process that only hands tests out, which would import torch before it starts others."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        import shapes

        shapes.check_in("pictures", "competition_layers", "training", "dissect")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    """Seed torch's global generator; tests that never import torch do not pay for it."""
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _runs_without_plots(monkeypatch):
    """A run's plot takes longer than a small run: it is drawn where a fixture of a whole module trains."""
    if table := sys.modules.get("training.callbacks.competition_table"):
        monkeypatch.setattr(table.CompetitionTable, "draw", lambda self: None)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data: `../shared/data` beside the checkout, or where LWTA_SHARED_DATA says."""
    folder = Path(os.environ.get("LWTA_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "README.md").is_file():
        pytest.skip(f"needs the real data: no {folder} (LWTA_SHARED_DATA names another place)")
    return folder


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a headless-capable Chromium."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("needs a browser: no chromium on the PATH (Debian: apt-get install chromium)")
    return found


@pytest.fixture(scope="session")
def firefox() -> str:
    """The path of a Firefox."""
    found = next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
    if found is None:
        pytest.skip("needs a second browser: no firefox on the PATH (Debian: apt-get install firefox-esr)")
    return found
