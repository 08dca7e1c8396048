"""Further figures of compared networks as plain tables, the same for a page and a terminal."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..comparing.figures import Alike, Calibration, Comparison, DecisionNames, Names, NetworkFigures, Robustness
from ..numbers import percent

NONE = "\N{EN DASH}"  # in a cell
_AS_IS = {  # no percent; digits
    **{"log-loss": (1, 3), "likeness": (1, 3), "likeness, random weights": (1, 3)},
    **{"enough alone": (1, 1), "change it": (1, 1)},
}


@dataclass(frozen=True)
class Table:
    """Words in rows and columns; the first column names the row. `note` says how the figures were made."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def figure_tables(comparison: Comparison) -> Iterator[Table]:
    """Seeds, calibration, likeness of pictures, robustness: those that were measured."""
    if comparison.seeds:
        yield _seeds(comparison)
    measured = [(network.name, network.calibration) for network in comparison.networks]
    believed = [(name, *_calibration(calibration)) for name, calibration in measured if calibration]
    if believed:
        yield Table(
            "How far its probabilities can be believed",
            (
                "network",
                "log-loss",
                "calibration error",
                "temperature",
                "log-loss, scaled",
                "calibration error, scaled",
            ),
            tuple(believed),
            "Log-loss: mean negative logarithm of the probability of the true class. Calibration error: mean gap of "
            "confidence and accuracy over 15 bins of confidence. Scaled: logits divided by a temperature that was "
            "fitted on the other half of the images; above 1 the network was too sure.",
        )
    layers = [(network.name, names) for network in comparison.networks for names in network.names]
    alike = [(name, names.layer, *_alike(names.alike)) for name, names in layers if names.alike]
    if alike:
        yield Table(
            "How alike the pictures are that a unit answers to",
            ("network", "layer", "median unit", "best unit", "a unit that answers to all"),
            tuple(alike),
            "MS score (Pach et al. 2025): mean cosine of two pictures' embeddings, by the dissection's encoder, "
            "weighted by how strongly the unit answers to both. People who were asked which of two units is of one "
            "meaning agreed with it in 83 % of pairs, with another encoder.",
        )
    decisions = {network.name: network.decision.names for network in comparison.networks if network.decision}
    controls = [
        row for name, names in layers if names.untrained for row in _with_control(name, names, decisions.get(name))
    ]
    if controls:
        yield Table(
            "What names are worth",
            ("network", "layer", "weights", "named", "distinct names", "median unit's likeness",
             "of the deciding units named", "their distinct names", "of the lead by units named after the class"),
            tuple(controls),
            "The same network with random weights, recorded on the same pictures and named by the same similarity, "
            "test and words: units follow colours and edges before they have learnt anything.",
        )  # fmt: skip
    robust = [(network, network.robustness) for network in comparison.networks if network.robustness]
    if robust:
        yield _corrupted(robust)
        yield _attacked(robust)


def _seeds(comparison: Comparison) -> Table:
    columns = dict.fromkeys(name for kind in comparison.seeds for name in kind.figures)
    rows = []
    for kind in comparison.seeds:
        cells = []
        for name in columns:
            mean, half = kind.figures.get(name, (None, None))
            scale, digits = _AS_IS.get(name, (100, 1))
            spread = "" if half is None else f" ± {scale * half:.{digits}f}"
            cells.append(NONE if mean is None else f"{scale * mean:.{digits}f}{spread}")
        rows.append((kind.name, str(kind.seeds), *cells))
    return Table(
        "Over seeds",
        ("network", "seeds", *columns),
        tuple(rows),
        "Means over seeds in percent (likeness as MS score, units in a decision as their number), "
        "with half of the 95 % interval (Student's t).",
    )


def _calibration(calibration: Calibration) -> tuple[str, ...]:
    return (
        f"{calibration.nll:.3f}",
        percent(calibration.error, 1),
        f"{calibration.temperature:.2f}",
        f"{calibration.nll_scaled:.3f}",
        percent(calibration.error_scaled, 1),
    )


def _alike(alike: Alike) -> tuple[str, ...]:
    return tuple(NONE if value is None else f"{value:.3f}" for value in (alike.median, alike.best, alike.chance))


def _with_control(name: str, names: Names, decision: DecisionNames | None) -> Iterator[tuple[str, ...]]:
    """A row for the network as it was trained, and one with random weights."""
    control, alike = names.untrained, names.alike
    assert control is not None
    rows = (
        ("trained", names.outcomes["named"], names.distinct, alike and alike.median, control.decision and decision),
        ("random", control.named, control.distinct, control.alike, control.decision),
    )
    for weights, named, distinct, score, of_decision in rows:
        likeness = NONE if score is None else f"{score:.3f}"
        shares = (NONE,) * 3
        if of_decision is not None:
            shares = (percent(of_decision.named), f"{of_decision.distinct:.1f}", percent(of_decision.tautology))
        yield (name, names.layer, weights, f"{named} of {names.units}", str(distinct), likeness, *shares)


def _corrupted(robust: list[tuple[NetworkFigures, Robustness]]) -> Table:
    rows = [
        (kind, *(f"{percent(one.corrupted[kind][0])} … {percent(one.corrupted[kind][-1])}" for _, one in robust))
        for kind in robust[0][1].corrupted
    ]
    return Table(
        "Right answers on corrupted pictures",
        ("corruption", *(network.name for network, _ in robust)),
        (*rows, ("mean", *(percent(one.mean_corrupted, 1) for _, one in robust))),
        f"{robust[0][1].images} images at the network's input size; the weakest … the strongest of five strengths, and "
        "the mean over all kinds and strengths.",
    )


def _attacked(robust: list[tuple[NetworkFigures, Robustness]]) -> Table:
    attacks = [(network.name, one.attack) for network, one in robust]
    rows = []
    for name, attack in attacks:
        shares = (None, None) if attack is None else (attack.argmax, attack.sample)
        rows.append((name, *(NONE if share is None else percent(share, 1) for share in shares)))
    told = next((attack for _, attack in attacks if attack is not None), None)
    epsilon = 0.0 if told is None else 255 * told.epsilon
    return Table(
        "Right answers under attack",
        ("network", "strongest wins", "winners drawn"),
        tuple(rows),
        f"Each value of each picture moved by at most {epsilon:g} of 255, in ten steps along the gradient (PGD). "
        f"Winners drawn: {told.draws if told else 0} times at every step; gradients and answers are averaged. "
        "One attack of one strength: no proof of robustness.",
    )
