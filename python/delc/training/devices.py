"""The device that a network is computed on."""

from __future__ import annotations

import re
from typing import Any

import torch

from delc.server.errors import InvalidParameter
from delc.training.arguments import refuse


def check_device_name(name: str, value: Any) -> str:
    """The device as written, when it is one of the forms that are known. Whether it exists is asked later."""
    if not isinstance(value, str) or not re.fullmatch(r"cpu|auto|cuda(:\d{1,3})?", value):
        raise refuse(name, value, '"cpu", "cuda", "cuda:N" or "auto"')
    return value


def resolve_device(value: str) -> torch.device:
    """The device to compute on. "auto" is the first CUDA device, or the processor where there is none.

    Raises InvalidParameter when a CUDA device is asked for that this machine does not have.
    """
    check_device_name("device", value)
    if value == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if value == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    index = int(value.partition(":")[2] or 0)
    if index >= count:
        raise InvalidParameter(
            f'device is "{value}", but torch {torch.__version__} finds {count or "no"} CUDA devices on this machine',
            hint='Use "cpu", or "auto" for CUDA where there is one. CUDA needs a driver and a torch built for it.',
        )
    return torch.device("cuda", index)
