"""The device that training uses, its precision, and the settings of the machine."""

from __future__ import annotations

import ctypes
import logging
import sys
from contextlib import AbstractContextManager

import torch

from training.compute.parallel import local_rank

logger = logging.getLogger(__name__)


def choose_device(name: str) -> torch.device:
    """
    Return the device for auto, cpu or cuda; under torchrun each process has a GPU of its own.

    Raises:
        ValueError: CUDA is asked for and absent.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device: expected a CUDA device, found none. Use --device cpu.")
    if name == "cuda" and (rank := local_rank()) is not None:
        torch.cuda.set_device(rank)
        return torch.device(name, rank)
    return torch.device(name)


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Tell whether forward passes run in bf16: on request, or where the device multiplies it."""
    if precision != "auto":
        return precision == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(device: torch.device, is_bf16: bool) -> AbstractContextManager[object]:
    """Return the context of a forward pass."""
    return torch.autocast(device.type, torch.bfloat16, enabled=is_bf16)


def prepare(seed: int, device: torch.device) -> None:
    """Seed everything, ask for deterministic kernels, and let the CPU keep its memory."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Else every new tensor is filled with NaN, for whoever reads it unwritten: 13 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = False
    keep_freed_memory(device)


def keep_freed_memory(device: torch.device) -> None:
    """
    Keep glibc from returning each activation to the kernel, where that is where it computes.

    Every step frees and takes the same hundreds of megabytes; page faults were 15 % of an epoch
    of MobileNetV2 at 384 x 384 on 2 cores (1.27 against 1.06 s a step of 16), and a third of the
    judging of whole pictures.
    """
    if device.type != "cpu" or sys.platform != "linux":
        return
    m_trim_threshold, m_mmap_max = -1, -4  # malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)
    except (OSError, AttributeError):  # another C library: slower, not wrong
        logger.info("no glibc: memory settings left as they are")
