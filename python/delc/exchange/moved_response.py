"""Local response normalisation and normalisation to length 1, of the operators that exporters write them as.

x / (k + alpha · mean of the neighbours' squares)^beta, and x / max(‖x‖, eps): each step is a base of its own kind, seen
through whatever views; the division at the end is the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.axes import Look, atoms, whole
from delc.exchange.moved import Base, Given, View


@dataclass(eq=False)
class Squares(Base):
    """X², where it has been padded also with zeros before and after the channels."""

    source: Given
    before: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        channels, *rest = self.source.shape
        self.shape = (channels + self.before + self.after, *rest)

    def give(self, assembly: Assembly) -> str:
        name = f"{self.source.value}, squared"
        if not assembly.is_computed(name):
            reads = [self.source.give(assembly)] * 2
            assembly.add(name, "multiply", reads)
        if self.before or self.after:
            refuse("squares that are padded and not averaged over channels")
        return name


@dataclass(eq=False)
class Energy(Base):
    """(k + alpha · mean of ``size`` squares)^beta."""

    source: Given
    size: int
    alpha: float = 1.0
    k: float = 0.0
    beta: float | None = None

    def __post_init__(self) -> None:
        self.shape = self.source.shape

    def give(self, assembly: Assembly) -> str:
        refuse("a mean of squares over channels that nothing is divided by")


@dataclass(eq=False)
class Norm(Base):
    """‖x‖ over one dimension, of size 1 then, or max(‖x‖, eps)."""

    source: Given
    p: float
    dim: int
    eps: float | None = None

    def __post_init__(self) -> None:
        self.shape = tuple(1 if at == self.dim else size for at, size in enumerate(self.source.shape, start=1))

    def give(self, assembly: Assembly) -> str:
        refuse("a norm that nothing is divided by")


def squared(view: View) -> View | None:
    """The squares of a value."""
    if not isinstance(view.base, Given) or not view.shows_all or len(view.base.shape) < 2:
        return None
    base = Squares(view.base)
    return View(base, whole(base.shape))


def padded(view: View, before: Sequence[int], after: Sequence[int]) -> View | None:
    """Squares with zeros around the channels. ``before``, ``after``: for each dimension, rows too."""
    base = view.base
    at = _channels(view)
    others = [*before[: at or 0], *before[(at or 0) + 1 :], *after[: at or 0], *after[(at or 0) + 1 :]]
    if not isinstance(base, Squares) or at is None or any(others) or base.before or base.after:
        return None
    more = replace(base, before=before[at], after=after[at])
    dims = (*view.look.dims[:at], atoms(1, 1, more.shape[0]), *view.look.dims[at + 1 :])
    return View(more, Look(dims))


def averaged(view: View, kernel: Sequence[int], strides: Sequence[int], pads: tuple[Sequence[int], Sequence[int]],
             counts_padding: bool) -> View | None:  # fmt: skip
    """The mean over channels of squares. The three are of the dimensions behind the first two."""
    before, after = ([0, 0, *each] for each in pads)
    found = padded(view, before, after) if any(before) or any(after) else view
    if found is None or not isinstance(found.base, Squares) or (found is not view and not counts_padding):
        return None
    at, base = _channels(found), found.base
    if at is None or at < 2 or len(kernel) != len(found.look.dims) - 2 or any(step != 1 for step in strides):
        return None
    size = kernel[at - 2]
    if any(other != 1 for place, other in enumerate(kernel, start=2) if place != at):
        return None
    if (base.before, base.after) != (size // 2, (size - 1) // 2):
        return None
    energy = Energy(base.source, size)
    return View(energy, Look((*found.look.dims[:at], atoms(1, 1, energy.shape[0]), *found.look.dims[at + 1 :])))


def _channels(view: View) -> int | None:
    """Which dimension is the channels, where it is they alone and all of them."""
    wanted = atoms(1, 1, view.base.shape[0]) if view.base.shape else ()
    places = [place for place, dim in enumerate(view.look.dims) if dim == wanted]
    return places[0] if len(places) == 1 and wanted and not view.look.offsets else None


def times(view: View, factor: float) -> View | None:
    """The energy times alpha."""
    base = view.base
    if not isinstance(base, Energy) or base.k or base.beta is not None:
        return None
    return replace(view, base=replace(base, alpha=base.alpha * factor))


def plus(view: View, number: float) -> View | None:
    """The energy and k."""
    base = view.base
    if not isinstance(base, Energy) or base.k or base.beta is not None:
        return None
    return replace(view, base=replace(base, k=number))


def power(view: View, exponent: float) -> View | None:
    """The energy to the power beta, or the squares of a value."""
    base = view.base
    if isinstance(base, Energy) and base.beta is None:
        return replace(view, base=replace(base, beta=exponent))
    return squared(view) if exponent == 2 else None


def norm(view: View, p: float, dims: Sequence[int]) -> View | None:
    """The norm over one dimension, which stays."""
    if not isinstance(view.base, Given) or not view.shows_all or len(dims) != 1:
        return None
    dim = dims[0] % len(view.look.dims)
    if dim == 0:
        return None
    base = Norm(view.base, p, dim)
    return View(base, whole(base.shape))


def at_least(view: View, number: float) -> View | None:
    """The norm, or a number where that is greater."""
    if not isinstance(view.base, Norm) or view.base.eps is not None or not view.shows_all:
        return None
    base = replace(view.base, eps=number)
    return View(base, whole(base.shape))


def divided(assembly: Assembly, output: str, value: str, by: View) -> bool:
    """Adds the layer that a division of a value is, and says if it is one."""
    base = by.base
    if not isinstance(base, Energy | Norm) or not by.shows_all:
        return False
    if assembly.source(value) != assembly.source(base.source.value):
        return False
    if isinstance(base, Norm):
        if base.eps is None:
            return False
        assembly.add(output, "normalize", [value], {"p": base.p, "dim": base.dim, "eps": base.eps})
        return True
    if base.beta is None or base.k <= 0:
        return False
    arguments = {"size": base.size, "alpha": base.alpha, "beta": base.beta, "k": base.k}
    assembly.add(output, "local_response_norm", [value], arguments)
    return True
