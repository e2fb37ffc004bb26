"""What becomes of a device that failed."""

from typing import TYPE_CHECKING

from functions.predict.ports import DeviceLost
from functions.predict.process_end import end_process

if TYPE_CHECKING:
    import torch


def is_lost(device: "torch.device") -> bool:
    """Whether every call to a CUDA device fails until this process ends.

    CUDA answers each call with the same error once a kernel read beyond its memory, failed an assertion, or met a
    memory error of the hardware (`cudaErrorLaunchFailure` and others in the CUDA Runtime API). After other errors, a
    lack of memory among them, it works. The exceptions do not tell: cuDNN and cuBLAS have words of their own for the
    consequences, and torch's class and text differ between its releases. So the device is asked.
    """
    import torch

    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return False
    try:
        torch.cuda.synchronize(device)
    except Exception:  # noqa: BLE001 - the cause is known already, and logged
        return True
    return False


def refuse_lost(device: "torch.device", error: Exception) -> None:
    """Raises DeviceLost if the device will not work again in this process, which ends then. `error`: what it raised."""
    if is_lost(device):
        end_process("device_lost", f"{device} fails every call of this process since {type(error).__name__}: {error}")
        raise DeviceLost(f"{device} failed, a new process will go on: {type(error).__name__}: {error}") from error
