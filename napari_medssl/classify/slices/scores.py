"""What a head says of the slices of a scan."""

from __future__ import annotations

from dataclasses import dataclass

from napari_medssl.classify.slices.marks import FloatArray


@dataclass(frozen=True, eq=False)
class SliceScores:
    """Probability of every class on every slice.

    classes: names of the C columns. probability: (Z, C) in [0, 1]. spread: (Z, C), how far the members of the ensemble
    are apart (standard deviation of their probabilities): large where other marks would have taught something else.
    exam: (C,) probability that the scan as a whole shows the class. attention: (Z, C) shares with which the slices
    enter into `exam`, summing to 1, from heads that weigh them; None from others.
    """

    classes: tuple[str, ...]
    probability: FloatArray
    spread: FloatArray
    exam: FloatArray
    attention: FloatArray | None = None

    def of(self, name: str) -> tuple[FloatArray, FloatArray]:
        """(Z,) probability and spread of one class. Raises KeyError when the head does not know it."""
        if name not in self.classes:
            raise KeyError(f"no class is called {name!r}; there are: {', '.join(self.classes)}")
        column = self.classes.index(name)
        return self.probability[:, column], self.spread[:, column]
