"""What the rules say of a configuration before it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from napari_medssl.errors import SettingsError
from napari_medssl.guidance.contrastive import BIG_BATCH, HIGHEST_MIO, LOW, LOWEST_MIO_V3
from napari_medssl.guidance.methods import METHODS, is_kind
from napari_medssl.guidance.pretext import NEAR, ROTATION_EDGE
from napari_medssl.guidance.rules import RULES

Level: TypeAlias = Literal["refuse", "warn", "note"]

_MASKED = (0.6, 0.8)
_ORDERS = 1000
_KEPT = 0.6
"""Share of a turned, shifted slice that shows nothing from beyond it: cos(15 deg) and two tenths of the side (ours)."""
_CONTENT = 0.5
"""At least this share of crops should show something (ours)."""
_WAY_BACK = 0.95
_SMALL_CROPS = ("thesis-4", "simclr")
_EMBEDDING = 512
"""Below it Barlow Twins' embedding counts as small (ours; T 901 only says that it must be large)."""


@dataclass(frozen=True)
class Facts:
    """What is known of the data and of the use of the weights; everything may stay unknown.

    smallest: (Z, Y, X) voxels of the smallest scan, as the method gets it. content: share of crops or slices that show
    more than background, 0 to 1, or -1. small_objects: whether what matters is small. finetune_shape: input of the
    target task in voxels. batch_norm: whether the network has it (None: as the settings say). transferred: what is
    taken over from the U-Net. mode: how it is fine-tuned. statistics: of batch normalisation, at inference.
    """

    smallest: tuple[int, ...] = ()
    content: float = -1.0
    small_objects: bool = False
    finetune_shape: tuple[int, ...] = ()
    domain_gap: Literal["unknown", "none", "small", "large"] = "unknown"
    batch_norm: bool | None = None
    transferred: Literal["unknown", "encoder", "decoder", "both"] = "unknown"
    mode: Literal["unknown", "frozen", "warm-up", "full"] = "unknown"
    statistics: Literal["unknown", "kept", "anew"] = "unknown"


@dataclass(frozen=True)
class Finding:
    """What a rule says of the configuration. refuse: do not run it so; warn: likely a mistake; note: worth knowing."""

    rule: str
    level: Level
    text: str

    def __str__(self) -> str:
        sources = ", ".join(str(source) for source in RULES[self.rule].sources)
        return f"{self.text} ({self.rule}; {sources})"


class _Settings:
    """Nested settings, asked by the last part of a name; the outermost one answers."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._flat: dict[str, Any] = {}
        groups: list[Mapping[str, Any]] = [values]
        while groups:
            group = groups.pop(0)
            for name, value in group.items():
                if isinstance(value, Mapping):
                    groups.append(value)
                else:
                    self._flat.setdefault(name, value)

    def number(self, name: str) -> float | None:
        """A setting that is there and a number, or None."""
        value = self._flat.get(name)
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def get(self, name: str) -> Any:
        """A setting of any type, or None."""
        return self._flat.get(name)

    @property
    def crop(self) -> tuple[int, ...]:
        """(Z, Y, X) of a crop, (Y, X) of a slice, or () when neither is set."""
        edges = [self.number(f"crop_{axis}") for axis in "zyx"]
        if all(edge is not None for edge in edges):
            return tuple(int(edge) for edge in edges if edge is not None)
        size = self.number("size")
        return () if size is None else (int(size), int(size))


Check: TypeAlias = Callable[[str, _Settings, Facts], Iterator[Finding]]


def lint(method: str, settings: Mapping[str, Any], facts: Facts | None = None) -> tuple[Finding, ...]:
    """Findings on a method's settings, gravest first.

    settings: the (nested) dictionary of its settings, as `to_dict` gives it; what is not in it is not judged.
    A method the rules do not know is judged by what holds for all.
    """
    given, known = _Settings(settings), facts or Facts()
    found = [finding for check in CHECKS for finding in check(method, given, known)]
    order = {"refuse": 0, "warn": 1, "note": 2}
    return tuple(sorted(found, key=lambda finding: order[finding.level]))


def advise(method: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences for whoever starts a run with these settings; raises SettingsError when a rule rules them out."""
    found = lint(method, settings)
    refused = next((finding for finding in found if finding.level == "refuse"), None)
    if refused is not None:
        raise SettingsError(str(refused))
    return tuple(str(finding) for finding in found if finding.level == "warn")


def _is(method: str, *tokens: str) -> bool:
    return method in METHODS and is_kind(method, *tokens)


def _temperature(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    tau = settings.number("temperature")
    if tau is None or not _is(method, "mio"):
        return
    if method == "mio-v3" and tau < LOWEST_MIO_V3:
        yield Finding("R-63", "refuse", f"temperature {tau:g} makes MIOv3 collapse; use 0.2, and never less than 0.1")
    if method == "mio-v2" and tau >= HIGHEST_MIO:
        yield Finding("R-64", "warn", f"temperature {tau:g} is high for MIOv2, which then collapses; use 0.07 to 0.1")
    if method == "mio-v1" and tau <= LOW:
        yield Finding("R-65", "warn", f"temperature {tau:g} is low for MIOv1; it is better at 0.2 to 0.5")
    if tau > HIGHEST_MIO:
        yield Finding("R-66", "warn", f"temperature {tau:g} was never tried; results mostly fall from 0.5 on")


def _range_of_temperatures(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    low, high = settings.number("lowest"), settings.number("highest")
    if not _is(method, "dystress") or low is None or high is None:
        return
    if high >= HIGHEST_MIO or high <= LOW:
        yield Finding("R-70", "warn", f"temperatures {low:g} to {high:g} hurt DySTreSS; use 0.1 to 0.2")


def _rotation_edge(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    edge = max(settings.crop, default=ROTATION_EDGE)
    if _is(method, "rotation") and edge < ROTATION_EDGE:
        yield Finding("R-43", "warn", f"an input of {edge} voxels is too small to learn from turns; use 64 or more")


def _input_size(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    ours, theirs = settings.crop, facts.finetune_shape
    if not ours or len(ours) != len(theirs):
        return
    ratio = max(max(a, b) / min(a, b) for a, b in zip(ours, theirs, strict=True))
    if ratio > NEAR:
        shapes = f"{' x '.join(map(str, ours))} and {' x '.join(map(str, theirs))}"
        how = "it matters much for rotation" if _is(method, "rotation") else "keep them close"
        text = f"inputs of pretraining and fine-tuning differ {ratio:.1f}-fold on an axis ({shapes}); {how}"
        yield Finding("R-42", "note" if _is(method, "rpl") else "warn", text)


def _skips(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    skip = settings.get("skip")
    if skip is True and _is(method, "autoencoder", "genesis"):
        yield Finding("R-44", "warn", "an easy reconstruction learns better without skip connections; set skip=false")
    if skip is False and _is(method, "pcrl"):
        yield Finding("R-45", "warn", "PCRL is hard enough to need its skip connections; set skip=true")


def _parts(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    if facts.transferred == "decoder":
        yield Finding("R-55", "refuse", "a decoder is never transferred alone; take the encoder over, or both")
    if facts.mode == "frozen" and method in METHODS:
        yield Finding(
            "R-27", "warn", "a frozen small encoder is no final model; fine-tune all with a small learning rate"
        )


def _batch_norm(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    has = settings.get("norm") == "batch" if facts.batch_norm is None else facts.batch_norm
    if not has or facts.statistics == "anew":
        return
    if facts.domain_gap == "large":
        yield Finding(
            "R-56", "warn", "batch statistics are of other data; collect them anew on the target's training data"
        )
    elif facts.domain_gap == "unknown" and facts.statistics == "kept":
        yield Finding("R-57", "note", "collecting batch statistics anew is safe when the distance is not known")


def _batch(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    batch = settings.number("batch")
    if batch is None:
        return
    if _is(method, "simclr") and batch < BIG_BATCH:
        text = f"a batch of {batch:g} is small for SimCLR; DCL, MIO, MoCo and Barlow Twins need less"
        yield Finding("R-74", "note", text)
    if _is(method, "mio") and not 64 <= batch <= 512:
        yield Finding("R-75", "note", f"MIO was tried with batches of 64 to 512, not of {batch:g}")


def _overlap(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    overlap = settings.number("min_iou")
    if overlap is not None and overlap <= 0 and _is(method, "3D"):
        yield Finding("R-35", "warn", "the two crops of a volume must overlap; set min_iou above 0, such as 0.25")


def _masking(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    share = settings.number("ratio")
    if share is not None and _is(method, "mae") and not _MASKED[0] <= share <= _MASKED[1]:
        yield Finding("R-37", "warn", f"{share:.0%} of the image is masked; 60 to 80 % is advised, 75 % the default")


def _jigsaw(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    if not _is(method, "jigsaw", "rubik", "rubik-plus", "rpl"):
        return
    if settings.number("gap") == 0 and not settings.number("jitter"):
        yield Finding("R-29", "warn", "without a gap tiles are matched by their edges; leave a few voxels between them")
    orders = settings.number("classes")
    if orders is not None and orders < _ORDERS and _is(method, "2D"):
        yield Finding("R-30", "note", f"{orders:g} arrangements; 1000 gave better target results than 500")
    tiles = settings.number("n")
    if tiles is not None and tiles > 3:
        yield Finding("R-31", "note", f"{tiles:g} tiles per side: arrangements can only be drawn, not searched")


def _borders(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    if not _is(method, "geometric", "=rotation"):
        return
    keep = settings.number("keep")
    if settings.get("fill") == "zeros" or (keep is not None and keep > _KEPT and method == "geometric"):
        text = "borders and voids betray the transform; fill=mirrored and keep up to 0.6 hide them"
        yield Finding("R-28", "warn", text)


def _content(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    if 0 <= facts.content < _CONTENT:
        text = f"only {facts.content:.0%} of the crops show more than background; cut closer or drop empty scans"
        yield Finding("R-32", "warn", text)
    crop = settings.crop
    if len(crop) == len(facts.smallest) and any(c > s for c, s in zip(crop, facts.smallest, strict=True)):
        shapes = f"{' x '.join(map(str, crop))} from a scan of {' x '.join(map(str, facts.smallest))}"
        yield Finding("R-32", "note", f"crops are larger than the smallest scan and will be padded ({shapes})")


def _lesions(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    if facts.small_objects and settings.get("views") in _SMALL_CROPS:
        text = f"the views {settings.get('views')!r} crop and blur so strongly that lesions vanish; use medical"
        yield Finding("R-36", "warn", text)


def _embedding(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    width = settings.number("width")
    if width is not None and width < _EMBEDDING and _is(method, "barlow"):
        yield Finding("R-76", "note", f"an embedding of {width:g} is small for Barlow Twins")


def _episodes(method: str, settings: _Settings, facts: Facts) -> Iterator[Finding]:
    if method != "cowpro":
        return
    background, organ = settings.number("background_weight"), settings.number("foreground_weight")
    if background is not None and organ is not None and background >= organ:
        yield Finding("R-87", "warn", f"background weighs {background:g}, the organ {organ:g}; 0.05 and 1 are advised")
    threshold = settings.number("cyclic_threshold")
    if threshold is not None and threshold < _WAY_BACK and settings.get("cyclic") != "off":
        yield Finding("R-86", "warn", f"a threshold of {threshold:g} on the way back costs about 2 Dice; use 0.95")
    share, window = settings.number("top_percent"), settings.number("window")
    if share is not None and share < 100 and window == 2:
        yield Finding("R-83", "warn", f"{share:g} % of the prototypes lose Dice with windows of 2; keep all of them")


CHECKS: tuple[Check, ...] = (
    _temperature,
    _range_of_temperatures,
    _rotation_edge,
    _input_size,
    _skips,
    _parts,
    _batch_norm,
    _batch,
    _overlap,
    _masking,
    _jigsaw,
    _borders,
    _content,
    _lesions,
    _embedding,
    _episodes,
)
"""Each looks at one thing."""
