"""Masks of attention that a program works out from tokens: minus infinity where a position is padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.axes import Atom, Look, Size, atoms, extent, whole
from delc.exchange.moved import Base, Padding, Scores, View, is_causal

SPREAD = -1
"""The axis of what is the same for all of its steps."""


@dataclass(eq=False)
class Mask(Base):
    """(rows, keys), or (rows, queries, keys) where later positions are hidden too."""

    padding: Padding
    keys: int
    stage: str
    causal: bool = False

    def __post_init__(self) -> None:
        self.shape = (self.keys, self.keys) if self.causal else (self.keys,)

    def give(self, assembly: Assembly) -> str:
        refuse("a mask of tokens that is not that of an attention")


def begun(tokens: str, token: int, keys: int, stage: str) -> View:
    """Whether tokens are padding (empty) or not (there)."""
    mask = Mask(Padding(tokens, token), keys, stage)
    return View(mask, whole(mask.shape))


def advanced(view: View, before: str, after: str) -> View | None:
    """The mask at the next stage: empty (all padding), hidden (not the first), zeros, added (0 or minus
    infinity); or there (no padding), kept (1 where it is).
    """
    if not isinstance(view.base, Mask) or view.base.stage != before:
        return None
    return replace(view, base=replace(view.base, stage=after))


def spread(view: View, sizes: Sequence[Size | None]) -> View | None:
    """Dimensions of size 1 spread to others."""
    dims = []
    for dim, size in zip(view.look.dims, sizes, strict=True):
        if size in (Size(-1), extent(dim)):
            dims.append(dim)
        elif dim == () and size is not None and not size.rows:
            dims.append((Atom(SPREAD, 0, size.count),))
        else:
            return None
    return replace(view, look=Look(tuple(dims)))


def summed(view: View, tensor: torch.Tensor) -> View | None:
    """The mask plus one that hides later positions."""
    mask = view.base
    if not isinstance(mask, Mask) or mask.causal or mask.stage != "added" or len(view.look.dims) < 3:
        return None
    keys, dims = mask.keys, view.look.dims
    square = tensor.reshape(tensor.shape[-2:]) if tensor.numel() == keys * keys and tensor.dim() > 1 else None
    if square is None or not is_causal(square) or list(dims[-2:]) != [(), atoms(1, 1, keys)]:
        return None
    return View(replace(mask, causal=True), Look((*dims[:-2], atoms(1, 1, keys), atoms(2, 1, keys))))


def hidden_by(scores: View, view: View) -> View | None:
    """Scores with a mask of tokens on them."""
    mask, base = view.base, scores.base
    if not isinstance(mask, Mask) or not isinstance(base, Scores) or mask.stage != "added" or base.weighed:
        return None
    heads, queries, keys = base.shape
    if mask.keys != keys or base.padding is not None or len(view.look.dims) != len(scores.look.dims):
        return None
    front = [atom for dim in view.look.dims[:-2] for atom in dim]
    last = atoms(2, 1, keys) if mask.causal else atoms(1, 1, keys)
    middle = atoms(1, 1, keys) if mask.causal else ()
    if front not in ([Atom(0, 1, 0)], [Atom(0, 1, 0), Atom(SPREAD, 0, heads)]) or view.look.dims[-1] != last:
        return None
    if view.look.dims[-2] != middle or (mask.causal and queries != keys):
        return None
    sizes = [[extent(dim) for dim in look.dims[:-2]] for look in (scores.look, view.look)]
    if len(front) > 1 and sizes[0] != sizes[1]:
        return None
    return replace(scores, base=replace(base, padding=mask.padding, causal=base.causal or mask.causal))
