"""What NVIDIA's driver says of its devices (CUDA Driver API, libcuda.so.1): the same for every version of CUDA."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


@cache
def _driver() -> ctypes.CDLL | None:
    """None where there is no driver, or no device that it may use."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def devices() -> int:
    """CUDA devices of this machine that this process may use (CUDA_VISIBLE_DEVICES)."""
    driver, count = _driver(), ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


def free_bytes(number: int) -> int:
    """Memory of a device that nobody has taken; 0 if it does not answer."""
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    with _context(number) as driver:
        if driver is None or driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)):
            return 0
    return free.value


def is_lost(number: int) -> bool:
    """Whether every call to a device fails until this process ends.

    CUDA answers each call with the same error once a kernel read beyond its memory, failed an assertion, or met a
    memory error of the hardware. After other errors, a lack of memory among them, it works. Libraries have words of
    their own for both, so the device is asked.
    """
    with _context(number) as driver:
        return driver is None or driver.cuCtxSynchronize() != 0


@contextmanager
def _context(number: int) -> Iterator[ctypes.CDLL | None]:
    """The driver, with the device's context as this thread's; None if the device does not answer."""
    driver = _driver()
    device, context, popped = ctypes.c_int(0), ctypes.c_void_p(), ctypes.c_void_p()
    if (
        driver is None
        or driver.cuDeviceGet(ctypes.byref(device), number)
        or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    ):
        yield None
        return
    try:
        if driver.cuCtxPushCurrent_v2(context):
            yield None
            return
        try:
            yield driver
        finally:
            driver.cuCtxPopCurrent_v2(ctypes.byref(popped))
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)
