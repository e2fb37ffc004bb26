"""Something before Label Studio answers in its place."""

from pathlib import Path

from functions.train_trigger.sweep import sweep
from functions.train_trigger.threads import ProcessThreads
from functions.train_trigger.trigger import Trigger
from shared.labelstudio.api import LabelStudio
from shared.state.jobs import Jobs
from shared.state.projects import write_project
from tests.fakes.trigger_parts import UID, World
from tests.servers.web_server import web_server


def test_a_404_of_something_before_label_studio_closes_no_project(tmp_path: Path) -> None:
    """Seen with a proxy that was restarted: one sweep closed every project, and only an event of each opened it."""
    world = World(tmp_path / "store")
    uids = [UID, "7.1767225600", "9.1767225600"]
    for uid in uids:
        write_project(world.store, uid, label_config="<View/>")
    with web_server(lambda handler: handler.reply(404, b"<h1>404 Not Found</h1>")) as proxy:
        trigger = Trigger(world.store, LabelStudio(proxy.url, "0" * 40), world.launcher, world.settings, world.metrics)
        summary = sweep(world.store, trigger.reconcile, ProcessThreads(), seconds=60)
    assert summary["outcomes"] == {"failed": 3}
    assert "before it answers in its place" in summary["details"][UID]["reason"]
    assert not any(Jobs(world.store, uid).read().closed for uid in uids)
