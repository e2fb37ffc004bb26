"""`make demo`, whole: a real Label Studio, the real functions and jobs, real trainings, and work saved."""

import json
import socket
import subprocess
import sys
from pathlib import Path


def test_the_demo_saves_work_and_ends_with_a_clearly_better_model(tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    command = [
        sys.executable,
        "-m",
        "infra.demo.main",
        "--exit",
        "--tasks",
        "14",  # of 24: runs at 5 and 10. What is learnt from five alone is not always worth showing
        "--report",
        str(report_file),
        "--folder",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    report = json.loads(report_file.read_text())
    before, after = report["before"], report["after"]
    assert after["map50"] > before["map50"] + 0.1
    assert after["precision"] > before["precision"]
    assert after["recall"] > before["recall"]
    assert after["work"] < before["work"], "the annotator has more to do than without a model"

    rounds, runs = report["rounds"], report["runs"]
    assert [each["tasks"] for each in rounds] == [5, 5, 4], "the first run is due after five tiles, the next after ten"
    assert rounds[0]["version"] == "label:base-ABD"
    shown = "label:base-ABD"
    for number, (run, round_) in enumerate(zip(runs, rounds[1:], strict=True), 1):
        assert f"started run {run['run_id']}" in done.stdout.replace("\n", " ")
        shown = f"label:v{number}" if run["outcome"] == "promoted" else shown
        assert round_["version"] == shown, "its predictions were there when the annotator went on"
    assert report["version"] == shown != "label:base-ABD"
    assert report["asked"] <= 1, "but for the question of `connect`, nobody asked predict: predictions were there"

    effort = report["effort"]
    assert effort["tasks"] == report["work"]["tasks"] == sum(each["tasks"] for each in rounds)
    assert effort["left_out"] == {}
    read = {each["version"]: each for each in effort["versions"]}
    for version in {each["version"] for each in rounds}:
        mine = [each for each in rounds if each["version"] == version]
        of_version = read[version.removeprefix("label:")]
        edits = sum(of_version[kind] for kind in ("moved", "relabelled", "deleted", "added"))
        assert edits == sum(each["edits"] for each in mine), "Label Studio's records tell what the annotator did"
    last = read[rounds[-1]["version"].removeprefix("label:")]
    assert last["recall"] >= 0.3, "of trees on tiles that it never saw; in two plays 0.51 and 0.64"
    assert report["work"]["with"] < report["work"]["without"]
    assert effort["saved_of_everything"] > 0

    pictures = sorted(path.name for path in Path(report["pictures"]).iterdir())
    assert len(pictures) == report["held_out"]["samples"] + 1
    assert "overview.png" in pictures
    assert not any(_still_listening(line) for line in done.stdout.split() if line.startswith("http://127.0.0.1:"))


def _still_listening(url: str) -> bool:
    host, _, port = url.strip(",").removeprefix("http://").partition("/")[0].partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0
