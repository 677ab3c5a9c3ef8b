"""The manual of layers is the one that the registry writes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from delc.networks import ARCHITECTURES, KINDS, InputSpec, build, network_from
from delc.networks.manual import INTRODUCTION, manual

PAGE = Path(__file__).parents[2] / "docs" / "layers.md"


def test_the_manual_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == manual(), (
        "write it again: python -m delc.networks.manual > docs/layers.md"
    )


def test_every_kind_and_architecture_has_a_section() -> None:
    sections = set(re.findall(r"^### (\S+)$", manual(), re.MULTILINE))
    assert sections == {*KINDS, *ARCHITECTURES}


@pytest.mark.parametrize("definition", re.findall(r"```json\n(.*?)```", INTRODUCTION, re.DOTALL))
def test_the_examples_of_the_introduction_are_networks(definition: str) -> None:
    inputs = {"input": InputSpec((1, 8, 8) if "conv" in definition else (64,))}
    build(network_from(json.loads(definition), inputs, 3), inputs, 3)
