"""The same findings for a terminal."""

from pathlib import Path

from competition_layers.terminal import aligned, plain

from ..comparing.figures import Comparison, Decision
from ..explaining.disagreements import disagreements
from ..explaining.explanation import Explanation
from ..explaining.sentence import further_words, other_layer, sentence_of
from ..explaining.sums import lead_parts, needed
from ..naming.description import OUTCOMES
from ..numbers import duration, percent, signed
from .figure_tables import figure_tables

WHY = 4  # sources that a line names


def explanation_text(explanation: Explanation) -> str:
    """One image: the prediction, what decided in one sentence, a line for each unit, and what they add up to."""
    at, best = explanation.at, explanation.classes[0]
    truth = f" (it shows: {explanation.truth})" if explanation.truth not in ("", best.label) else ""
    ahead = "ahead of" if explanation.lead.total >= 0 else "behind"
    about = "" if explanation.target == best.label else f"; {explanation.target}"
    passed = f"{explanation.passed} of them won where it counts, " if at.competitors > 1 else ""
    head = [
        f"{Path(explanation.image).name}: {best.label} {percent(best.probability)}{truth}{about}, "
        f"{abs(explanation.lead.total):.2f} {ahead} {explanation.runner_up}",
        *(f"  Read with care: {each}." for each in disagreements(explanation)),
        f"  {sentence_of(explanation)}",
        f"  {other_layer(explanation)}",
        f"  {at.layer}: {at.width} units, {passed}{explanation.deciding} make 90 % of the contributions to that lead; "
        f"these {len(explanation.units)} carry {percent(explanation.share)} of it ({at.method})",
    ]
    parts = lead_parts(explanation)
    table = [("unit", "name", "where", "value", "won", "to logit", "to lead", "measured", "without it")]
    table += [
        (
            str(effect.unit),
            effect.name or "unnamed",
            effect.place,
            signed(effect.value),
            "" if effect.win_share is None else percent(effect.win_share),
            signed(effect.to_logit),
            signed(added),
            signed(lost),
            f"{effect.off.label} {percent(effect.off.probability)}",
        )
        for effect, added, lost in zip(explanation.units, parts.units, parts.lost, strict=True)
    ]
    columns = [i for i in range(len(table[0])) if any(row[i] for row in table[1:])]
    rows = [tuple(row[i] for i in columns) for row in table]
    foot = [
        f"  {parts_text(explanation)}",
        *(f"  {said}" for said in further_words(explanation)),
        f"  {needed(explanation)}",
        f"  {checked(explanation)}",
    ]
    foot += why(explanation)
    lines = [
        *map(plain, head),
        *aligned(rows, left=[columns.index(i) for i in (1, 2, 8) if i in columns]),
        *map(plain, foot),
    ]
    return "\n".join(line for line in lines if line.strip())


def parts_text(explanation: Explanation) -> str:
    """What the lead is the sum of."""
    at, parts = explanation.at, lead_parts(explanation)
    said = [("these units", sum(parts.units)), ("the others", parts.others)]
    said.append(("bias" if at.decision else "without this layer", parts.without))
    if not at.exact:
        said.append(("missed by first order", parts.missed))
    return f"lead {signed(parts.total)} = " + ", ".join(f"{what} {signed(value)}" for what, value in said)


def checked(explanation: Explanation) -> str:
    """What the checks found, in a line; "" without them."""
    if explanation.checks is None:
        return ""
    curves = explanation.checks.curves
    areas = f"{percent(curves.deletion_area)} (in random order {percent(curves.random_deletion_area)})"
    areas += f" and on: {percent(curves.insertion_area)} ({percent(curves.random_insertion_area)})"
    return f"mean probability as units are switched off: {areas}"


def why(explanation: Explanation) -> list[str]:
    """What fed the answer, and what fed the strongest of that; nothing without a graph."""
    view = explanation.graph
    if view is None:
        return []

    def line(id: str) -> str:
        node = view.graph[id]
        fed = view.graph.into(id)[:WHY]
        sources = [view.graph[edge.source] for edge in fed]
        names = [f"{view.label(source)}{f' of {source.layer}' if source.layer else ''}" for source in sources]
        parts = ", ".join(f"{name} {signed(edge.effect)}" for name, edge in zip(names, fed, strict=True))
        return f"{view.label(node)} {signed(node.value)}: fed by {parts}"

    strongest = [edge.source for edge in view.graph.into("target") if view.graph[edge.source].kind == "unit"][:WHY]
    said = [f"  why: {line('target')}", *(f"    {line(id)}" for id in strongest)]
    return [
        *said,
        "    (direct effects, exact with winners, norm scales and attention held; attention is not explained)",
    ]


def comparison_text(comparison: Comparison) -> str:
    """One line a network; with dissections one a layer too: how many of its units have a name."""
    rows: list[tuple[str, ...]] = [
        (
            *("network", "U", "accuracy", "argmax", "drawn once", f"mean of {comparison.samples}", "layer", "density"),
            *("eff. density", "untrained", "answer kept (all off)", "training", "ms/image", "MiB", "parameters"),
        )
    ]
    for network in comparison.networks:
        accuracy, sparsity = network.accuracy, network.sparsity
        shares = (accuracy.saved, accuracy.argmax, accuracy.sample, accuracy.samples)
        rows.append(
            (
                network.name,
                str(network.competitors) if network.competitors > 1 else "none",
                *("" if share is None else percent(share, 1) for share in shares),
                sparsity.layer,
                "" if sparsity.density is None else percent(sparsity.density, 1),
                percent(sparsity.effective_density, 1),
                percent(sparsity.untrained, 1),
                f"{percent(sparsity.kept, 1)} ({percent(sparsity.kept_without_any)})",
                "" if network.training_seconds is None else duration(network.training_seconds),
                f"{network.milliseconds:.2f}",
                f"{network.peak_bytes / 2**20:.1f}",
                f"{network.parameters:,}".replace(",", " "),
            )
        )
    lines = aligned(rows, left=(0, 6))
    counts = [(network.name, names) for network in comparison.networks for names in network.names]
    if counts:
        header = ("network", "layer", "units", "named", "unnamed:", *OUTCOMES[1:], "distinct names")
        counted = [
            (
                *(name, names.layer, str(names.units), f"{names.outcomes['named']} ({percent(names.share)})", ""),
                *(str(names.outcomes[why]) for why in OUTCOMES[1:]),
                str(names.distinct),
            )
            for name, names in counts
        ]
        lines += ["", *aligned([header, *counted], left=(0, 1))]
    decisions = [(network.name, network.decision) for network in comparison.networks if network.decision]
    if decisions:
        columns = (
            *("network", "90 % of the lead", "enough alone", "change it", "classes a unit", "won nowhere"),
            *("named", "distinct names", "name is the class"),
        )
        lines += ["", *aligned([columns, *(_decision_row(*each) for each in decisions)], left=(0,))]
    for table in figure_tables(comparison):
        lines += ["", f"  {table.title}", *aligned([table.columns, *table.rows], left=(0,))]
    lines += ["", *(f"  {plain(said)}" for said in comparison.findings)] if comparison.findings else []
    return "\n".join([*lines, *(f"  {plain(remark)}" for remark in comparison.remarks)])


def _decision_row(name: str, decision: Decision) -> tuple[str, ...]:
    names = decision.names
    return (
        name,
        f"{decision.units_for_lead:g} of {decision.units}",
        f"{decision.sufficient:g}",
        f"{decision.necessary:g}",
        f"{decision.classes_served:.1f}",
        percent(decision.dead, 1),
        *(("", "", "") if names is None else (percent(names.named), f"{names.distinct:.1f}", percent(names.tautology))),
    )
