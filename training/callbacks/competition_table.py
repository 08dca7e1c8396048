"""competition.csv and competition.svg: how the units of each layer compete, epoch by epoch."""

from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from competition_layers.files import write_file

from ..evaluation import SiteReading
from .competition_plot import competition_svg
from .metrics_table import add_epoch


class CompetitionTable(Callback):
    """One row an epoch and layer, and the plot of all rows; nothing in an epoch without validation or competitions."""

    def __init__(self, run: Path):
        self.run = run

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.site_readings = []  # an epoch may end without validation

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sites = pl_module.site_readings
        if not trainer.is_global_zero or not sites:
            return
        rows = add_epoch(self.run / "competition.csv", trainer.current_epoch, [_row(site) for site in sites])
        with write_file(self.run / "competition.svg") as temporary:
            temporary.write_text(competition_svg(rows, title=self.run.resolve().name), encoding="utf-8")


def _row(site: SiteReading) -> dict[str, str]:
    return {
        "layer": site.site,
        "competitors": str(site.competitors),
        "density": f"{site.density:.6g}",
        "dead_units": f"{site.dead_units:.6g}",
        "winner_entropy": f"{site.winner_entropy:.6g}",
        # by unit, 0 only where it never won
        "win_rates": " ".join(f"{rate:.3g}" for rate in site.win_rate.tolist()),
    }
