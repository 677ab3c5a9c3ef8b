"""Pictures of stored versions."""

from __future__ import annotations

from delc.features import FittedFeatures
from delc.models import versions
from delc.networks import Network, ResolvedNetwork, resolve
from delc.networks.pictures import difference, picture


def network_svg(model: str | None) -> str:
    """The network of a version as SVG."""
    network, title = _resolved(model)
    return picture(network, title)


def diff_svg(a: str | None, b: str | None) -> str:
    """The networks of two versions in one picture."""
    (first, title_a), (second, title_b) = _resolved(a), _resolved(b)
    return difference(first, second, title_a, title_b)


def _resolved(model: str | None) -> tuple[ResolvedNetwork, str]:
    version = versions.resolve(model)
    specs = FittedFeatures.from_json(version.features).input_specs()
    return resolve(Network.parse(version.network), specs), version.title
