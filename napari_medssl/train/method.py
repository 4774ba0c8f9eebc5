"""What a pretraining method is, and the table of all of them."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from napari_medssl.pretext.task import Task
from napari_medssl.registry import Registry
from napari_medssl.train.objective import Objective

Family: TypeAlias = Literal["contrastive", "non-contrastive", "predictive", "generative", "hybrid", "episodes"]


@dataclass(frozen=True)
class Recipe:
    """A method made concrete by its settings.

    task: draws the examples. objective: networks and loss. role: the module's name in the weights file, "encoder" for
    slices, "encoder3d" for volumes. encoder_name: its registry name. facts: what else the model card must say, as
    plain JSON values, such as the weights it starts from.
    """

    task: Task
    objective: Objective
    encoder_name: str
    role: str = "encoder"
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """One way to train.

    name: as on the command line. line: one sentence for the list. source: where it comes from, such as "thesis 5.3,
    Eq. 5.21". dims: 2 for slices, 3 for volumes. settings: frozen dataclass with at least `run: RunSettings`, whose
    defaults are the method's published ones as far as they fit a small machine. small: an instance of it with which a
    step takes well under a second on a laptop (narrow network, small input and batch). build: settings to recipe; the
    caller has seeded torch, so first weights follow the run's seed. labels: whether it needs labelled scans.
    """

    name: str
    line: str
    source: str
    family: Family
    dims: Literal[2, 3]
    settings: type[Any]
    small: Any
    build: Callable[[Any], Recipe]
    labels: bool = False


_methods: Registry[Callable[[], Method]] = Registry("method")


def add_method(method: Method) -> Method:
    """File a method under its name; done once, when its module is imported."""
    _methods.register(method.name)(lambda: method)
    return method


def all_methods() -> dict[str, Method]:
    """Every method by name, in the order of the names."""
    import napari_medssl.train.methods as home

    for module in pkgutil.iter_modules(home.__path__):
        importlib.import_module(f"{home.__name__}.{module.name}")
    return {name: _methods[name]() for name in _methods}


def find_method(name: str) -> Method:
    """The method of this name; raises SettingsError, which lists the known ones, when there is none."""
    return all_methods().get(name) or _methods[name]()
