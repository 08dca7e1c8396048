"""What each word of a page means, shown where it stands: on pointing, by keyboard, on a tap, to screen readers."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from markupsafe import Markup

TERMS: Mapping[str, str] = {
    # a picture
    "lead": "By how much the score (logit) of the explained class is above that of the class behind it.",
    "renamed": "A person gave the unit this name (lwta edit), in the place of the one that was found, or of none.",
    "value": "What the unit passed on, with its sign: the mean over the places where it did.",
    "score": "What it added to the score (logit) of the explained class alone; the bar shows by how much it lifted "
    "that class over the one behind it.",
    "won": "Share of all places of the picture where it was the largest of its group.",
    "beat": "The units of its group that came second where it won, and how often.",
    "agrees": "How well the name predicts the unit on pictures that did not choose it: correlation, 1 is perfect and 0 "
    "chance, with its 95 % interval.",
    "less like it": "The next best words, and by how much each fits the unit less than its name does, on the pictures "
    "that chose the name and by the measure that chose it.",
    "with the whole layer off": "What the network gives when this layer says nothing: what it adds to every picture "
    "alike (biases), and what passes beside the layer.",
    "vote": "What a winner adds to the score (logit) of each class: its value times a weight of the class.",
    "fixed part": "What each class gets whatever the picture shows (the bias).",
    "estimate": "What the unit adds to the lead by its slope there: exact if the network were linear behind it.",
    "measured": "What the lead really lost when the unit was switched off and the network ran again.",
    "active at": "Share of all places of the picture at which it passed anything on.",
    "adds": "What the source adds directly, everything else held as it fell: exact.",
    "adds by all paths": "What it adds to the answer directly and through all units, everything held as it fell.",
    "if off": "What is lost when the source is switched off and the network runs again, nothing held; a patch that is "
    "off has the mean colour.",
    # its checks
    "mean probability": "Of the explained class, over all steps from no unit to all that passed anything on.",
    "strongest first": "Units in the order of what they added to the lead.",
    "in random order": "The same with units in random order: what the order of the explanation must beat.",
    "wins again": "Where it won on this picture, it wins again in so many of the runs.",
    "drawn anew": "Winners drawn at random once more, by their probabilities.",
    "a little noise": "Eight pictures with noise of a twentieth of the picture's own spread.",
    "shifts": "The picture moved by a 56th of its side, in eight directions.",
    # classes
    "adds to the lead": "By how much it lifts the class over the one behind it: the mean over the pictures called so.",
    "speaks in": "Pictures in which it adds a tenth of the lead or more.",
    "ahead by": "The score of the class that is said, less that of the right one.",
    "mostly by": "The unit that added most to this, and how much.",
    "without that unit": "What the network says when it runs again with that unit off.",
    # units
    "agreement r": "Correlation of the word with the unit on pictures that did not choose it: 1 is perfect, 0 is "
    "chance; the bar is its 95 % interval.",
    "at random weights": "19 of 20 units of the same network with random weights agree less than this with their best "
    "word; the thin mark on the bar.",
    "meanings": "Words whose scores together follow the unit best, each with its weight in that sum (lwta describe "
    "--describer lwta).",
    "other words": "The next best words, by the pictures that chose the name; the best first.",
    "best words": "The words that fit best on the pictures that choose, the best first; none was good enough.",
    "votes": "What one unit of its value adds to the score of a class.",
    "without it": "The classes that lose most when it is switched off: share of their pictures answered right before, "
    "and after.",
    "competes with": "Units of its group: at each place one of them wins, the others are silent.",
    "wins": "Share of all places of all pictures where it was the largest of its group.",
    "alike": "How alike are the pictures it answers to, as the encoder sees them (the MS score); 1: all the same.",
    "values": "How many pictures it gave which value; where units compete, of those it won.",
    # networks
    "Competitors": "Units in a group, of which one wins; none: nothing competes.",
    "Accuracy": "Share of pictures whose class is found, with winners picked as the network was saved.",
    "Strongest wins": "Accuracy when the strongest unit of each group always wins.",
    "Winners drawn once": "Accuracy when winners are drawn at random, by their probabilities, once a picture.",
    "Winners drawn, averaged": "Accuracy of scores that are averaged over winners drawn at random several times.",
    "Layer": "Where units were counted, and how their contributions were found.",
    "Active units": "Share of the layer's units that pass anything on.",
    "Units": "How many the layer has.",
    "Units for 90 % of the lead": "Smallest share of units whose contributions make 90 % of all that moved the lead.",
    "The same, untrained": "The same figure of the network with random weights: what it has by construction.",
    "Answer kept by them": "How often the answer stays when every other unit is switched off.",
    "Training": "How long the training took.",
    "A picture": "Time for one picture in a batch, the networks in turns.",
    "Memory": "The most that the tensors of one batch of pictures held at once, the weights aside.",
    "Parameters": "Numbers that were trained.",
    # decisions
    "Enough by themselves": "So many units, the strongest first, give the same answer without all others.",
    "Switched off, change it": "So many units, the strongest first, change the answer when they are switched off.",
    "Classes a unit speaks for": "1 would be a detector of one class.",
    "Units that won nowhere": "Share of units that won on none of the pictures.",
    "Of the deciding units named": "Of the units that make 90 % of the lead, how many have a name.",
    "Distinct names": "How many different names there are.",
    "Of the lead by units named after the class": "These decide, and explain nothing: “a goldfish, because goldfish”.",
    # probabilities
    "Log-loss": "Mean negative logarithm of the probability of the true class: 0 is perfect, guessing among n classes "
    "the logarithm of n.",
    "Calibration error": "How far confidence is from accuracy: the mean gap over 15 bins of confidence.",
    "Temperature": "What the scores are divided by, fitted on the other half of the pictures; above 1 the network was "
    "too sure.",
    "Log-loss, scaled": "The same with scores divided by the temperature.",
    "Calibration error, scaled": "The same with scores divided by the temperature.",
    "The same, scaled": "Calibration error with scores divided by the temperature.",
    # robustness, seeds
    "Corruption": "How the pictures were spoiled, from the weakest to the strongest of five strengths.",
    "Winners drawn": "Attacked and answered with winners drawn at random, many times, and averaged.",
    "Seeds": "How many networks of this kind were trained, from different beginnings.",
    "Accuracy, corrupted": "The mean over all corruptions and strengths.",
    "Accuracy, attacked": "On pictures changed on purpose, by at most a few levels of 255.",
    "Enough alone": "So many units, the strongest first, give the same answer without all others.",
    "Change it": "So many units, the strongest first, change the answer when they are switched off.",
    "Named, random weights": "The same of these networks with random weights.",
    "Likeness, random weights": "The same of these networks with random weights.",
    "Likeness": "How alike the pictures are that a unit answers to (the MS score), of the median unit.",
    # names
    "Median unit": "The MS score that half of the units exceed; 1 is a unit whose pictures are all the same.",
    "Best unit": "The highest MS score.",
    "A unit that answers to all": "The MS score of a unit that answers to every picture alike: chance.",
    "Median unit's likeness": "How alike the pictures are that the median unit answers to (the MS score).",
    "Weights": "As trained, or drawn at random: what pictures and architecture give by themselves.",
    "Their distinct names": "How many different names the deciding units of a picture have.",
    "Named": "Units whose name predicts them on pictures that did not choose it.",
    "named": "Have a name.",
    "weak": "Their best word predicts them, but less closely than was asked for.",
    "chance": "Their best word predicts them no better than chance.",
    "rival": "Another word predicts them better than the one that was chosen.",
    "too few images": "They speak on too few pictures to tell.",
}

UNNAMED_WORDS = {
    "weak": "too weak",
    "chance": "no better than chance",
    "rival": "another word fits",
    "too few images": "too few pictures",
}


@dataclass(frozen=True)
class Glossary:
    """The words that one page uses, in their order: each a button where it stands, all explained once at its end."""

    used: dict[str, tuple[str, str]] = field(default_factory=dict)  # the element that explains each, what it is called

    def term(self, word: str, shown: str = "") -> Markup:
        """`word` (or `shown` in its place), which says what it means; as it is where nothing is known of it."""
        if word not in TERMS:
            return Markup.escape(shown or word)
        place, _ = self.used.setdefault(word, (f"word-{len(self.used) + 1}", shown or word))
        button = '<button type="button" class="term" aria-describedby="{}">{}</button>'
        return Markup(button).format(place, shown or word)

    def places(self, *words: str) -> dict[str, str]:
        """The elements that explain `words`, for a script that makes their buttons."""
        for word in words:
            self.term(word)
        return {word: self.used[word][0] for word in words}

    @property
    def entries(self) -> list[tuple[str, str, str]]:
        """Of each word so far its place, what the page calls it, and what it means."""
        return [(place, shown, TERMS[word]) for word, (place, shown) in self.used.items()]
