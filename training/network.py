"""Which network a classifier trains: a backbone, where in it units compete and how, and what it starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from competition_layers import DecisionLayer, create_model
from competition_layers.backbones import check_name
from competition_layers.competition import Competition
from competition_layers.names import nearest
from competition_layers.origins import is_function
from competition_layers.spec import with_labels
from competition_layers.wiring.sites import in_words

from .initial import find_weights, load_initial_weights, scale_initial_weights
from .options import Start
from .quiet import print_once

Globs = str | list[str] | None


@dataclass(frozen=True)
class Network:
    """What `create_model` needs to know, and what happens to the weights before the first step."""

    backbone: str
    competitors: int | Mapping[str, int]
    image_size: int | None
    include: Globs
    exclude: Globs
    competition: Competition
    start: Start
    decision: DecisionLayer | None = None

    def check(self) -> None:
        """Refuse what can be told before the pictures are opened; a function is called once.

        Raises:
            ValueError: see `check_name`. FileNotFoundError: no such weights.
        """
        check_name(self.backbone, image_size=self.image_size, **self.start.model_args)
        if self.start.weights:
            find_weights(self.start.weights)

    def build(self, label_names: Sequence[str], num_classes: int) -> nn.Module:
        """The network, at its start.

        Raises:
            ValueError: a size, a site, a width or a further argument that the backbone cannot have.
        """
        try:
            model = create_model(
                self.backbone,
                competitors=self.competitors,
                pretrained=self.start.pretrained,
                num_classes=num_classes or None,
                image_size=self.image_size,
                include=self.include,
                exclude=self.exclude or (),
                competition=self.competition,
                decision=self.decision,
                **self.start.model_args,
            )
        except TypeError as error:
            if is_function(self.backbone):
                raise  # whose arguments were looked at
            raise ValueError(
                f"Expected start.model_args that {self.backbone!r} takes but got {self.start.model_args}: {error}"
            ) from error
        self._check_excluded(model)
        if model.lwta.left_out and self.competitors != 1:
            do = "compete" if self.competition.activation == "competition" else f"are {self.competition.activation}"
            print_once(f"{len(model.lwta.sites)} activations {do}; left out: {in_words(model.lwta.left_out)}")
        if label_names:
            with_labels(model, label_names)
        if self.start.weights:
            load_initial_weights(model, self.start.weights)
        if self.start.gain != 1:
            scale_initial_weights(model, self.start.gain)
        return model

    def _check_excluded(self, model: nn.Module) -> None:
        """A glob of a recipe may fit nothing in another backbone; a plain name that fits nothing is a slip."""
        names = [*(site.name for site in model.lwta.sites), *model.lwta.left_out]
        for glob in [self.exclude] if isinstance(self.exclude, str) else self.exclude or ():
            if not any(fnmatchcase(name, glob) for name in names) and not set(glob) & set("*?["):
                raise ValueError(
                    f"Expected exclude to name an activation of {self.backbone!r} but got {glob!r}"
                    f"{nearest(glob, names)}"
                )
