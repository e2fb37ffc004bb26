"""The self-test accepts good stores, refuses bad ones, and removes its objects."""

import pytest

from shared.errors import StoreError, UnsafeStore
from shared.objectstore import ObjectStore
from shared.objectstore.selftest import ensure_checked
from tests.fakes.stores import (
    AnswersOldReads,
    Around,
    LooksThenCreates,
    LooksThenReplaces,
    OverwritesOnCreate,
    OverwritesOnReplace,
    RefusesAfterWriting,
    RevivesOnReplace,
    Unreachable,
)


@pytest.mark.parametrize(
    ("planted", "told"),
    [
        (OverwritesOnCreate, "`create` overwrite"),
        (RefusesAfterWriting, "`create` overwrite"),
        (OverwritesOnReplace, "`replace` overwrite a newer"),
        (RevivesOnReplace, "`replace` write an object that was deleted"),
        (LooksThenCreates, "8 writers that used `create` at the same time 8 won"),
        (LooksThenReplaces, "8 writers that used `replace` at the same time 8 won"),
        (AnswersOldReads, "old bytes"),
    ],
)
def test_a_bad_store_is_refused_by_name(file_store: ObjectStore, planted: type[Around], told: str) -> None:
    with pytest.raises(UnsafeStore, match=told) as refusal:
        ensure_checked(planted(file_store))
    assert file_store.url in str(refusal.value)
    assert list(file_store.list("")) == [], "cleaned up, and no result kept"


def test_an_unreachable_store_is_not_called_unsafe(file_store: ObjectStore) -> None:
    with pytest.raises(StoreError) as failure:
        ensure_checked(Unreachable(file_store))
    assert not isinstance(failure.value, UnsafeStore)
