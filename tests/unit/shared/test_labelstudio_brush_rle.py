"""Label Studio's run-length encoding, compared with the SDK's, and with hostile annotations."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from label_studio_sdk.converter.brush import decode_rle, encode_rle, mask2rle

from shared.geometry.outlines import mask_to_outline, outline_to_runs
from shared.labelstudio.regions.brush_rle import decode_mask, encode_runs
from shared.labelstudio.regions.brushes import painted_outline
from tests.samples.shapes import Mask


def encode(mask: Mask) -> list[int]:
    height, width = mask.shape
    return encode_runs(*outline_to_runs(mask_to_outline(mask), width, height), width * height)


def striped(width: int, height: int, *lengths: int) -> Mask:
    mask = np.zeros(width * height, dtype=np.bool_)
    ends = np.cumsum(lengths)
    for begin, end in zip(ends[0::2], ends[1::2], strict=False):
        mask[begin:end] = True
    return mask.reshape(height, width)


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_the_code_is_that_of_the_sdk(mask: Mask) -> None:
    ours, theirs = encode(mask), mask2rle(mask.astype(np.uint8) * 255)
    assert decode_rle(ours).tolist() == np.repeat(mask.reshape(-1) * 255, 4).tolist()
    assert theirs[: len(ours)] == ours  # theirs may end in one more byte of zeros
    assert theirs[len(ours) :] in ([], [0])


@pytest.mark.parametrize(
    "mask",
    [striped(300, 400, *lengths) for lengths in ((1, 2, 2, 4, 5, 63), (64, 65, 16_383), (16_384, 16_385), (1, 119_999))]
    + [striped(1, 1), striped(1, 1, 0, 1), striped(300, 400), striped(300, 400, 0, 120_000)],
)
def test_runs_around_the_sizes_of_counts(mask: Mask) -> None:
    ours, theirs = encode(mask), mask2rle(mask.astype(np.uint8) * 255)
    assert len(ours) <= len(theirs)  # of a run of 65,537 the SDK codes the last one with 16 bits
    height, width = mask.shape
    decoded = decode_mask(ours, width, height)
    assert decoded is not None
    assert (decoded == mask).all()


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 9)), min_size=1, max_size=30))
def test_a_pixel_is_painted_unless_it_is_wholly_transparent(runs: list[tuple[int, int]]) -> None:
    alpha = np.concatenate([np.full(count, value, dtype=np.uint8) for value, count in runs])
    colours = np.zeros((len(alpha), 4), dtype=np.uint8)
    colours[:, 0], colours[:, 3] = 7, alpha
    decoded = decode_mask(encode_rle(colours.reshape(-1)), len(alpha), 1)
    assert decoded is not None
    assert decoded.tolist() == [(alpha > 0).tolist()]


@given(st.data())
def test_any_code_is_read_as_the_sdk_reads_it(data: st.DataObject) -> None:
    """As Label Studio's page writes it: also different words in one run, and counts of other sizes."""
    pixels = 64
    sizes = data.draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    bits = f"{pixels * 4:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    left = pixels * 4
    while left:
        which = data.draw(st.integers(0, 3))
        count = data.draw(st.integers(1, min(left, 1 << sizes[which])))
        repeated = data.draw(st.booleans())
        words = data.draw(
            st.lists(st.integers(0, 255), min_size=1 if repeated else count, max_size=1 if repeated else count)
        )
        bits += f"{repeated:b}{which:02b}{count - 1:0{sizes[which]}b}" + "".join(f"{word:08b}" for word in words)
        left -= count
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
    decoded = decode_mask(code, 8, 8)
    assert decoded is not None
    assert decoded.reshape(-1).tolist() == (decode_rle(code).reshape(-1, 4)[:, 3] > 0).tolist()


GOOD = encode(striped(30, 20, 100, 50, 200, 7))


@pytest.mark.parametrize("end", range(len(GOOD)))
def test_a_code_that_is_cut_off_is_refused(end: int) -> None:
    assert decode_mask(GOOD[:end], 30, 20) is None


@pytest.mark.parametrize("height", [19, 21, 40])
def test_the_code_of_another_size_of_image_is_refused(height: int) -> None:
    assert decode_mask(encode(striped(30, height, 570, 30)), 30, 20) is None
    assert decode_mask(encode(striped(30, height, 600, 600)), 30, 20) is None


def header(count: int, word: int = 8) -> list[int]:
    bits = f"{count:032b}{word - 1:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16))
    return [*int(bits + "000", 2).to_bytes(7, "big")]


@pytest.mark.parametrize(
    "rle",
    [
        None,
        "0" * 99,
        b"",
        {"a": 1},
        [],
        [1.5] * 99,
        ["1"] * 99,
        [-1] * 99,
        [256] * 99,
        [[1]] * 99,
        header(2**32 - 1) + [255] * 4000,
        header(2400, word=32) + [255] * 4000,
        header(2400, word=1) + [0] * 4000,
        header(2400) + [0b01100000] + [255] * 40,
        [0] * 2_000_001,
    ],
    ids=lambda rle: str(rle)[:60],
)
def test_hostile_codes_are_refused_or_stay_small(rle: Any) -> None:
    tracemalloc.start()
    decoded = decode_mask(rle, 30, 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decoded is None or decoded.shape == (20, 30)
    assert peak < 10_000_000


@pytest.mark.parametrize(
    "size",
    [
        (2**31, 2**31),
        (0, 20),
        (-30, -20),
        (30.0, 20.0),
        ("30", "20"),
        (None, None),
        (True, True),
        (4000, 2500),
        ([], {}),
    ],
)
def test_hostile_sizes_are_refused_before_anything_is_decoded(size: tuple[Any, Any]) -> None:
    across, down = size
    region = {"value": {"rle": GOOD}, "original_width": across, "original_height": down}
    tracemalloc.start()
    assert painted_outline([region], 30, 20) == ()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000
