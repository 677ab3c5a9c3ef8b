"""Where the numbers of a value lie in another: what transposing, reshaping and cutting do to a tensor's dimensions.

A dimension of a view is a list of atoms, outermost first; an atom is a run of steps along one axis of the tensor that
is looked at. Splitting (rows, length, 8) into heads gives (rows, length, 2 · 4): two atoms of the last axis, with the
strides 4 and 1. Axis 0 is the rows, whose number is open. Atoms of size 1 are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

ROWS = 0
"""The size of an axis that is the rows."""


@dataclass(frozen=True)
class Size:
    """``count``, times the number of rows where ``rows``."""

    count: int
    rows: bool = False

    def __mul__(self, other: Size) -> Size | None:
        return None if self.rows and other.rows else Size(self.count * other.count, self.rows or other.rows)

    def divided(self, other: Size) -> Size | None:
        """What this is of the other, or None where that is no whole number."""
        if other.count == 0 or self.count % other.count or (other.rows and not self.rows):
            return None
        return Size(self.count // other.count, self.rows and not other.rows)


@dataclass(frozen=True)
class Atom:
    """``size`` steps of ``stride`` along an axis."""

    axis: int
    stride: int
    size: int

    @property
    def extent(self) -> Size:
        """How many steps it has."""
        return Size(1, True) if self.size == ROWS else Size(self.size)


Dim = tuple[Atom, ...]
Dims = tuple[Dim, ...]


@dataclass(frozen=True)
class Look:
    """The dimensions, and from where on each axis is looked at: pairs of axis and place."""

    dims: Dims
    offsets: frozenset[tuple[int, int]] = frozenset()

    def offset(self, axis: int) -> int:
        """The place where it begins on an axis."""
        return next((place for each, place in self.offsets if each == axis), 0)

    def size(self, dim: int) -> Size:
        """The size of a dimension."""
        return extent(self.dims[dim])


def atoms(axis: int, stride: int, size: int) -> Dim:
    """The atoms of so many steps."""
    return () if size == 1 else (Atom(axis, stride, size),)


def whole(shape: Sequence[int]) -> Look:
    """All of a tensor whose rows have this shape."""
    return Look(((Atom(0, 1, ROWS),), *(atoms(axis, 1, size) for axis, size in enumerate(shape, start=1))))


def extent(dim: Sequence[Atom]) -> Size:
    """The size of a dimension."""
    product = Size(1)
    for atom in dim:
        found = product * atom.extent
        assert found is not None  # there is one atom of rows
        product = found
    return product


def permuted(look: Look, order: Sequence[int]) -> Look:
    """The dimensions in another order."""
    return replace(look, dims=tuple(look.dims[place] for place in order))


def unsqueezed(look: Look, dims: Sequence[int]) -> Look:
    """With dimensions of size 1 at these places of the result."""
    found = list(look.dims)
    for place in sorted(dims):
        found.insert(place, ())
    return replace(look, dims=tuple(found))


def squeezed(look: Look, dims: Sequence[int]) -> Look | None:
    """Without dimensions that are of size 1; None where one is not."""
    if any(look.dims[place] for place in dims):
        return None
    return replace(look, dims=tuple(dim for place, dim in enumerate(look.dims) if place not in dims))


def cut(look: Look, dim: int, start: int, end: int) -> Look | None:
    """The steps from ``start`` to ``end`` of a dimension; None for the rows and where several axes meet."""
    found = look.dims[dim]
    if not found or found[0].size == ROWS:
        return look if not found and (start, end) == (0, 1) else None
    first, inner = found[0], extent(found[1:])
    if inner.rows or any(atom.axis != first.axis for atom in found) or not 0 <= start < end <= extent(found).count:
        return None
    if start % inner.count or end % inner.count:
        return None
    begin, count = start // inner.count, (end - start) // inner.count
    kept = (*atoms(first.axis, first.stride, count), *found[1:])
    moved = look.offset(first.axis) + begin * first.stride
    offsets = {(axis, place) for axis, place in look.offsets if axis != first.axis} | {(first.axis, moved)}
    dims = (*look.dims[:dim], kept, *look.dims[dim + 1 :])
    return Look(dims, frozenset((axis, place) for axis, place in offsets if place))


def selected(look: Look, dim: int, index: int) -> Look | None:
    """One step of a dimension, which goes away."""
    size = look.size(dim)
    place = index + size.count if index < 0 else index
    found = None if size.rows else cut(look, dim, place, place + 1)
    return None if found is None else squeezed(found, [dim])


def reshaped(look: Look, sizes: Sequence[Size]) -> Look | None:
    """The same numbers in dimensions of these sizes; None where a size cuts through an atom."""
    left = [atom for dim in look.dims for atom in dim]
    dims = []
    for size in sizes:
        taken = _take(left, size)
        if taken is None:
            return None
        dims.append(_joined(taken))
    return None if left else replace(look, dims=tuple(dims))


def _take(left: list[Atom], size: Size) -> list[Atom] | None:
    """Atoms from the front that make up a size; they go from ``left``, which keeps the rest of one that is split."""
    taken: list[Atom] = []
    while size != Size(1):
        if not left:
            return None
        atom = left.pop(0)
        rest = size.divided(atom.extent)
        if rest is not None:
            taken.append(atom)
            size = rest
            continue
        if size.rows or atom.size == ROWS or atom.size % size.count:
            return None
        inner = atom.size // size.count
        taken.append(Atom(atom.axis, atom.stride * inner, size.count))
        left.insert(0, Atom(atom.axis, atom.stride, inner))
        size = Size(1)
    return taken


def _joined(dim: Sequence[Atom]) -> Dim:
    """Atoms that go on where the one before ends are one."""
    found: list[Atom] = []
    for atom in dim:
        last = found[-1] if found else None
        goes_on = last is not None and (last.axis, last.stride) == (atom.axis, atom.stride * atom.size)
        if last is not None and goes_on and ROWS not in (last.size, atom.size):
            found[-1] = Atom(atom.axis, atom.stride, last.size * atom.size)
        else:
            found.append(atom)
    return tuple(found)


def wanted_sizes(look: Look, told: Sequence[Size | None]) -> list[Size] | None:
    """The sizes of a reshape: those told, where Size(0) keeps the old one and Size(-1) is what is left over."""
    sizes: list[Size | None] = []
    for place, size in enumerate(told):
        if size is None or (size.count == 0 and place >= len(look.dims)):
            return None
        sizes.append(None if size == Size(-1) else look.size(place) if size.count == 0 else size)
    total, known = extent([atom for dim in look.dims for atom in dim]), Size(1)
    for size in sizes:
        product = known if size is None else known * size
        if product is None:
            return None
        known = product
    rest = total.divided(known)
    if rest is None or sizes.count(None) > 1:
        return None
    return [rest if size is None else size for size in sizes]
