"""Which names are sides, and what that means for mirrored images."""

import pytest

from jobs.train.data.sides import mirrored_points, mirroring, sided


@pytest.mark.parametrize(
    ("names", "says_side"),
    [
        (("turn left", "turn right", "straight on"), ("turn left", "turn right")),
        (("left_eye", "nose"), ("left_eye",)),
        (("leftEye", "eyeRight"), ("leftEye", "eyeRight")),
        (("Left", "Other"), ("Left",)),
        (("LEFT_HAND", "RIGHT_HAND"), ("LEFT_HAND", "RIGHT_HAND")),
        (("l_hand", "r_hand", "tail"), ("l_hand", "r_hand")),
        (("L", "R"), ("L", "R")),
        (("L1", "L2", "R1"), ("L1", "R1")),
        (("HandL", "HandR"), ("HandL", "HandR")),
        (("turnleft", "turnright"), ("turnleft", "turnright")),
        (("right-handed", "x"), ("right-handed",)),
        (("port", "starboard"), ("port", "starboard")),
        (("clockwise", "counterclockwise"), ("clockwise", "counterclockwise")),
        (("←", "→"), ("←", "→")),
        pytest.param(("R", "PG"), (), id="a letter alone"),
        pytest.param(("port", "sea"), (), id="a harbour"),
        pytest.param(("bright", "upright", "copyright", "cleft"), (), id="parts of words"),
        pytest.param(("lock", "rock"), (), id="not a word of its own"),
        pytest.param(("", "Mail"), (), id="no name"),
    ],
)
def test_which_names_say_a_side(names: tuple[str, ...], says_side: tuple[str, ...]) -> None:
    assert tuple(sided(names)) == says_side


@pytest.mark.parametrize(
    ("names", "sides"),
    [
        (("links abbiegen", "rechts abbiegen"), "links,rechts"),
        (("Linksabbieger", "Rechtsabbieger"), "links, rechts"),
        (("请左转", "请右转"), "左,右"),
        (("oeil gauche", "oeil droit"), "links,rechts; gauche,droit"),
        (("g_main", "d_main"), "g,d"),
    ],
)
def test_words_of_other_languages_are_named_by_the_config(names: tuple[str, ...], sides: str) -> None:
    assert not sided(names)
    assert tuple(sided(names, sides)) == names
    assert mirrored_points(names, sides) == (1, 0)
    assert not sided(names, "no pair; ,; a,a")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("nose", "Left Eye", "right eye"), (0, 2, 1)),
        (("top left", "top right", "bottom right", "bottom left"), (1, 0, 3, 2)),
        (("left eye", "right eye", "l_ear", "r_ear"), (1, 0, 3, 2)),
        (("leftEye", "right_eye", "nose"), (1, 0, 2)),
        (("L", "R"), (1, 0)),
        pytest.param(("head", "tail"), None, id="no side is named: they may be corners"),
        pytest.param(("left eye", "nose"), None, id="a side without the other one"),
        pytest.param(("left eye", "right eye", "l_ear"), None, id="one side is not understood"),
        pytest.param(("copyright", "rightly"), None, id="parts of words"),
        pytest.param(("left", "LEFT", "right"), None, id="not to be told apart"),
    ],
)
def test_which_points_change_places_in_a_mirror(names: tuple[str, ...], order: tuple[int, ...] | None) -> None:
    assert mirrored_points(names) == order


def test_labels_that_say_sides_are_not_mirrored_unless_the_control_asks() -> None:
    turns = ("turn left", "turn right")
    off = mirroring(turns, fliplr=0.5, flipud=0.1)
    assert (off.fliplr, off.flipud) == (0.0, 0.0)
    assert off.why_not == "Images were not mirrored while training: 'turn left', 'turn right' say a side."
    asked = mirroring(turns, fliplr=0.5, flipud=0.0, asked=(0.5, None))
    assert (asked.fliplr, asked.flipud, asked.why_not) == (0.5, 0.0, "")
    assert mirroring(("Tree",), fliplr=0.5, flipud=0.1).fliplr == 0.5
    assert mirroring(("Tree",), fliplr=0.5, flipud=0.1, asked=(0.0, None)).fliplr == 0.0
    assert mirroring(("Tree",), fliplr=0.0, flipud=0.0).why_not == ""
    assert mirroring(turns, fliplr=0.0, flipud=0.0).why_not == "", "nothing was switched off by the names"


def test_a_pose_is_mirrored_if_its_points_are_understood_and_its_classes_are_no_sides() -> None:
    eyes = ("left eye", "right eye")
    assert mirroring(("Face",), eyes, fliplr=0.5, flipud=0.0).flip_idx == (1, 0)
    hands = mirroring(("left hand", "right hand"), eyes, fliplr=0.5, flipud=0.0)
    assert (hands.fliplr, bool(hands.why_not)) == (0.0, True)
    unclear = mirroring(("Ship",), ("nose", "tail"), fliplr=0.5, flipud=0.0, asked=(1.0, 1.0))
    assert (unclear.fliplr, unclear.flipud, unclear.flip_idx) == (0.0, 0.0, None)
    assert "points" in unclear.why_not
