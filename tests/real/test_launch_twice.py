"""One claim launched twice, as by two triggers at the same moment: both processes of the real job start, one works."""

import os
import threading
from pathlib import Path

from functions.train_trigger.launchers.local.launcher import LocalLauncher
from shared.objectstore import open_store
from shared.state.jobs import Jobs
from shared.state.runs import TrainRequest
from tests.fakes.train_parts import UID, begin_run, settings_for
from tests.servers.trigger_process import REPOSITORY, eventually
from tests.servers.web_server import LABEL_STUDIO_404, Handler, web_server


def test_of_two_launches_of_one_attempt_one_runs_and_the_other_ends_at_once(tmp_path: Path) -> None:
    asked, answers = threading.Event(), threading.Event()

    def label_studio(handler: Handler) -> None:
        asked.set()
        assert answers.wait(120)
        handler.reply(404, LABEL_STUDIO_404, Content_Type="application/json")

    with web_server(label_studio) as web:
        settings = settings_for(web.url, tmp_path)
        store = open_store(settings.store)
        claim = begin_run(store)
        request = TrainRequest(store=settings.store, project_uid=UID, run_id=claim.run_id)
        environ = os.environ | settings.to_environ() | {"PYTHONPATH": str(REPOSITORY)}
        first, second = (LocalLauncher(tmp_path / name, environ, turns=("", "")) for name in ("first", "second"))
        jobs = {first: first.launch(request, attempt=1), second: second.launch(request, attempt=1)}
        try:
            ended = eventually(
                lambda: [launcher for launcher, job in jobs.items() if launcher.status(job).state == "finished"],
                "one ends",
            )
            assert asked.wait(120)
            assert len(ended) == 1
            (works,) = set(jobs) - set(ended)
            assert works.status(jobs[works]).state == "running"
            held = Jobs(store, UID).read().training
            assert held is not None
            assert (held.state, held.attempt) == ("running", 1)
            assert "another process runs" in Path(ended[0].logs(jobs[ended[0]])).read_text()
        finally:
            answers.set()
            for launcher, job in jobs.items():
                eventually(lambda launcher=launcher, job=job: launcher.status(job).state != "running", "its end")
        assert Jobs(store, UID).read().closed, "the one that worked heard that the project is gone"
