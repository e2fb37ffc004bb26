"""Values of tags for a task; the expected ones were taken from the code of Label Studio 1.23.2's editor."""

from collections.abc import Iterator
from typing import Any

import pytest

from shared.errors import ImageError
from shared.labelstudio.task_values import file_of, has_variable, value_of

DATA: dict[str, Any] = {
    "image": "a.jpg",
    "page": {"image": "b.jpg", "deep": {"er": ["c.jpg"]}},
    "pages": ["0.jpg", {"image": "1.jpg"}, [["2.jpg"]]],
    "base": "https://host",
    "number": 7,
    "whole": 2.0,
    "half": 0.5,
    "yes": True,
    "nothing": None,
    "a.b": "a key with a dot",
    "name": "d",
    "odd": {"key with space": "e.jpg", "": "f.jpg"},
    "broken": "\ud800.jpg",
}


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("$image", "a.jpg"),
        ("$page.image", "b.jpg"),
        ("$page[image]", "b.jpg"),
        ("$page.deep.er[0]", "c.jpg"),
        ("$pages[0]", "0.jpg"),
        ("$pages.0", "0.jpg"),
        ("$pages[1].image", "1.jpg"),
        ("$pages[2][0][0]", "2.jpg"),
        ("$a.b", "a key with a dot"),
        ("https://host/$image", "https://host/a.jpg"),
        ("https://host/$page.image?x=1", "https://host/b.jpg?x=1"),
        ("$base/$name", "https://host/d"),
        ("$base/$name-small.jpg", "https://host/d-small.jpg"),
        ("s3://bucket/$number/$whole/$half/$yes", "s3://bucket/7/2/0.5/true"),
        ("$image$image", "a.jpga.jpg"),
    ],
)
def test_addresses(written: str, address: str) -> None:
    assert has_variable(written)
    assert file_of(written, DATA, 1) == address


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("$gone", "there is no 'gone'"),
        ("$page", "'page' is an object, not the address of a file"),
        ("$pages", "'pages' is a list: several files in one tag are not served"),
        ("$nothing", "'nothing' is empty, not the address of a file"),
        ("$number", "'number' is a number, not the address of a file"),
        ("$page.gone", "there is no 'page.gone', 'page' is an object"),
        ("$page.deep.er[1]", "there is no 'page.deep.er[1]', 'page.deep.er' is a list of 1"),
        ("$pages[3]", "there is no 'pages[3]', 'pages' is a list of 3"),
        ("$pages[-1]", "'pages[' is a list of 3, not a text"),
        ("$pages[00]", "there is no 'pages[00]', 'pages' is a list of 3"),
        ("$pages.length", "there is no 'pages.length', 'pages' is a list of 3"),
        ("$pages[]", "there is no 'pages[]', 'pages' is a list of 3"),
        ("$image[0]", "there is no 'image[0]', 'image' is a text"),
        ("$image.length", "there is no 'image.length', 'image' is a text"),
        ("$image.__class__", "there is no 'image.__class__'"),
        ("$base/$name.jpg", "there is no 'name.jpg', 'name' is a text"),
        ("https://host/$gone", "there is no 'gone'"),
        ("https://host/$nothing", "'nothing' is empty, not a text"),
        ("https://host/$page", "'page' is an object, not a text"),
        ("$broken", "'broken' is not a text that can be sent"),
        ("$" + "pages[2]" + "[0]" * 300, "is a text"),
    ],
)
def test_what_a_task_lacks_is_named(written: str, words: str) -> None:
    with pytest.raises(ImageError) as caught:
        file_of(written, DATA, 12)
    assert caught.value.reason == "no_data"
    assert f'the data of task 12 has nothing for value="{written}": ' in str(caught.value)
    assert words in str(caught.value)


class Inline(str):
    """An image inside a task: millions of characters, too many for a look at each in Python."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("read character by character")


def test_a_whole_image_is_not_read_character_by_character() -> None:
    assert file_of("$image", {"image": Inline("data:image/png;base64,aGVsbG8=")}, 1) == "data:image/png;base64,aGVsbG8="


def test_long_values_are_filled_in_once() -> None:
    data = {"picture": "A" * 3_000_000, "other": "B" * 3_000_000, "name": "a"}
    assert len(file_of("data:image/$name;base64,$picture", data, 1)) == 3_000_020
    for written in ("$picture" * 100, "$picture$other", "$picture/$picture"):
        with pytest.raises(ImageError, match="too long for an address"):
            file_of(written, data, 1)


@pytest.mark.parametrize("written", ["", "$", "fixed.png", "$-", "$图", "100 $ each"])
def test_without_a_variable_it_is_a_text(written: str) -> None:
    assert not has_variable(written)
    assert value_of(written, DATA) == written
