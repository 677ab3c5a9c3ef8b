"""The mean over tokens that are not padding, of the operations that it is written as: a sum and a count."""

from __future__ import annotations

from dataclasses import dataclass, replace

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.axes import Look, whole
from delc.exchange.moved import Base, Given, View
from delc.exchange.moved_masks import Mask


@dataclass(eq=False)
class Kept(Base):
    """A sequence that is 0 where the tokens are padding, or the sum of that over its positions."""

    source: Given
    mask: Mask
    total: bool = False

    def __post_init__(self) -> None:
        self.shape = self.source.shape[1:] if self.total else self.source.shape

    def give(self, assembly: Assembly) -> str:
        refuse("a sequence that is 0 where tokens are padding, and no mean over the others")


@dataclass(eq=False)
class Count(Base):
    """How many tokens are not padding, or at least 1."""

    mask: Mask
    some: bool = False
    shape: tuple[int, ...] = (1,)

    def give(self, assembly: Assembly) -> str:
        refuse("a count of tokens that nothing is divided by")


def kept(sequence: View, view: View) -> View | None:
    """A sequence times its mask."""
    mask, base = view.base, sequence.base
    if not isinstance(mask, Mask) or mask.stage != "kept" or not isinstance(base, Given) or len(base.shape) != 2:
        return None
    if base.shape[0] != mask.keys or view.look != Look((*whole(mask.shape).dims, ())):
        return None
    found = Kept(base, mask)
    return View(found, whole(found.shape))


def summed(view: View, dims: list[int]) -> View | None:
    """The sum over the positions."""
    base = view.base
    if isinstance(base, Kept) and not base.total and dims == [1] and view.shows_all:
        total = replace(base, total=True)
        return View(total, whole(total.shape))
    is_mask = isinstance(base, Mask) and view.look == Look((*whole(base.shape).dims, ()))
    if isinstance(base, Mask) and is_mask and base.stage == "kept" and dims == [1]:
        count = Count(base)
        return View(count, whole(count.shape))
    return None


def at_least(view: View, number: float) -> View | None:
    """The count, or 1 where there are none."""
    base = view.base
    if not isinstance(base, Count) or base.some or number != 1:
        return None
    return replace(view, base=replace(base, some=True))


def divided(assembly: Assembly, output: str, view: View, by: View) -> bool:
    """Adds the layer that a sum divided by a count is, and says if it is one."""
    total, count = view.base, by.base
    if not isinstance(total, Kept) or not total.total or not isinstance(count, Count) or not count.some:
        return False
    padding = total.mask.padding
    if count.mask.padding != padding or not view.shows_all or not by.shows_all:
        return False
    arguments = {"padding_index": padding.token}
    assembly.add(output, "masked_mean", [total.source.give(assembly), padding.tokens], arguments)
    return True
