"""competition.csv and competition.svg: how the units of each layer compete, epoch by epoch."""

import time
from pathlib import Path

from lightning import Callback, LightningModule, Trainer

from competition_layers.files import write_file

from ..evaluation import SiteReading
from ..tables import add_epoch, read_metrics

_SHARE = 0.02  # of a run's time, at most, that drawing may take while it trains


class CompetitionTable(Callback):
    """One row an epoch and layer; nothing in an epoch without validation or competitions. The plot of all rows is drawn
    at the end, and before that as often as costs little.
    """

    def __init__(self, run: Path):
        self.run = run
        self.seconds, self.drawn = 1.0, time.perf_counter()  # what the latest drawing took, and when it was

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        pl_module.site_readings = []  # an epoch may end without validation

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        sites = pl_module.site_readings
        if not trainer.is_global_zero or not sites:
            return
        add_epoch(self.run / "competition.csv", trainer.current_epoch, [_row(site) for site in sites])
        if self.seconds < _SHARE * (time.perf_counter() - self.drawn):
            self.draw()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self.draw()

    def draw(self) -> None:
        """Draw the rows of the table, where there are any."""
        rows = read_metrics(self.run / "competition.csv")
        if not rows:
            return
        from .competition_plot import write_competition_plot  # matplotlib, only once there is something to draw

        started = time.perf_counter()
        with write_file(self.run / "competition.svg") as temporary:
            write_competition_plot(temporary, rows, title=self.run.resolve().name)
        self.drawn = time.perf_counter()
        self.seconds = self.drawn - started


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
