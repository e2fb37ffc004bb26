"""The cache of values from a store that may be slow or down."""

import queue
import threading
import time

import pytest

from shared.errors import StoreError
from shared.web.last_known import LastKnown
from tests.fakes.threads import no_thread_can_be_started


class Reader:
    """Counts reads; fails while `broken`."""

    def __init__(self) -> None:
        self.reads = 0
        self.broken = False

    def __call__(self) -> int:
        self.reads += 1
        if self.broken:
            raise StoreError("gone")
        return self.reads


def test_last_known_values_are_read_again_when_they_are_old() -> None:
    read, fresh, old = Reader(), LastKnown[int](60), LastKnown[int](0)
    assert [fresh.get("a", read), fresh.get("a", read), fresh.get("b", read)] == [1, 1, 2]
    assert [old.get("a", read), old.get("a", read)] == [3, 4]
    fresh.expire("a")
    assert fresh.get("a", read) == 5
    fresh.put("a", 77)
    assert fresh.get("a", read) == 77


def test_while_reading_fails_the_last_known_value_is_answered() -> None:
    read, known = Reader(), LastKnown[int](0)
    read.broken = True
    with pytest.raises(StoreError, match="gone"):
        known.get("a", read)
    read.broken = False
    assert known.get("a", read) == 2
    read.broken = True
    assert known.get("a", read) == 2


def test_one_thread_reads_for_all() -> None:
    entered, leave, known = threading.Event(), threading.Event(), LastKnown[int](60)
    reads: list[int] = []

    def read() -> int:
        entered.set()
        assert leave.wait(10)
        reads.append(1)
        return 7

    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(known.get("a", read))) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(10)
    assert known.get("b", lambda: 1) == 1  # another key does not wait
    leave.set()
    for thread in threads:
        thread.join(10)
    assert (found, reads) == ([7] * 8, [1])


def test_a_read_that_takes_long_is_not_waited_for_where_a_value_is_known() -> None:
    entered, leave, known = threading.Event(), threading.Event(), LastKnown[int](0, patience=0.05)
    reads: list[str] = []

    def hang(key: str) -> int:
        reads.append(key)
        entered.set()
        assert leave.wait(10)
        return 2

    for key in ("a", "b"):
        assert known.get(key, lambda: 1) == 1
    assert known.get("a", lambda: hang("a")) == 1
    assert entered.wait(10)
    assert [known.get("a", lambda: hang("a")) for _ in range(5)] == [1] * 5
    assert reads == ["a"], "one reader at a time"
    assert known.get("b", lambda: hang("b")) == 1  # nor for what lies in the same store
    leave.set()
    while known.get("a", lambda: 3) != 3:  # as soon as the store answers again
        pass


def test_a_first_read_is_waited_for() -> None:
    leave, known = threading.Event(), LastKnown[int](0, patience=0.01, first_patience=60)

    def slow() -> int:
        assert leave.wait(10)
        return 7

    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(known.get("a", slow)))
    asking.start()
    asking.join(0.1)
    assert asking.is_alive()
    leave.set()
    asking.join(10)
    assert found == [7]


def test_a_first_read_that_hangs_holds_nobody_and_is_known_once_it_is_there() -> None:
    leave, known = threading.Event(), LastKnown[int](60, first_patience=0.05)
    reads: list[int] = []

    def hang() -> int:
        reads.append(1)
        assert leave.wait(10)
        return 7

    for _ in range(3):
        with pytest.raises(StoreError, match="takes too long"):
            known.get("a", hang)
    leave.set()
    while known.last("a") is None:
        pass
    assert (known.get("a", hang), reads) == (7, [1])


@pytest.mark.parametrize("change", ["put", "expire"])
def test_a_read_that_began_before_a_change_does_not_undo_it(change: str) -> None:
    entered, leave, known = threading.Event(), threading.Event(), LastKnown[int](60, patience=0.01)
    known.put("a", 1)
    known.expire("a")

    def old() -> int:
        entered.set()
        assert leave.wait(10)
        return 2

    assert known.get("a", old) == 1
    assert entered.wait(10)
    if change == "put":
        known.put("a", 3)
    else:
        known.expire("a")
    leave.set()
    known._patience = 60.0  # on a busy machine also a read that does not hang takes more than a moment
    assert known.get("a", lambda: 3) == 3


def test_beyond_its_bound_the_value_that_was_read_longest_ago_is_forgotten() -> None:
    read, known = Reader(), LastKnown[int](60, max_keys=2)
    for key in ("a", "b"):
        known.get(key, read)
    known.put("a", 77)
    known.get("c", read)
    assert [known.last(key) for key in ("a", "b", "c")] == [77, None, 3]


def test_without_a_thread_to_give_no_read_hangs() -> None:
    read, known = Reader(), LastKnown[int](0)
    with no_thread_can_be_started(), pytest.raises(StoreError, match="can't start new thread"):
        known.get("a", read)
    assert known.get("a", read) == 1
    with no_thread_can_be_started():
        assert known.get("a", read) == 1
    assert known.get("a", read) == 2


def grown_old(known: LastKnown[int], seconds: float) -> None:
    """The value of "a" was read so long ago."""
    known._readings["a"] = known._readings["a"]._replace(at=time.monotonic() - seconds)


def test_what_is_read_ahead_makes_the_same_value_young_and_only_tells_of_another() -> None:
    known, value = LastKnown[int](60), 1
    came, read = queue.Queue[int](), queue.Queue[int]()

    def store() -> int:
        read.put(value)
        return value

    assert known.get("a", store) == read.get(timeout=10) == 1
    known.look_ahead("a", store, came.put)  # it is young
    grown_old(known, 40)
    known.look_ahead("a", store, came.put)
    assert read.get(timeout=10) == 1
    while known._readings["a"].at < time.monotonic() - 30:  # until that thread has kept it
        time.sleep(0.001)
    known.look_ahead("a", store, came.put)
    grown_old(known, 40)
    value = 2
    for _ in range(3):
        known.look_ahead("a", store, came.put)
    assert came.get(timeout=10) == 2
    assert known.get("a", store) == 1
    grown_old(known, 61)
    known.look_ahead("a", store, came.put)  # too late
    assert known.get("a", store) == 2
    assert [read.get(timeout=10) for _ in range(2)] == [2, 2]
    assert read.empty()
    assert came.empty()


@pytest.mark.parametrize("error", [StoreError("gone"), ValueError("no record")])
def test_a_failure_ahead_changes_nothing(error: Exception) -> None:
    known, read, failed = LastKnown[int](60), Reader(), threading.Event()

    def fail() -> int:
        failed.set()
        raise error

    assert known.get("a", read) == 1
    grown_old(known, 40)
    known.look_ahead("a", fail, lambda _: pytest.fail("it came"))
    assert failed.wait(10)
    assert known.get("a", read) == 1
