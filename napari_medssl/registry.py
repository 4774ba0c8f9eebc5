"""A small table from name to factory, so that new parts are added by a decorator and found by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from napari_medssl.errors import SettingsError

F = TypeVar("F", bound=Callable[..., object])


class Registry(Generic[F]):
    """Factories of one kind, by name."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._factories: dict[str, F] = {}

    def register(self, name: str) -> Callable[[F], F]:
        """Decorator that files a factory under `name`; a name can be taken only once."""

        def add(factory: F) -> F:
            if name in self._factories:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._factories[name] = factory
            return factory

        return add

    def __getitem__(self, name: str) -> F:
        try:
            return self._factories[name]
        except KeyError:
            known = ", ".join(sorted(self._factories))
            close = difflib.get_close_matches(name, self._factories, n=1)
            hint = f"did you mean {close[0]!r}? All of them" if close else "choose one of"
            raise SettingsError(f"no {self.kind} is called {name!r}; {hint}: {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._factories))

    def __contains__(self, name: object) -> bool:
        return name in self._factories
