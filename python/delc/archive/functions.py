"""The room's SQL functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast, get_args

from delc.archive import archiving, budgets, checking, rounding
from delc.archive import checkout as retrieved
from delc.archive import round_snapshots as rounded
from delc.archive.archiving import Order
from delc.archive.choices import Ways
from delc.archive.planning import Scheme
from delc.archive.storage import OBJECTIVES, Request
from delc.log.runs import running
from delc.server.errors import InvalidParameter, unknown

METHODS = ("sub", "planes", "xor")

verify_archive = checking.verify
checkout = retrieved.checkout
checkout_several = retrieved.checkout_several


def archive(
    scope: str | None,
    objective: str | None,
    budget: str | None,
    retrieval: str | None,
    longest_chain: int | None,
    method: str | None,
    planner: str | None,
    dry_run: bool | None,
    halves: bool | None,
) -> Iterator[dict[str, Any]]:
    """Plans how tensors are stored and stores them so, unless ``dry_run``."""
    order = _order(scope, objective, budget, retrieval, longest_chain, method, planner, halves)
    if dry_run or dry_run is None:
        with checking.naming_damage(scope):
            yield from archiving.foresee(order)
        return
    arguments = {
        "scope": scope,
        "objective": objective,
        "budget": None if budget is None else json.loads(budget),
        "retrieval": retrieval,
        "longest_chain": longest_chain,
        "method": method,
        "planner": planner,
        "halves": halves,
    }
    title = scope or "all models"
    with running("archive", subject=title, arguments=arguments) as run, checking.naming_damage(scope):
        yield from archiving.archive(run, order)


def round_snapshots(scope: str, scheme: str, bits: int | None, with_latest: bool | None) -> Iterator[dict[str, Any]]:
    """Rounds parameters for good."""
    way = rounding.parse(scheme, bits)
    arguments = {"scope": scope, "scheme": scheme, "bits": bits, "with_latest": with_latest}
    with (
        running("round_snapshots", subject=str(scope), arguments=arguments) as run,
        checking.naming_damage(scope),
    ):
        yield from rounded.round_snapshots(run, scope, way, bool(with_latest))


def _order(
    scope: str | None,
    objective: str | None,
    budget: str | None,
    retrieval: str | None,
    longest_chain: int | None,
    method: str | None,
    planner: str | None,
    halves: bool | None,
) -> Order:
    if objective is None or objective not in OBJECTIVES:
        raise unknown("objective", str(objective), OBJECTIVES, kind=InvalidParameter)
    if retrieval not in get_args(Scheme):
        raise unknown("retrieval scheme", str(retrieval), get_args(Scheme), kind=InvalidParameter)
    if method not in METHODS:
        raise unknown("method", str(method), METHODS, kind=InvalidParameter)
    if longest_chain is None or longest_chain < 0:
        raise InvalidParameter(f"longest_chain is {longest_chain}", detail="It is 0 (all whole) or more.")
    if halves is None:
        raise InvalidParameter("halves is NULL", detail="It is true or false.")
    fixed = OBJECTIVES[objective]
    if fixed is not None and budget is not None:
        raise InvalidParameter(
            f"budget has no meaning with objective '{objective}'", hint="Leave it out, or take objective 'budget'."
        )
    limits = budgets.parse(None if budget is None else json.loads(budget)) if fixed is None else None
    chosen = Request(fixed or str(planner), cast(Scheme, retrieval), limits, longest_chain)
    return Order(scope, chosen, Ways(method, halves))
