"""Images and totals from a real Label Studio: uploads, local files, both kinds of token."""

import io
import time
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from infra.local.label_studio import LabelStudioServer
from shared.errors import ImageError, LabelStudioError, ProjectGone, Unauthorized
from shared.labelstudio.api import LabelStudio
from shared.labelstudio.config import parse_label_config
from shared.labelstudio.task_values import file_of
from shared.media.decode import decode
from shared.media.fetch import ImageFetcher
from shared.settings import Settings
from tests.samples.image_bytes import encoded
from tests.servers.browser import CHROMIUM, browser
from tests.servers.s3_server import S3Server

CONFIG = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image"><Label value="Tree"/></RectangleLabels></View>"""
BOX = {
    "id": "r1",
    "from_name": "label",
    "to_name": "image",
    "type": "rectanglelabels",
    "value": {"x": 1, "y": 1, "width": 9, "height": 9, "rectanglelabels": ["Tree"]},
}


def photo(color: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 16), color).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass(frozen=True)
class Studio:
    """A Label Studio with a project, an uploaded picture and a local one."""

    server: LabelStudioServer
    files: Path
    project_id: int
    tasks: dict[str, dict[str, Any]]  # "upload", "local"
    personal_access_token: str


@pytest.fixture(scope="module")
def studio(server: LabelStudioServer) -> Studio:
    pictures = server.local_files / "pictures"
    pictures.mkdir()
    (pictures / "b c.png").write_bytes(photo((0, 255, 0)))
    api = LabelStudio(server.url, server.token, timeout=60)
    project = api.request_json("POST", "/api/projects", {"title": "pictures", "label_config": CONFIG})["id"]
    files = {"file": ("a.png", photo((255, 0, 0)))}
    server.session().post(f"{server.url}/api/projects/{project}/import", files=files, timeout=60).raise_for_status()
    storage = {"project": project, "path": str(pictures), "use_blob_urls": True, "regex_filter": ".*png"}
    made = api.request_json("POST", "/api/storages/localfiles/", storage)
    api.request_json("POST", f"/api/storages/localfiles/{made['id']}/sync")
    listed = api.get_json("/api/tasks", {"project": str(project), "resolve_uri": "false"})["tasks"]
    tasks = {"local" if "local-files" in task["data"]["image"] else "upload": task for task in listed}
    return Studio(server, server.local_files, project, tasks, server.personal_access_token())


def fetch(settings: Settings, api: LabelStudio | None, task: dict[str, Any]) -> bytes:
    images = ImageFetcher(settings, api)
    try:
        return images.fetch(task["data"]["image"], task_id=task["id"], deadline=time.monotonic() + 30)
    finally:
        images.close()


@pytest.fixture(params=["legacy", "personal"])
def api(request: pytest.FixtureRequest, studio: Studio) -> LabelStudio:
    token = studio.server.token if request.param == "legacy" else studio.personal_access_token
    return LabelStudio(studio.server.url, token)


def test_uploaded_and_local_images(studio: Studio, api: LabelStudio) -> None:
    upload = decode(fetch(Settings(), api, studio.tasks["upload"]), 10_000)
    local = decode(fetch(Settings(), api, studio.tasks["local"]), 10_000)
    assert (upload[0, 0].tolist(), local[0, 0].tolist()) == ([0, 0, 255], [0, 255, 0])


def test_expired_access_token_is_renewed(studio: Studio) -> None:
    api = LabelStudio(studio.server.url, studio.personal_access_token)
    good = api.authorization()
    spoilt = good.removeprefix("Bearer ")[:-8] + "spoilt00"

    def spoil() -> None:
        refresh = api._authorization._refresh
        assert refresh is not None
        refresh.access = Future()
        refresh.access.set_result(spoilt)

    spoil()
    assert fetch(Settings(), api, studio.tasks["upload"])
    assert api.authorization() not in (good, f"Bearer {spoilt}")
    spoil()
    assert api.project(studio.project_id).counters.task_number == 2


@pytest.mark.parametrize("kind", ["legacy", "personal"])
def test_wrong_token(studio: Studio, kind: str) -> None:
    right = studio.server.token if kind == "legacy" else studio.personal_access_token
    wrong = right[:-6] + "000000"
    api = LabelStudio(studio.server.url, wrong)
    for task in studio.tasks.values():
        with pytest.raises(ImageError) as caught:
            fetch(Settings(), api, task)
        assert caught.value.reason == "unauthorized"
        assert wrong not in str(caught.value)
    with pytest.raises(Unauthorized) as refused:
        api.project(studio.project_id)
    assert wrong not in str(refused.value)


def test_an_image_is_asked_for_with_credentials_only(studio: Studio, api: LabelStudio) -> None:
    elsewhere = f"http://localhost:{studio.server.url.rsplit(':', 1)[1]}"  # the same server, not LABEL_STUDIO_URL
    task = {"id": 1, "data": {"image": elsewhere + studio.tasks["upload"]["data"]["image"]}}
    with pytest.raises(ImageError) as caught:
        fetch(Settings(), api, task)
    assert caught.value.reason == "refused"
    with pytest.raises(ImageError) as caught:
        fetch(Settings.model_validate({"LABELLOOP_ALLOWED_PRIVATE_HOSTS": "localhost"}), api, task)
    assert caught.value.reason == "forbidden"


def test_shared_volume_is_read_without_label_studio(studio: Studio) -> None:
    settings = Settings.model_validate({"LABELLOOP_IMAGE_ROOT": str(studio.files)})
    assert fetch(settings, None, studio.tasks["local"]) == photo((0, 255, 0))


@pytest.mark.parametrize("path", ["/data/upload/1/gone.png", "/data/local-files/?d=pictures/gone.png"])
def test_missing_images(studio: Studio, api: LabelStudio, path: str) -> None:
    with pytest.raises(ImageError) as caught:
        fetch(Settings(), api, {"id": 1, "data": {"image": path}})
    assert caught.value.reason == "not_found"


def test_storage_uri_without_a_storage(studio: Studio, api: LabelStudio) -> None:
    with pytest.raises(ImageError) as caught:
        fetch(Settings(), api, {"id": studio.tasks["upload"]["id"], "data": {"image": "s3://bucket/a.png"}})
    assert caught.value.reason == "unreachable", "Label Studio answers 404 for whatever goes wrong while it signs, too"


def test_totals_and_changed_tasks(studio: Studio, api: LabelStudio) -> None:
    made = api.request_json("POST", "/api/projects", {"title": "changes", "label_config": CONFIG})["id"]
    rows = [{"data": {"image": f"/data/upload/1/{number}.png"}} for number in range(4)]
    api.request_json("POST", f"/api/projects/{made}/import", rows)
    tasks = [task["id"] for task in api.get_json("/api/tasks", {"project": str(made)})["tasks"]]

    def annotate(task: int, **more: Any) -> int:
        return int(api.request_json("POST", f"/api/tasks/{task}/annotations/", {"result": [BOX], **more})["id"])

    first, second = annotate(tasks[0]), annotate(tasks[1])
    assert api.changed_tasks(made, datetime.now(UTC) - timedelta(hours=1)) == 2
    state = api.project(made)
    assert (state.counters.task_number, state.counters.total_annotations_number) == (4, 2)
    assert abs(state.read_at - datetime.now(UTC)) < timedelta(minutes=1)

    since = datetime.now(UTC)
    assert api.changed_tasks(made, since) == 0
    api.request_json("PATCH", f"/api/annotations/{first}/", {"result": []})  # no counter moves
    assert api.changed_tasks(made, since) == 1
    assert api.project(made).counters.total_annotations_number == 2
    api.request_json("DELETE", f"/api/annotations/{second}/")  # deleted and made anew: no counter moves
    annotate(tasks[1])
    assert api.changed_tasks(made, since) == 2
    annotate(tasks[2], was_cancelled=True)  # skipped: no annotation to train with
    assert api.changed_tasks(made, since) == 2
    # What happens right after the state was read is later than its time, whatever the clocks' resolution.
    read_at = api.project(made).read_at
    annotate(tasks[3])
    assert api.changed_tasks(made, read_at) >= 1

    api.request_json("DELETE", f"/api/projects/{made}")
    with pytest.raises(ProjectGone):
        api.project(made)
    with pytest.raises(ProjectGone):
        api.changed_tasks(made, since)


def test_values_are_paths_as_label_studio_takes_them(studio: Studio, api: LabelStudio) -> None:
    picture = studio.tasks["upload"]["data"]["image"]
    folder, _, name = picture.rpartition("/")
    for value, data, flat in (
        ("$page.image", {"page": {"image": picture}}, {"page.image": picture}),
        ("$pages[0]", {"pages": [picture]}, {"pages[0]": picture}),
        (f"{folder}/$name", {"name": name}, {}),
    ):
        config = CONFIG.replace("$image", value)
        made = api.request_json("POST", "/api/projects", {"title": "paths", "label_config": config})["id"]
        assert api.request_json("POST", f"/api/projects/{made}/import", [data])["task_count"] == 1
        with pytest.raises(LabelStudioError, match="key is expected in task data"):
            api.request_json("POST", f"/api/projects/{made}/import", [flat])
        [task] = api.get_json("/api/tasks", {"project": str(made), "resolve_uri": "false"})["tasks"]
        [control] = parse_label_config(api.project(made).counters.label_config)
        address = file_of(control.value, task["data"], task["id"])
        assert address == picture
        assert decode(fetch(Settings(), api, task | {"data": {"image": address}}), 10_000).shape == (16, 32, 3)


def test_label_studios_words_about_a_mistake(studio: Studio, api: LabelStudio) -> None:
    with pytest.raises(LabelStudioError, match="at least 3 characters"):
        api.request_json("POST", "/api/projects", {"title": "a"})


def test_label_studio_stores_proposals_without_a_label(studio: Studio, api: LabelStudio) -> None:
    """The form that write_rectangles uses; unlabelled regions of other forms are not imported."""
    task = studio.tasks["upload"]["id"]
    unlabelled = {key: value for key, value in BOX["value"].items() if key != "rectanglelabels"}  # type: ignore[attr-defined]
    forms = {
        "empty": BOX | {"value": unlabelled | {"rectanglelabels": []}},
        "absent": BOX | {"value": unlabelled},
        "rectangle": BOX | {"value": unlabelled, "type": "rectangle"},
    }
    created = {
        name: api.request_json(
            "POST",
            f"/api/projects/{studio.project_id}/import/predictions",
            [{"task": task, "result": [form], "score": 0.5, "model_version": name}],
        )["created"]
        for name, form in forms.items()
    }
    assert created == {"empty": 1, "absent": 0, "rectangle": 0}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
def test_the_page_behind_clear_pixels_is_white_as_decode_says(studio: Studio) -> None:
    api = LabelStudio(studio.server.url, studio.server.token)
    picture = Image.new("RGBA", (200, 100), (255, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (100, 0, 200, 100))  # red on the left, clear on the right
    file = encoded(picture, "PNG")
    made = api.request_json("POST", "/api/projects", {"title": "clear", "label_config": CONFIG})["id"]
    url = f"{studio.server.url}/api/projects/{made}/import"
    studio.server.session().post(url, files={"file": ("clear.png", file)}, timeout=60).raise_for_status()
    [task] = api.get_json("/api/tasks", {"project": str(made)})["tasks"]
    with browser(studio.server) as page:
        page.goto(f"{studio.server.url}/projects/{made}/data?task={task['id']}")
        page.get_by_role("button", name="Submit").wait_for()
        page.wait_for_load_state("networkidle")
        drawn: NDArray[Any] = np.zeros((1, 2, 3))
        until = time.monotonic() + 60
        while not (drawn[0, 0] == (255, 0, 0)).all():  # the canvas says to nobody when it has drawn
            assert time.monotonic() < until, "the picture was not drawn"
            screenshot = page.screenshot(clip=page.locator(".lsf-image").bounding_box())
            drawn = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB").resize((8, 1)))[:, [1, 6]]
    decoded = decode(file, 100_000)[50, 150].astype(int)
    assert np.abs(drawn[0, 1] - decoded).max() <= 3  # the page is 253, 253, 252


@pytest.mark.parametrize("presign", [True, False], ids=["redirected", "proxied"])
def test_image_in_a_bucket(studio: Studio, api: LabelStudio, s3_server: S3Server, presign: bool) -> None:
    """Resolved by Label Studio, which either redirects to a signed URL or passes the bytes on."""
    key = f"{presign}/ä 1.png"
    s3_server.client().put_object(Bucket=s3_server.bucket, Key=key, Body=photo((0, 0, 255)))
    storage = {
        "project": studio.project_id,
        "bucket": s3_server.bucket,
        "prefix": str(presign),
        "s3_endpoint": s3_server.endpoint,
        "aws_access_key_id": s3_server.environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": s3_server.environ["AWS_SECRET_ACCESS_KEY"],
        "region_name": "us-east-1",
        "use_blob_urls": True,
        "presign": presign,
    }
    made = api.request_json("POST", "/api/storages/s3/", storage)
    try:
        task = {"id": studio.tasks["upload"]["id"], "data": {"image": f"s3://{s3_server.bucket}/{key}"}}
        allowed = Settings.model_validate({"LABELLOOP_ALLOWED_PRIVATE_HOSTS": "127.0.0.1"})
        assert decode(fetch(allowed, api, task), 10_000)[0, 0].tolist() == [255, 0, 0]
        if presign:  # the bucket is on a private address, which nobody named
            with pytest.raises(ImageError) as caught:
                fetch(Settings(), api, task)
            assert caught.value.reason == "refused"
            assert "Signature" not in str(caught.value)
    finally:
        api.request_json("DELETE", f"/api/storages/s3/{made['id']}")
