"""Cloud Run's API of jobs and executions, as far as the launcher uses it: Google's own messages over real HTTP.

What comes in is read, and what goes out is written by the classes of google-cloud-run, so shapes cannot drift from it.
"""

import json
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from google.cloud import run_v2

from tests.servers.web_server import Handler, WebServer, web_server

JOB = "projects/acme/locations/europe-west1/jobs/labelloop-train"
_EXECUTION = re.compile(rf"/v2/({JOB}/executions/[^/:]+)")


class CloudRun:
    """One job, its executions, and what the test makes of them."""

    def __init__(self) -> None:
        self.job = run_v2.Job(
            name=JOB,
            template=run_v2.ExecutionTemplate(
                task_count=1,
                template=run_v2.TaskTemplate(
                    containers=[
                        run_v2.Container(
                            image="europe-docker.pkg.dev/acme/labelloop/labelloop-train:1",
                            env=[run_v2.EnvVar(name="LABELLOOP_STORE", value="gs://labelloop-acme")],
                            resources=run_v2.ResourceRequirements(limits={"nvidia.com/gpu": "1"}),
                        )
                    ],
                    max_retries=0,
                    timeout={"seconds": 3600},
                ),
            ),
        )
        self.executions: dict[str, run_v2.Execution] = {}  # oldest first
        self.refusal: tuple[int, str] | None = None  # the answer to everything
        self.web: WebServer

    def answer(self, handler: Handler) -> None:
        """One request."""
        path, method = handler.path.partition("?")[0], handler.command
        if self.refusal:
            self._refuse(handler, *self.refusal)
        elif (method, path) == ("GET", f"/v2/{JOB}"):
            _reply(handler, run_v2.Job.to_json(self.job))
        elif (method, path) == ("POST", f"/v2/{JOB}:run"):
            self._run(handler)
        elif (method, path) == ("GET", f"/v2/{JOB}/executions"):
            newest_first = list(reversed(self.executions.values()))
            listed = run_v2.ListExecutionsResponse(executions=newest_first)
            _reply(handler, run_v2.ListExecutionsResponse.to_json(listed))
        elif (found := _EXECUTION.match(path)) and found[1] in self.executions:
            execution = self.executions[found[1]]
            if path.endswith(":cancel"):
                if execution.completion_time:
                    self._refuse(handler, 400, "the execution has ended")
                    return
                self.end(execution.name, cancelled_count=1)
                _reply(handler, _operation(execution))
            else:
                _reply(handler, run_v2.Execution.to_json(execution))
        else:
            self._refuse(handler, 404, f"Resource {path.removeprefix('/v2/')!r} was not found")

    def end(self, name: str, **counts: int) -> None:
        """The execution's task ended: `succeeded_count=1`, `failed_count=1` …"""
        execution = self.executions[name]
        execution.running_count, execution.completion_time = 0, datetime.now(UTC)
        for count, value in counts.items():
            setattr(execution, count, value)

    def _run(self, handler: Handler) -> None:
        overrides = run_v2.RunJobRequest.from_json(handler.body.decode()).overrides
        if overrides.task_count < self.job.template.parallelism:
            self._refuse(handler, 400, "parallelism must be less than or equal to the task count")
            return
        template = run_v2.TaskTemplate(self.job.template.template)
        for override in overrides.container_overrides:
            template.containers[0].env.extend(override.env)
        name = f"{JOB}/executions/labelloop-train-{secrets.token_hex(3)}"
        self.executions[name] = run_v2.Execution(name=name, job=JOB, task_count=overrides.task_count, template=template)
        _reply(handler, _operation(self.executions[name]))

    def _refuse(self, handler: Handler, code: int, message: str) -> None:
        error = {"code": code, "message": message, "status": HTTPStatus(code).name}
        handler.reply(code, json.dumps({"error": error}).encode(), Content_Type="application/json")


@contextmanager
def cloud_run() -> Iterator[CloudRun]:
    """A server for as long as the block lasts."""
    service = CloudRun()
    with web_server(lambda handler: service.answer(handler)) as service.web:
        yield service


def _operation(execution: run_v2.Execution) -> str:
    metadata: dict[str, Any] = json.loads(run_v2.Execution.to_json(execution))
    kind = {"@type": "type.googleapis.com/google.cloud.run.v2.Execution"}
    return json.dumps({"name": "projects/acme/locations/europe-west1/operations/1", "metadata": kind | metadata})


def _reply(handler: Handler, body: str) -> None:
    handler.reply(200, body.encode(), Content_Type="application/json")
