"""Values that a file moves around before they mean a layer: heads of attention, sequences with time first, last states.

Such a value is a view (``axes``) of a tensor that a layer gives or would give: a product that may turn out to be the
projection of an attention, scores, a recurrent layer's steps. Nothing is added to the network until something needs the
value as it is. Then a view that shows all of its tensor is that tensor, and any other is refused or moved by layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from delc.exchange.assembly import Assembly, refuse
from delc.exchange.axes import Atom, Look, Size, atoms, whole

SLIGHT = 1e-4
"""How far a scale may be from 1 / √d; files have it in float32, some as two roots."""


class Base(ABC):
    """A tensor that is looked at. ``shape``: one row's; ``give`` adds the layers that give it, and says its value."""

    shape: tuple[int, ...]

    @abstractmethod
    def give(self, assembly: Assembly) -> str:
        """The value, as the assembly calls it."""

    def part(self, assembly: Assembly, start: int, end: int) -> str | None:
        """The value of a part of the last axis, where there is one."""
        return None


@dataclass(eq=False)
class Given(Base):
    """What a layer gives, or an input."""

    value: str
    shape: tuple[int, ...]

    def give(self, assembly: Assembly) -> str:
        assembly.source(self.value)
        return self.value


@dataclass(eq=False)
class Projection(Base):
    """A linear layer to be. ``weight``: (out_features, in_features); ``key``: what the file calls it."""

    source: Base
    weight: torch.Tensor
    bias: torch.Tensor | None
    key: str
    value: str
    given: bool = False
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.shape = (*self.source.shape[:-1], self.weight.shape[0])

    def give(self, assembly: Assembly) -> str:
        if not self.given:
            self.given = True
            name = f"{self.value}, projected"
            assembly.linear(name, self.source.give(assembly), self.weight, self.bias, self.key)
        return f"{self.value}, projected"


@dataclass(frozen=True)
class Padding:
    """Positions whose token is this one, but for the first, are left out."""

    tokens: str
    token: int


@dataclass(eq=False)
class Scores(Base):
    """Products of queries and keys: (rows, heads, queries, keys). Of query and key: the projection and its offset."""

    query: tuple[Projection, int]
    key: tuple[Projection, int]
    shape: tuple[int, ...]
    width: int
    scale: float
    causal: bool = False
    padding: Padding | None = None
    weighed: bool = False

    def give(self, assembly: Assembly) -> str:
        refuse("a product of two computed tensors that is not within an attention")


@dataclass(eq=False)
class Attended(Base):
    """What the heads of an attention give, side by side: (rows, queries, features)."""

    scores: Scores
    values: tuple[Projection, int]
    shape: tuple[int, ...]

    def give(self, assembly: Assembly) -> str:
        refuse("an attention without a projection of what its heads give")


@dataclass(eq=False)
class Joined(Base):
    """An attention with the projection of what its heads give: the layer multihead_attention."""

    attended: Attended
    weight: torch.Tensor
    bias: torch.Tensor | None
    key: str
    value: str
    given: bool = False

    def __post_init__(self) -> None:
        self.shape = self.attended.shape

    def give(self, assembly: Assembly) -> str:
        name = f"{self.value}, attended"
        if not self.given:
            self.given = True
            _add_attention(assembly, name, self)
        return name


@dataclass(frozen=True)
class View:
    """A look at a base, whose numbers are multiplied by ``scale``."""

    base: Base
    look: Look
    scale: float = 1.0

    @property
    def shows_all(self) -> bool:
        """Whether it is the base as it is."""
        return self.look == whole(self.base.shape) and self.scale == 1.0


class Moved:
    """The views of a file's values."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self._views: dict[str, View] = {}

    def view(self, value: str) -> View | None:
        """How a value lies in a base; None where nothing computes it."""
        if value in self._views:
            return self._views[value]
        if not self.assembly.is_computed(value):
            return None
        base = Given(value, self.assembly.shape(value))
        return View(base, whole(base.shape))

    def settled(self, value: str) -> View:
        """The value as what a layer gives, which is added if it is not there yet."""
        self.assembly.source(value)
        base = Given(value, self.assembly.shape(value))
        return View(base, whole(base.shape))

    def is_moved(self, value: str) -> bool:
        """Whether a value is more than what a layer gives."""
        return value in self._views

    def put(self, value: str, view: View, otherwise: Callable[[], None] | None = None) -> None:
        """Lets a value be a view. ``otherwise`` adds it in its own way where it is needed and is not all of a base."""
        self._views[value] = view

        def give() -> None:
            found = self._given(view)
            if found is not None:
                self.assembly.same(value, found)
            elif otherwise is not None:
                otherwise()
            else:
                refuse(f'the value "{value[:100]}", which no layer gives in this order')

        self.assembly.later(value, give)

    def reshaping(self, output: str, value: str, view: View) -> Callable[[], None] | None:
        """What reshapes a value as the view is shaped, with the rows first; None where they are not."""
        first, *rest = (view.look.size(dim) for dim in range(len(view.look.dims)))
        if first != Size(1, True) or not rest:
            return None
        sizes: list[int | None] = [None, *(size.count for size in rest)] if len(rest) > 1 else [None, -1]
        return lambda: self.assembly.reshape(output, value, sizes)

    def _given(self, view: View) -> str | None:
        if view.shows_all:
            return view.base.give(self.assembly)
        front = list(whole(view.base.shape).dims[:-1])
        size = view.look.dims[-1] if view.look.dims else ()
        if list(view.look.dims[:-1]) != front or view.scale != 1.0 or len(size) != 1 or size[0].stride != 1:
            return None
        axis = len(front)
        if size[0].axis != axis or any(each != axis for each, _ in view.look.offsets):
            return None
        start = view.look.offset(axis)
        return view.base.part(self.assembly, start, start + size[0].size)

    # What becomes of views.

    def scaled(self, view: View, factor: float) -> View | None:
        """The view times a number, where that can be part of an attention."""
        if isinstance(view.base, Projection):
            return replace(view, scale=view.scale * factor)
        if isinstance(view.base, Scores) and not view.base.weighed:
            return replace(view, base=replace(view.base, scale=view.base.scale * factor))
        return None

    def linear(self, value: str, view: View, weight: torch.Tensor, bias: torch.Tensor | None, key: str) -> View | None:
        """A view times a weight (out_features, in_features), over its last dimension."""
        axis = len(view.base.shape)
        features = view.base.shape[-1] if view.base.shape else 0
        last = view.look.dims[-1] if view.look.dims else ()
        if weight.dim() != 2 or last != atoms(axis, 1, features) or weight.shape[1] != features or view.scale != 1.0:
            return None
        if view.look.offsets or not axis:
            return None
        base = self._projected(value, view.base, weight, bias, key)
        if base is None:
            return None
        dims = (*view.look.dims[:-1], atoms(axis, 1, base.shape[-1]))
        return View(base, Look(dims))

    def _projected(
        self, value: str, base: Base, weight: torch.Tensor, bias: torch.Tensor | None, key: str
    ) -> Base | None:
        if isinstance(base, Attended):
            return Joined(base, weight, bias, key, value) if weight.shape[0] == base.shape[-1] else None
        return None if isinstance(base, Scores) else Projection(base, weight, bias, key, value)

    def with_bias(self, value: str, view: View, bias: torch.Tensor) -> View | None:
        """A product, and the bias that is added to it."""
        base = view.base
        if not isinstance(base, Projection | Joined) or base.bias is not None or base.given or view.scale != 1.0:
            return None
        if bias.shape != base.shape[-1:] or view.look.offsets or not view.look.dims:
            return None
        if view.look.dims[-1] != atoms(len(base.shape), 1, base.shape[-1]):
            return None
        return replace(view, base=replace(base, bias=bias, value=value))

    def product(self, first: View, second: View) -> View | None:
        """Queries times keys, or the weights of an attention times its values."""
        if isinstance(first.base, Scores):
            return _weighted(first, second)
        return _scores(first, second)

    def weighed(self, view: View) -> View | None:
        """The softmax of scores over the keys."""
        if not isinstance(view.base, Scores) or view.base.weighed:
            return None
        if view.look.dims[-1] != atoms(3, 1, view.base.shape[2]) or view.look.offsets:
            return None
        return replace(view, base=replace(view.base, weighed=True))

    def masked(self, view: View, mask: torch.Tensor) -> View | None:
        """Scores plus a mask that hides later positions; a mask of zeros hides nothing."""
        if not isinstance(view.base, Scores) or view.base.weighed:
            return None
        if not mask.any():
            return view
        queries, keys = view.base.shape[1:]
        square = mask.reshape(mask.shape[-2:]) if mask.dim() >= 2 and mask.numel() == queries * keys else None
        if square is None or tuple(square.shape) != (queries, keys) or not is_causal(square):
            return None
        return replace(view, base=replace(view.base, causal=True))

    def hiding(self, view: View, padding: Padding) -> View | None:
        """Scores without the positions that are padding."""
        if not isinstance(view.base, Scores) or view.base.weighed or view.base.padding is not None:
            return None
        return replace(view, base=replace(view.base, padding=padding))


def is_causal(mask: torch.Tensor) -> bool:
    """Whether it is 0 up to the diagonal and as good as minus infinity behind it."""
    if mask.dim() != 2 or mask.shape[0] != mask.shape[1] or not mask.is_floating_point():
        return False
    hidden = torch.ones_like(mask, dtype=torch.bool).triu(1)
    return not mask[~hidden].any() and bool((mask[hidden] <= torch.finfo(torch.float32).min / 2).all())


def _heads(view: View, *last: int) -> tuple[int, int] | None:
    """How many heads a projection is cut into, and how wide, where its dimensions are those of an attention.

    ``last``: which axes (1: positions, 2: features of a head) the last two dimensions are.
    """
    base, dims = view.base, view.look.dims
    if not isinstance(base, Projection) or len(base.shape) != 2 or len(dims) < 3:
        return None
    feature = dims[-2:][last.index(2)]
    width = feature[0].size if feature else 1
    front = [atom for dim in dims[:-2] for atom in dim]
    if not front or front[0] != Atom(0, 1, 0) or len(front) > 2:
        return None
    heads = front[1].size if len(front) == 2 else 1
    wanted = {1: atoms(1, 1, base.shape[0]), 2: atoms(2, 1, width)}
    right = [*dims[-2:]] == [wanted[axis] for axis in last] and tuple(front[1:]) == atoms(2, width, heads)
    return (heads, width) if right and all(axis == 2 for axis, _ in view.look.offsets) else None


def _scores(queries: View, keys: View) -> View | None:
    first, second = _heads(queries, 1, 2), _heads(keys, 2, 1)
    if first is None or first != second or len(queries.look.dims) != len(keys.look.dims):
        return None
    assert isinstance(queries.base, Projection)
    assert isinstance(keys.base, Projection)
    shape = (first[0], queries.base.shape[0], keys.base.shape[0])
    base = Scores(
        (queries.base, queries.look.offset(2)), (keys.base, keys.look.offset(2)), shape, first[1],
        queries.scale * keys.scale,
    )  # fmt: skip
    front = _in_front(queries, Atom(1, 1, shape[0]))
    return View(base, Look((*front, atoms(2, 1, shape[1]), atoms(3, 1, shape[2]))))


def _weighted(weights: View, values: View) -> View | None:
    scores, found = weights.base, _heads(values, 1, 2)
    assert isinstance(scores, Scores)
    heads, queries, keys = scores.shape
    dims = weights.look.dims
    if not scores.weighed or found != (heads, scores.width) or values.base.shape[0] != keys or values.scale != 1.0:
        return None
    front = [atom for dim in dims[:-2] for atom in dim]
    if front != [Atom(0, 1, 0), *atoms(1, 1, heads)] or list(dims[-2:]) != [atoms(2, 1, queries), atoms(3, 1, keys)]:
        return None
    if len(dims) != len(values.look.dims):
        return None
    assert isinstance(values.base, Projection)
    width = scores.width
    base = Attended(scores, (values.base, values.look.offset(2)), (queries, heads * width))
    return View(base, Look((*_in_front(values, Atom(2, width, heads)), atoms(1, 1, queries), atoms(2, 1, width))))


def _in_front(view: View, heads: Atom) -> list[tuple[Atom, ...]]:
    """The dimensions before the last two, with other atoms for the heads."""
    return [tuple(atom if atom.axis == 0 else heads for atom in dim) for dim in view.look.dims[:-2]]


def _add_attention(assembly: Assembly, value: str, joined: Joined) -> None:
    attended, scores = joined.attended, joined.attended.scores
    size = attended.shape[-1]
    parts = [scores.query, scores.key, attended.values]
    sources = [part.source for part, _ in parts]
    if abs(scores.scale * scores.width**0.5 - 1) > SLIGHT or joined.weight.shape[0] != sources[0].shape[-1]:
        refuse("an attention with another scale than 1 / √d, or with other features than those of its queries")
    weights = [part.weight[start : start + size] for part, start in parts]
    arguments = {
        "embed_dim": size, "num_heads": scores.shape[0], "kdim": sources[1].shape[-1], "vdim": sources[2].shape[-1],
        "causal": scores.causal or None, "padding_index": scores.padding.token if scores.padding else None,
    }  # fmt: skip
    if all(source.shape[-1] == size for source in sources):
        state = {"in_proj_weight": torch.cat(weights)}
    else:
        state = {f"{letter}_proj_weight": weight.contiguous() for letter, weight in zip("qkv", weights, strict=True)}
    biases = [None if part.bias is None else part.bias[start : start + size] for part, start in parts]
    arguments["bias"] = joined.bias is not None or any(bias is not None for bias in biases)
    if arguments["bias"]:
        state["in_proj_bias"] = torch.cat([_or_zeros(*pair) for pair in zip(biases, weights, strict=True)])
        state["out_proj.bias"] = _or_zeros(joined.bias, joined.weight)
    state["out_proj.weight"] = joined.weight
    reads = _distinct([source.give(assembly) for source in sources])
    if scores.padding is not None:
        reads.append(scores.padding.tokens)
    path = assembly.path(joined.key).rpartition(".")[0].removesuffix(".out_proj")
    assembly.add(value, "multihead_attention", reads, arguments, state, path=path)


def _or_zeros(bias: torch.Tensor | None, weight: torch.Tensor) -> torch.Tensor:
    return weight.new_zeros(weight.shape[0]) if bias is None else bias


def _distinct(values: Sequence[str]) -> list[str]:
    """One value that is all three; query and memory; or query, keys and values."""
    query, key, value = values
    if key != value:
        return [query, key, value]
    return [query] if query == key else [query, key]
