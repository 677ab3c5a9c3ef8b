"""Programs in the format that torch wrote before 2.7 are refused, with what to do."""

from __future__ import annotations

import io
import zipfile

import pytest

from delc.exchange import program_file
from delc.server.errors import DelcError


def test_a_program_of_an_older_torch_is_refused_with_the_version_that_is_needed() -> None:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("serialized_exported_program.json", "{}")
        archive.writestr("version", "7.3")
    with pytest.raises(DelcError) as caught:
        program_file.read(memoryview(written.getvalue()), lambda size, what: None)
    assert "torch 2.7 or later" in str(caught.value)
