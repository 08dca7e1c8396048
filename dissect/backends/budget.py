"""How many more questions may be put to models in a run: what is remembered costs none."""

from dataclasses import dataclass, field
from threading import Lock


class CallsSpentError(RuntimeError):
    """All calls that were allowed are used up; what was answered is kept, so that the same command goes on."""


@dataclass
class CallBudget:
    """At most so many calls (None: as many as it takes), counted over all models and threads."""

    most: int | None = None
    spent: int = field(default=0, init=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def grant(self, wanted: int) -> int:
        """Take as many calls as are left, at most `wanted`.

        Raises:
            CallsSpentError: none is left.
        """
        with self._lock:
            granted = wanted if self.most is None else min(wanted, self.most - self.spent)
            if wanted and not granted:
                raise CallsSpentError(f"Expected at most {self.most} calls of models and they are used up")
            self.spent += granted
            return granted
