"""Files that torch.save wrote, read without running what is in them."""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import torch

from delc.server.errors import InvalidData

ZIP = b"PK\x03\x04"
PROGRAM_MEMBERS = ("archive_format", "serialized_exported_program.json")
"""What only exported programs have."""

NESTED = ("state_dict", "model_state_dict", "model")
"""Under these names training scripts keep the parameters beside other things."""

SPOILED = (
    RuntimeError, ValueError, LookupError, EOFError, TypeError, AttributeError, OSError, AssertionError, OverflowError,
    struct.error,
)  # fmt: skip
"""What torch raises for a file that is cut short or has other bytes in it."""

_NAMED = re.compile(r"GLOBAL (\S+)")

SAVE_AS = (
    "Save the parameters alone, from the Python that has the model:"
    " safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')."
)


BEGINNINGS = (
    (b"\x80", "a pickle file"),
    (b"\x93NUMPY", "a numpy array (.npy)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1f\x8b", "compressed by gzip"),
    (b"GGUF", "a GGUF file"),
    (b"version https://git-lfs", "a pointer of Git LFS, which stands for a file that was not fetched"),
)
TEXTS = ((b"{", "JSON text"), (b"[", "JSON text"), (b"<", "HTML or XML text"))
MOST_BLANKS = 64


def what_it_is(data: memoryview) -> str:
    """What a file that is neither safetensors nor of torch.save seems to be."""
    begin = bytes(data[:MOST_BLANKS])
    known = next((name for start, name in BEGINNINGS if begin.startswith(start)), None)
    text = next((name for start, name in TEXTS if begin.lstrip().startswith(start)), None)
    return known or text or f"something else ({len(data)} bytes)"


def read(data: memoryview, require: Callable[[int, str], None]) -> list[tuple[str, torch.Tensor]]:
    """The tensors of a saved ``state_dict``, in their order.

    Only files of tensors are read (``weights_only``); whatever would run code is refused with ``InvalidData``.
    ``require`` is asked before memory is taken for tensors that are larger than what the file holds of them.
    """
    if not data:
        _refuse("it is empty")
    if data[:4] != ZIP:
        _refuse(f"it is {what_it_is(data)}, not the zip archive that torch.save writes")
    _check_archive(data)
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InvalidData(
            "the file holds more than tensors, and pickled objects are never loaded: they can run any code",
            detail=_what_it_names(str(error)),
            hint=SAVE_AS,
        ) from None
    except SPOILED as error:
        _refuse(str(error).splitlines()[0][:300] if str(error) else type(error).__name__)
    return _tensors(loaded, require)


def _what_it_names(message: str) -> str | None:
    """What the file would have called. The rest of torch's message says how to run it all the same."""
    found = _NAMED.search(message)
    return f"It names {found[1][:200]}." if found else None


def _check_archive(data: memoryview) -> None:
    """torch.save stores without compressing; a compressed member could unfold into any size."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        _refuse(f"the archive is damaged ({error})")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        _refuse("its archive is compressed, which torch.save never does")
    if sum(member.file_size for member in members) > len(data):
        _refuse("the members of its archive overlap")
    if any(member.filename.endswith(PROGRAM_MEMBERS) for member in members):
        raise InvalidData("this is an exported program", hint="Use delc.import_program().")


def _tensors(loaded: Any, require: Callable[[int, str], None]) -> list[tuple[str, torch.Tensor]]:
    if isinstance(loaded, Mapping):
        for name in NESTED:
            inner = loaded.get(name)
            if isinstance(inner, Mapping) and inner:
                loaded = inner
                break
    if not isinstance(loaded, Mapping):
        _refuse(f"it holds an object of type {type(loaded).__name__}, not a state_dict")
    if not loaded:
        _refuse("it holds no tensors")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise InvalidData(
                f"the entry {name!r:.100} of the file is of type {type(value).__name__}, not a tensor", hint=SAVE_AS
            )
        if value.device.type != "cpu" or value.layout is not torch.strided or value.is_quantized or value.is_complex():
            raise InvalidData(
                f'tensor "{name[:100]}" is sparse, quantised, complex or without numbers',
                hint="Make it dense and real.",
            )
        require(value.numel() * value.element_size(), f'tensor "{name[:100]}"')
    return [(name, value.detach().contiguous()) for name, value in loaded.items()]


def _refuse(why: str) -> NoReturn:
    raise InvalidData(f"not a file of tensors that torch.save wrote: {why}", hint=SAVE_AS)
