"""Pictures that are larger than the memory: decoded within bounds, or refused as no fault of theirs."""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.samples.image_files import exif

_MEASURE = """
import sys
from pathlib import Path
from shared.media.decode import decode
def most():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024
data = Path(sys.argv[1]).read_bytes()
before = most()
print(*decode(data, 200_000_000).shape, most() - before)
"""


@pytest.mark.parametrize(("format_", "turned", "most"), [("JPEG", 1, 4), ("JPEG", 6, 7), ("PNG", 6, 12)])
def test_12000_by_9000_pixels_in_bounded_memory(format_: str, turned: int, most: int, tmp_path: Path) -> None:
    """The pixels of a JPEG file are in memory once, to be turned twice; alpha that is turned takes most."""
    size = (12_000, 9_000)
    image = Image.new("RGB", size) if format_ == "JPEG" else Image.new("RGBA", size, (9, 9, 9, 9))
    options = {"compress_level": 1} if format_ == "PNG" else {}
    image.save(tmp_path / "large", format_, exif=exif(turned), **options)
    image.close()
    answer = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path / "large")], capture_output=True, text=True, check=True
    )
    height, width, channels, took = map(int, answer.stdout.split())
    assert (width, height, channels) == (*(size if turned == 1 else size[::-1]), 3)
    assert took <= most * width * height


_WITHOUT_MEMORY = """
import resource, sys
from pathlib import Path
from shared.errors import ImageError
from shared.media.decode import decode
data = Path(sys.argv[1]).read_bytes()
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 50_000_000, taken + 50_000_000))
try:
    decode(data, 200_000_000)
except ImageError as error:
    print(error.reason)
"""


@pytest.mark.parametrize(("format_", "mode"), [("JPEG", "RGB"), ("PNG", "P")])
def test_too_little_memory_is_no_fault_of_the_file(format_: str, mode: str, tmp_path: Path) -> None:
    Image.new(mode, (8_000, 8_000)).save(tmp_path / "large", format_)
    answer = subprocess.run(
        [sys.executable, "-c", _WITHOUT_MEMORY, str(tmp_path / "large")], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "no_memory"
