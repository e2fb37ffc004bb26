"""Notes its start, takes the claim, waits for a file named `finish`, and releases: a training without training."""

import os
import time
from pathlib import Path

from shared.labelstudio.api import LabelStudio
from shared.labelstudio.requests import project_id
from shared.objectstore import open_store
from shared.state import claims
from shared.state.jobs import Jobs
from shared.state.runs import Baseline, Totals, TrainRequest

folder = Path(os.environ["STUB_JOB_FOLDER"])
request = TrainRequest.parse(os.environ["TRAIN_REQUEST"])
(folder / f"{request.run_id}.{os.getpid()}.started").touch()

jobs = Jobs(open_store(request.store), request.project_uid)
claim = jobs.update(claims.start, request.run_id, nonce=str(os.getpid()), lifetime=600).held
label_studio = LabelStudio(os.environ["LABEL_STUDIO_URL"], os.environ["LABEL_STUDIO_API_KEY"])
state = label_studio.project(project_id(request.project_uid))
totals = Totals.model_validate(state.counters.model_dump(include=set(Totals.model_fields)))
while not (folder / "finish").exists():
    time.sleep(0.02)
jobs.update(claims.release, claim, outcome="promoted", baseline=Baseline(totals=totals, read_at=state.read_at))
