"""The page: who may see it, what it shows of the store, and that nothing from outside becomes markup."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from functions.train_trigger.ui.pages import Pages
from shared.evolve import evolve
from shared.state import claims, keys, launches
from shared.state.deletion import delete_version
from shared.state.effort import CountedEffort, VersionEffort, write_effort
from shared.state.jobs import Jobs
from shared.state.jobs_record import JobsRecord
from shared.state.projects import write_project
from shared.state.registry import Registry
from shared.state.rollback import move_pointer
from shared.state.runs import Baseline, Totals
from shared.state.suspects import SUSPECTS, dismiss, newest_first, read_suspects
from tests.fakes.http_requests import RIGHT
from tests.fakes.stores import CountsTrips, Unreachable
from tests.fakes.trigger_parts import UID, World
from tests.fakes.ui_parts import PREFIX, SETTINGS, TOKEN, Browser, seen, world_with
from tests.samples.shown_projects import AIRSHIPS, EMPTY, TREES, TREES_CONFIG, fill, manifest, publish
from tests.samples.suspects_made import suspect, with_suspects

LABEL_STUDIO = SETTINGS["LABEL_STUDIO_URL"]
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202e{{ 7*123457 }}"
PAGES = (
    "/ui",
    "/ui/",
    "/ui/project",
    "/ui/control",
    "/ui/report",
    "/ui/suspects",
    "/ui/train",
    "/ui/rollback",
    "/ui/prelabel",
    "/ui/stop",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return world_with(tmp_path)


@pytest.fixture
def filled(world: World) -> World:
    fill(world.store)
    return world


def test_every_page_and_every_form_needs_credentials(filled: World) -> None:
    outside = {"HOST": "0.0.0.0", "LABELLOOP_BASIC_AUTH_PASSWORD": "pass word", "LABELLOOP_WEBHOOK_SECRET": "secret"}
    browser = Browser(filled, **outside)
    for path in (*PAGES, "/ui/style.css", "/ui/refresh.js", "/ui/icon.svg"):
        refused = browser.get(path, project=TREES)
        assert (refused.status_code, "Basic" in refused.headers["WWW-Authenticate"]) == (401, True), path
    for path in ("/ui/train", "/ui/rollback", "/ui/prelabel", "/ui/stop", "/ui/stop-writing"):
        assert browser.post(path, {"X-Labelloop-Secret": "secret"}, project=TREES).status_code == 401
    assert browser.get("/ui", RIGHT).status_code == 200


def test_what_the_projects_show(filled: World) -> None:
    text = seen(Browser(filled).get("/ui")).text
    assert "Trees of Yellowstone" in text
    assert "A training is running: label, epoch 18 of 50" in text
    assert "label detect v10" in text
    assert "Last run 20261124-161000-77aa31c9: failed 3 d ago, 2 failed in a row, 20 of 39 images are gone" in text
    assert "Disconnected:" in text
    assert "base weights" in text


def test_an_empty_store_says_what_to_do(world: World) -> None:
    assert "labelloop up --project N" in seen(Browser(world).get("/ui")).text


def test_projects_come_in_pages(world: World) -> None:
    for number in range(10, 35):
        write_project(world.store, f"{number}.1790000000", label_config=TREES_CONFIG, title=f"Project {number}")
    browser, found, page = Browser(world), list[str](), f"{PREFIX}/ui"
    answer = browser.get("/ui")
    while True:
        found += [str(link["href"]) for link in seen(answer).all("a") if "project=" in str(link["href"])]
        more = [str(link["href"]) for link in seen(answer).all("a") if "after=" in str(link["href"])]
        if not more:
            break
        page, answer = browser.follow(page, more[0])
    assert len(found) == len(set(found)) == 25


def test_what_a_project_shows_while_it_trains(filled: World) -> None:
    page = seen(Browser(filled).get("/ui/project", project=TREES))
    for said in (
        "A training is running: label, epoch 18 of 50",
        "12 min to go",
        "mAP50 0.671 on the val set (31 tasks, 287 boxes)",
        "its log: /srv/labelloop/logs/20261127-081502-5d0e9f3a.1.log",
        "Predictions of label:v10 were written 5 h ago, 2 tasks have none",
        "Serves v10",
        "Labels: Tree, Dead tree, Shrub",
        "Left out of the newest version: 3 of 143 tasks were left out",
        "label: it is not clear whether the next 100 tasks are worth it",
        "v9: 0.386",
        "81%",
        "14 min 0.18 EUR",
    ):
        assert said in page.text, said
    (progress,) = page.all("progress")
    assert (progress["max"], progress["value"]) == ("50", "18")
    assert len(page.all("svg")) == 2
    assert "(UTC), at" not in page.text
    priced = seen(Browser(filled, LABELLOOP_PRICE_PER_HOUR="0.80 EUR").get("/ui/project", project=TREES)).text
    assert "Jobs ran 21 min (0.28 EUR) today, 21 min (0.28 EUR) this month (UTC), at 0.80 EUR an hour" in priced
    assert "train?" not in " ".join(page.links()), "a run is active"


def test_how_far_the_next_training_is(world: World) -> None:
    write_project(world.store, UID, label_config=TREES_CONFIG)
    world.label_studio.annotations = 3
    browser = Browser(world)
    for path in ("/ui", "/ui/project"):
        assert "Next training: 3 of 5 annotated tasks" in seen(browser.get(path, project=UID)).text
    asked = world.label_studio.asked
    browser.get("/ui/project", project=UID)
    assert world.label_studio.asked == asked, "it is asked once in ten seconds, however many people look"


def test_a_renamed_label_is_said_before_the_next_run(world: World) -> None:
    def counted(record: JobsRecord, now: datetime) -> JobsRecord:
        labels = {"label": {"Tree": 21, "Shrub": 2}}
        return evolve(record, baseline=Baseline(totals=Totals(), read_at=now, labels=labels))

    Jobs(world.store, UID).update(counted)
    write_project(world.store, UID, label_config=TREES_CONFIG.replace('"Tree"', '"tree crown"'))
    page = seen(Browser(world).get("/ui/project", project=UID))
    assert "21 annotated tasks hold 'Tree', which is not in the labeling config of 'label'" in page.text
    assert "rename it back, or write alias='Tree' to the <Label> that it is called now" in page.text
    assert "Annotated tasks with tree crown: none, Dead tree: none, Shrub: 2; not in the labeling config:" in page.text


def test_the_policy_in_force(world: World) -> None:
    overrides = {"min_annotations": 50, "longest_run": 90_000.0}
    write_project(world.store, UID, label_config=TREES_CONFIG, overrides=overrides)
    text = seen(Browser(world, LABELLOOP_COOL_DOWN="60").get("/ui/project", project=UID)).text
    for said in (
        "Next training: 20 of 50 annotated tasks",
        "min_annotations 50 tasks project",
        "cool_down 60 s environment",
        "longest_run 21600 s (6 h) the project asks for 90000 s (25 h), the operator allows at most this default",
        "label: Dead tree 0.25 default 0.70 default",
        "A new version is served if it finds something right",
    ):
        assert said in text, said


def test_a_label_studio_that_hangs_holds_up_no_page(world: World) -> None:
    write_project(world.store, UID, label_config=TREES_CONFIG)
    world.label_studio.reachable.clear()
    browser = Browser(world)
    text = seen(browser.get("/ui/project", project=UID)).text
    assert "Next training: at 5 annotated tasks (how many there are is not known: Label Studio has not answered" in text
    world.label_studio.reachable.set()


def test_what_the_store_tells_of_doctors_findings(filled: World) -> None:
    browser = Browser(filled)
    text = seen(browser.get("/ui/project", project=AIRSHIPS)).text
    assert "<TextArea> 'remark' is not served" in text
    assert "v1 of 'outline' is of an older labelloop" not in text
    assert "the base weights" not in text
    write_project(filled.store, EMPTY, label_config=TREES_CONFIG.replace("RectangleLabels", "KeyPointLabels"))
    assert (
        "base weights yolo11n-pose.pt of 'label' are not in the store"
        in seen(browser.get("/ui/project", project=EMPTY)).text
    )


def test_old_versions_are_a_page_each_24(world: World) -> None:
    for number in range(1, 61):
        publish(world.store, TREES, "label", manifest(number, world.store.now(), reason=f"reason {number}."))
    browser = Browser(world)
    first = seen(browser.get("/ui/control", project=TREES, control="label"))
    assert "60 versions" in first.text
    assert "reason 60." in first.text
    assert "reason 37." in first.text
    assert "reason 36." not in first.text
    _, answer = browser.follow(f"{PREFIX}/ui/control", next(link for link in first.links() if "before=37" in link))
    assert "reason 36." in answer.text
    assert "All 60 versions" in seen(browser.get("/ui/project", project=TREES)).text


ACTIONS = ("train", "rollback", "prelabel", "stop", "stop-writing")
"""What forms are sent to."""


def test_every_link_works_below_a_prefix_too(filled: World) -> None:
    browser = Browser(filled)
    known, left = set[str](), [(f"{PREFIX}/ui", "ui"), (f"{PREFIX}/ui", "ui/")]
    while left:
        address, answer = browser.follow(*left.pop())
        if address in known:
            continue
        known.add(address)
        assert answer.status_code == 200, address
        if answer.mimetype == "text/html" and "/report?" not in address:
            ours = [link for link in seen(answer).links() if not link.startswith(f"{LABEL_STUDIO}/projects/")]
            left += [(address, link) for link in ours if link not in ACTIONS]
    assert {path.partition("?")[0].removeprefix(PREFIX) for path in known} == {
        *PAGES,
        *("/ui/style.css", "/ui/refresh.js", "/ui/icon.svg"),
    }


def hostile_world(world: World) -> Iterator[str]:
    config = TREES_CONFIG.replace('"label"', "'x'").replace("Tree", "&lt;b&gt;Tree&lt;/b&gt;")
    write_project(world.store, TREES, label_config=config, title=HOSTILE)
    for control in (HOSTILE, "../../x"):
        labels = (HOSTILE,)
        for number in (1, 2):
            made = manifest(
                number, world.store.now(), control=control, labels=labels, reason=HOSTILE, remarks=HOSTILE,
                against=HOSTILE, champion=0.1,
            )  # fmt: skip
            said = suspect(1, HOSTILE, label=HOSTILE, found=HOSTILE, reason=HOSTILE)
            publish(world.store, TREES, control, with_suspects(world.store, TREES, made, said))
    jobs = Jobs(world.store, TREES)
    claim = jobs.update(claims.take, "run", lifetime=600, registry_fence=10**6).held
    jobs.update(launches.record_job, claim, HOSTILE, logs=f"javascript:alert(1)//{HOSTILE}")
    yield from ("/ui", f"/ui/project?project={TREES}")
    yield f"/ui/control?project={TREES}&control=..%2F..%2Fx"
    yield f"/ui/rollback?project={TREES}&control=..%2F..%2Fx&version=1"
    yield f"/ui/suspects?project={TREES}&control=..%2F..%2Fx"
    yield f"/ui/project?project={HOSTILE.replace('&', '')}"


def test_what_is_worth_a_look(filled: World) -> None:
    browser = Browser(filled)
    project = seen(browser.get("/ui/project", project=TREES))
    assert "3 annotations worth a look in the tasks that the newest version was not trained on" in project.text
    page = seen(browser.get("/ui/suspects", project=TREES, control="label"))
    assert "3 annotations that v10 disputes" in page.text
    assert "It judged the 20 of 100 annotated tasks that it was not trained on" in page.text
    assert "swapped Tree is annotated here, and the model finds Dead tree 61 %, 12 %" in page.text
    links = [str(link["href"]) for link in page.all("a")]
    assert f"{LABEL_STUDIO}/projects/7/data?task=1204" in links

    registry = Registry(filled.store, TREES)
    listed = read_suspects(filled.store, TREES, "label", newest_first(registry, "label"))
    assert listed
    dismiss(filled.store, TREES, "label", listed.open[:2])
    assert "1 annotation worth a look" in seen(browser.get("/ui/project", project=TREES)).text
    dismiss(filled.store, TREES, "label", listed.open[2:])
    assert "worth a look" not in seen(browser.get("/ui/project", project=TREES)).text
    assert (
        "0 annotations that v10 disputes, 3 dismissed"
        in seen(browser.get("/ui/suspects", project=TREES, control="label")).text
    )
    assert browser.get("/ui/suspects", project=AIRSHIPS, control="outline").status_code == 404


def test_a_damaged_list_takes_nothing_else_from_the_page(filled: World) -> None:
    (entry,) = (each for each in Registry(filled.store, TREES).manifest("label", 10).files if each.name == SUSPECTS)
    filled.store.put(keys.file(TREES, "label", entry.sha256, entry.name), b"{")
    project = Browser(filled).get("/ui/project", project=TREES)
    assert (project.status_code, "3 annotations worth a look" in seen(project).text) == (200, True)


def test_what_a_deleted_version_disputed_is_not_counted(world: World) -> None:
    for number, lists in ((1, 1), (2, 2)):
        said = [suspect(task) for task in range(lists)]
        made = with_suspects(world.store, TREES, manifest(number, world.store.now()), *said)
        publish(world.store, TREES, "label", made)
    browser = Browser(world)
    assert "2 annotations worth a look" in seen(browser.get("/ui/project", project=TREES)).text
    move_pointer(world.store, TREES, "label", 1)
    delete_version(world.store, TREES, "label", 2)
    assert "1 annotation worth a look" in seen(browser.get("/ui/project", project=TREES)).text
    assert "1 annotation that v1 disputes" in seen(browser.get("/ui/suspects", project=TREES, control="label")).text


def test_nothing_from_outside_becomes_markup(world: World) -> None:
    browser = Browser(world)
    for path in hostile_world(world):
        page = seen(browser.get(path))
        assert [str(script["src"]).partition("?")[0] for script in page.all("script")] in (
            ["refresh.js"], ["ui/refresh.js"],
        ), path  # fmt: skip
        assert all(str(image["src"]).endswith(tuple("0123456789abcdef")) for image in page.all("img")), path
        assert "864199" not in page.text, path
        assert "\u202e" not in page.text, path
        for tag, attributes in page.elements:
            assert not [name for name in attributes if name.startswith("on") or name == "style"], (path, tag)
            assert "javascript:" not in str(attributes.get("href", "")), path
    assert "<script>alert(1)</script>" in seen(browser.get("/ui", project=TREES)).text


def test_a_browser_may_load_nothing_from_elsewhere_and_run_nothing_inline(filled: World) -> None:
    answer = Browser(filled).get("/ui/project", project=TREES)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not seen(answer).all("style")


def test_a_report_is_shown_in_a_sandbox_and_only_as_it_was_written(filled: World) -> None:
    browser, asked = Browser(filled), {"project": TREES, "control": "label", "version": 3}
    answer = browser.get("/ui/report", **asked)
    assert (answer.status_code, "a new version" in answer.text) == (200, True)
    assert answer.headers["Content-Security-Policy"].endswith("sandbox")
    (entry,) = (each for each in Registry(filled.store, TREES).manifest("label", 3).files if each.name == "report.html")
    filled.store.put(keys.file(TREES, "label", entry.sha256, entry.name), b"something else")
    assert browser.get("/ui/report", **asked).status_code == 404
    assert browser.get("/ui/report", **asked | {"version": 77}).status_code == 404


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/ui/project", {}, 400),
        ("/ui/project", {"project": "../../etc"}, 400),
        ("/ui/project", {"project": "7.1"}, 404),
        ("/ui/control", {"project": TREES, "control": "no"}, 404),
        ("/ui/control", {"project": TREES, "control": "label", "before": "x"}, 400),
        ("/ui/rollback", {"project": TREES, "control": "no", "version": "1"}, 404),
        ("/ui/rollback", {"project": TREES, "control": "label", "version": "77"}, 404),
        ("/ui/rollback", {"project": TREES, "control": "label"}, 400),
        ("/ui/report", {"project": TREES, "control": "label"}, 400),
        *((f"/ui/{page}", {"project": TREES, "version": "1"}, 400) for page in ("control", "report", "suspects")),
        ("/ui/report", {"project": TREES, "control": "label", "version": "-1"}, 400),
        ("/ui/report", {"project": TREES, "control": "label", "version": "٣"}, 400),
        ("/ui/control", {"project": TREES, "control": "../" * 2000}, 503),
        ("/ui/control", {"project": TREES, "control": "\0"}, 404),
        ("/ui/project", {"project": f"{TREES}/../8.1791000000"}, 400),
    ],
)
def test_what_is_not_there_is_a_page_too(filled: World, path: str, query: dict[str, str], status: int) -> None:
    answer = Browser(filled).get(path, **query)
    assert (answer.status_code, answer.mimetype) == (status, "text/html")


def test_a_version_that_is_no_record_is_named_and_the_others_are_shown(filled: World) -> None:
    filled.store.put(keys.manifest(TREES, "label", 3), b"{")
    browser = Browser(filled)
    for path, query in (("/ui/project", {}), ("/ui/control", {"control": "label"})):
        answer = browser.get(path, project=TREES, **query)
        page = seen(answer)
        assert answer.status_code == 200
        assert "A record cannot be read: projects/7.1790000000/models/label/versions/000003.json" in page.text
        assert "v10" in page.text


@pytest.mark.parametrize("pointer", [True, False])
def test_a_control_of_which_nobody_knows_what_is_served_hides_nothing_else(filled: World, *, pointer: bool) -> None:
    key = keys.pointer(AIRSHIPS, "outline") if pointer else keys.manifest(AIRSHIPS, "outline", 1)
    filled.store.put(key, b"{")
    browser = Browser(filled)
    page = seen(browser.get("/ui/project", project=AIRSHIPS)).text
    assert f"Serves v{'?' if pointer else '1'}, which cannot be read" in page
    assert f"A record cannot be read: {key} in " in page
    assert "No version yet" not in page
    assert "weather: Clear 0.25" in page, "the policy of the other control"
    assert "outline: Airship" not in page, "nobody knows what it chose"
    assert "outline segment v" in seen(browser.get("/ui")).text
    assert key in seen(browser.get("/ui/control", project=AIRSHIPS, control="outline")).text
    served = browser.press("/ui/rollback", project=AIRSHIPS, control="outline", version=1)
    assert served.status_code == 503
    assert key in served.text


def test_damaged_base_weights_are_not_called_missing(filled: World) -> None:
    key = keys.base_weights("yolo11n.pt")
    filled.store.put(key, b"")
    page = seen(Browser(filled).get("/ui/project", project=EMPTY)).text
    assert "Nothing is predicted for label: the record of its base weights cannot be read" in page
    assert f"A record cannot be read: {key} in " in page
    assert "labelloop base add" not in page


@pytest.mark.parametrize(
    "lineage",
    [{"taken_up": {"kept": "many"}}, {"tasks": {"train": "many", "val": 1}}, {"seconds": "?", "price_per_hour": 1}],
)
def test_a_lineage_of_another_shape_is_left_out(filled: World, lineage: dict[str, object]) -> None:
    newest = Registry(filled.store, TREES).manifest("label", 10)
    told = evolve(newest, lineage=newest.lineage | {"taken_up": None} | lineage)
    filled.store.put(keys.manifest(TREES, "label", 10), told.to_json())
    answer = Browser(filled).get("/ui/project", project=TREES)
    assert (answer.status_code, "v10" in answer.text, "Predictions taken up" in answer.text) == (200, True, False)


@pytest.mark.parametrize(
    ("smart", "said"), [({}, "20% drawn."), ({"smart": 0}, "20% drawn."), ({"smart": 10}, "10% drawn by hand, 50% by")]
)
def test_what_became_of_predictions_is_told(filled: World, smart: dict[str, int], said: str) -> None:
    newest = Registry(filled.store, TREES).manifest("label", 10)
    made = {"version": "v9", "annotations": 3, "kept": 6, "changed": 2, "drawn": 2} | smart
    told = evolve(newest, lineage=newest.lineage | {"taken_up": made})
    filled.store.put(keys.manifest(TREES, "label", 10), told.to_json())
    assert said in Browser(filled).get("/ui/project", project=TREES).text


def test_what_predictions_saved_is_told_once_it_was_counted(filled: World) -> None:
    browser = Browser(filled)
    filled.store.delete(keys.effort(TREES))
    assert "Work saved" not in browser.get("/ui/project", project=TREES).text
    counts: Any = {"images": 40, "kept": 9, "moved": 1, "relabelled": 0, "deleted": 0, "added": 2, "final": 12}
    of_v10 = VersionEffort(control="label", version="v10", saved=0.2249, **counts)
    for saved, said in ((0.2249, "predictions of v10 saved 22% of the work"), (-0.1, "predictions of v10 cost 10% of")):
        versions = (evolve(of_v10, saved=saved), evolve(of_v10, version="v9"), evolve(of_v10, version="<b>"))
        write_effort(
            filled.store, TREES, CountedEffort(counted_at=filled.store.now(), tasks=40, saved=0.1, versions=versions)
        )
        assert said in browser.get("/ui/project", project=TREES).text
    filled.store.put(keys.effort(TREES), b"{}")
    answer = browser.get("/ui/project", project=TREES)
    assert (answer.status_code, "Work saved" in answer.text) == (200, False)


@pytest.mark.parametrize("name", ["progress", "writing"])
def test_a_progress_that_is_no_record_takes_nothing_else_away(filled: World, name: str) -> None:
    jobs = Jobs(filled.store, TREES, prelabelling=True)
    jobs.update(claims.take, "ahead", lifetime=600, kind="prelabel", forced=True)
    run = Jobs(filled.store, TREES).read().held.run_id
    key = keys.run(TREES, run, "progress.json") if name == "progress" else keys.prelabel(TREES)
    filled.store.put(key, b'{"phase": "tr')
    browser = Browser(filled)
    for path in ("/ui", "/ui/project"):
        answer = browser.get(path, project=TREES)
        assert (answer.status_code, "A training is running" in seen(answer).text) == (200, True)
        assert "Serves v10" in seen(answer).text or path == "/ui"
    assert "A run is active already" in browser.press("/ui/train", project=TREES).text


def test_a_project_that_is_no_record_hides_no_other(filled: World) -> None:
    filled.store.put(keys.project(TREES), b'{"title": "Trees"}')
    browser = Browser(filled)
    text = seen(browser.get("/ui")).text
    assert "Project 7.1790000000 It cannot be shown: projects/7.1790000000/project.json" in text
    assert "Herd counts, spring" in text
    assert browser.get("/ui/project", project=AIRSHIPS).status_code == 200
    assert browser.get("/ui/project", project=TREES).status_code == 503


def test_a_folder_that_is_no_project_hides_none(world: World) -> None:
    for folder in (UID, f"{UID}.bak", f"{UID} (copy)", "lost+found"):
        write_project(world.store, folder, label_config=TREES_CONFIG, title=f"in {folder}")
    answer = Browser(world).get("/ui")
    assert (answer.status_code, answer.text.count("Next training")) == (200, 1)
    assert "bak" not in answer.text


def test_no_page_holds_a_secret(filled: World) -> None:
    secrets = {"LABELLOOP_BASIC_AUTH_PASSWORD": "pass word", "LABELLOOP_WEBHOOK_SECRET": "of-the-webhook"}
    browser = Browser(filled, HOST="0.0.0.0", **secrets)
    for path in PAGES:
        text = browser.get(path, RIGHT, project=TREES, control="label", version=3).text
        assert not [secret for secret in (TOKEN, *secrets.values(), RIGHT["Authorization"]) if secret in text], path


def test_a_store_that_does_not_answer_is_said(filled: World) -> None:
    answer = Browser(filled, Unreachable(filled.store)).get("/ui")
    assert answer.status_code == 503
    assert "The store cannot be read now" in answer.text
    assert "the network broke" in answer.text


def test_a_project_takes_three_rounds_of_questions_whatever_the_number_of_versions(world: World) -> None:
    counted = {}
    for total in (30, 90):
        write_project(world.store, TREES, label_config=TREES_CONFIG, title="Trees")
        for number in range(total - 59 if total > 30 else 1, total + 1):
            publish(world.store, TREES, "label", manifest(number, world.store.now()))
        store = CountsTrips(world.store)
        store.meet(3, "/project.json", "/jobs.json", "/models")
        store.meet(3, "/pointer.json", "/rejected/", "/versions/")
        store.meet(24, *(f"/versions/{number:06d}.json" for number in range(total + 1)))
        answer = Browser(world, store).get("/ui/project", project=TREES)
        assert answer.status_code == 200, answer.text
        counted[total] = store.count()
    assert counted == {30: 32, 90: 32}, "what was saved is asked beside these"


def test_projects_take_four_rounds_of_questions(world: World) -> None:
    for number in range(10, 40):
        uid = f"{number}.1790000000"
        write_project(world.store, uid, label_config=TREES_CONFIG, title="Trees")
        publish(world.store, uid, "label", manifest(1, world.store.now()))
    store = CountsTrips(world.store)
    store.meet(30, "/project.json", "/jobs.json", "/models")
    store.meet(30, "/pointer.json", "/rejected/", "/versions/")
    store.meet(10, "/000001.json")
    assert Browser(world, store).get("/ui").status_code == 200
    assert store.count() == 71


def test_the_pages_are_made_at_the_first_question_alone(filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Pages] = []
    monkeypatch.setattr(Pages, "__init__", lambda self, *parts, made=made: made.append(self), raising=True)
    Browser(filled)
    assert made == []
