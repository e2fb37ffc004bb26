"""Every setting of every program, one a field: its variable, default, unit, limits and one line of help.

`docs/configuration.md` is generated from this table; what a value may look like is in `shared.setting_values`. Only a
program's `main.py` or `__main__.py` hands over `os.environ`.
"""

import difflib
import ipaddress
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from shared.errors import SettingsError
from shared.launcher_url import LAUNCHERS
from shared.setting_values import (
    HeaderSecret,
    HostNames,
    LauncherAddress,
    PriceAnHour,
    SecretAddress,
    TilesAsked,
    UltralyticsPath,
    UserName,
    WebAddress,
    WeightsNames,
)

PREFIX = "LABELLOOP_"
_MONTH = 30 * 86_400.0  # seconds; a limit, since projects may set durations and datetime cannot hold all of them


def _setting(variable: str, default: Any, help_: str, unit: str = "", **limits: Any) -> Any:
    return Field(
        default=default,
        validation_alias=AliasChoices(variable),
        description=help_,
        json_schema_extra={"unit": unit},
        **limits,
    )


class Settings(BaseModel):
    """All settings, frozen. A field has the unit of its variable."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)

    # Label Studio
    label_studio_url: WebAddress | None = _setting(
        "LABEL_STUDIO_URL",
        None,
        "Address of Label Studio, with its path prefix if it has one. The only host that ever gets the token.",
    )
    label_studio_api_key: HeaderSecret | None = _setting(
        "LABEL_STUDIO_API_KEY",
        None,
        "Personal access token or legacy token of a Label Studio user who may see the projects.",
    )
    # Store
    store: str = _setting(
        "LABELLOOP_STORE",
        "file:///var/labelloop",
        "Where models and claims are kept: file:///folder, s3://bucket/prefix or gs://bucket/prefix (extra gcs; Google's application default credentials).",
    )
    s3_endpoint: WebAddress | None = _setting(
        "LABELLOOP_S3_ENDPOINT",
        None,
        "Address of an S3-compatible server for s3://. Empty: AWS. Credentials come from AWS_ACCESS_KEY_ID, profile or role.",
    )
    keep_runs: int = _setting(
        "LABELLOOP_KEEP_RUNS",
        5,
        "Newest runs of a project whose frozen annotations and versions are kept, whatever became of them. What older runs left is removed after each run.",
        "runs",
        ge=1,
    )
    keep_versions: int = _setting(
        "LABELLOOP_KEEP_VERSIONS",
        5,
        "Good versions of a control before the one that is served that are kept for a rollback; after a rollback as many of the newer ones.",
        "versions",
        ge=1,
    )
    # Experiment tracker
    tracking_uri: WebAddress | None = _setting(
        "LABELLOOP_TRACKING_URI",
        None,
        "Address of an MLflow server to which jobs write each training: parameters, metrics of each epoch, report and manifest. Empty: none. A server that is down ends no training.",
    )
    mlflow_username: UserName | None = _setting(
        "MLFLOW_TRACKING_USERNAME",
        None,
        "User of the MLflow server, if it asks for one; with MLFLOW_TRACKING_PASSWORD.",
    )
    mlflow_password: HeaderSecret | None = _setting("MLFLOW_TRACKING_PASSWORD", None, "Password of that user.")
    mlflow_token: HeaderSecret | None = _setting(
        "MLFLOW_TRACKING_TOKEN", None, "Token for the MLflow server, sent as Bearer, instead of user and password."
    )
    # Access to the functions
    host: str = _setting(
        "HOST",
        "0.0.0.0",
        "Address that functions-framework listens on; read to know whether the function is reachable from outside.",
    )
    auth: Literal["on", "off"] = _setting(
        "LABELLOOP_AUTH",
        "on",
        "off: answer every route without credentials. Only where something in front asks for them.",
    )
    basic_auth_user: UserName = _setting(
        "LABELLOOP_BASIC_AUTH_USER", "labelloop", "User name that Label Studio sends to the backend URL (Basic auth)."
    )
    basic_auth_password: HeaderSecret | None = _setting(
        "LABELLOOP_BASIC_AUTH_PASSWORD",
        None,
        "Password that Label Studio sends to the backend URL: printable ASCII. Needed unless HOST is loopback.",
    )
    webhook_secret: HeaderSecret | None = _setting(
        "LABELLOOP_WEBHOOK_SECRET",
        None,
        "Value of the X-Labelloop-Secret header of webhooks and of the sweep: printable ASCII. Needed unless HOST is "
        "loopback and no password is set.",
    )
    predict_url: WebAddress | None = _setting(
        "PREDICT_URL", None, "Address of functions/predict, as train_trigger and the labelloop command reach it."
    )
    train_trigger_url: WebAddress | None = _setting(
        "TRAIN_TRIGGER_URL", None, "Address of functions/train_trigger, as predict and the labelloop command reach it."
    )
    # Prediction
    base_weights: WeightsNames = _setting(
        "LABELLOOP_BASE_WEIGHTS",
        "yolo11n.pt",
        "Weights to serve and to fine-tune before a first version, kept in the store under their names: names that ultralytics downloads, or files; comma-separated, one for each YOLO task. The end of a name says the task (-seg, -obb, -pose, -cls; none: detect). A task that none is for gets the official weights of the first one's family (yolo11n.pt: yolo11n-seg.pt …); if the first is a file, nothing is predicted for that task before its first version.",
    )
    device: str = _setting(
        "LABELLOOP_DEVICE",
        "auto",
        "auto, cpu, cuda, cuda:1 …; jobs take mps too. auto takes CUDA where there is one; predict needs the extra predict-cuda for it.",
    )
    precision: Literal["auto", "float32"] = _setting(
        "LABELLOOP_PRECISION",
        "auto",
        "auto: predict and trainings compute in what the hardware is fast in (bfloat16 on processors that have it, half precision on GPUs); the gate measures in float32. float32: never in fewer bits.",
    )
    threads: int = _setting("LABELLOOP_THREADS", 0, "Processor threads of the model; 0: one a core.", "threads", ge=0)
    confidence: float | None = _setting(
        "LABELLOOP_CONFIDENCE",
        None,
        "Regions below this confidence are not shown (model_score_threshold of a control wins). Empty: what each version chose for each label, else 0.25.",
        ge=0,
        le=1,
    )
    iou: float | None = _setting(
        "LABELLOOP_IOU",
        None,
        "Overlap above which two boxes of a label count as one (model_iou of a control wins). Empty: what each version chose for each label, else 0.7, also in validation.",
        ge=0,
        le=1,
    )
    max_objects: int = _setting(
        "LABELLOOP_MAX_OBJECTS",
        300,
        "Most objects that are found in one image, the most confident first; predict logs and counts where it cuts.",
        "objects",
        ge=1,
        le=30_000,
    )
    control_group: float = _setting(
        "LABELLOOP_CONTROL_GROUP",
        0.0,
        "Share of the tasks, always the same ones, that get no predictions, so that `labelloop effort` can compare (docs/effort.md); 0: none, 0.05 does.",
        ge=0,
        le=1,
    )
    predict_deadline: float = _setting(
        "LABELLOOP_PREDICT_DEADLINE",
        90.0,
        "Tasks not predicted by then are answered empty, by train_trigger too while predict wakes; Label Studio gives up after 100 s.",
        "s",
        gt=0,
        le=3600,
    )
    push: Literal["on", "off"] = _setting(
        "LABELLOOP_PUSH",
        "on",
        "on: a job writes the predictions of connected projects into Label Studio before anybody asks, and annotators see exactly that version. off: Label Studio asks for them while people label. After a change: `labelloop connect`.",
    )
    order: Literal["off", "useful", "easy"] = _setting(
        "LABELLOOP_ORDER",
        "off",
        "Which tasks Label Studio hands out first, of those with predictions written ahead by a version. useful: where most is in doubt. easy: where least is. off: as Label Studio is set, which nothing was better than in our experiment (docs/order.md). Set it for predict, for jobs and for the labelloop command; after a change: `labelloop connect`.",
    )
    warm_up_interval: float = _setting(
        "LABELLOOP_WARM_UP_INTERVAL",
        60.0,
        "train_trigger wakes a predict that scales to zero when Label Studio sets up a project or somebody annotates, at most once in this time; 0: never.",
        "s",
        ge=0,
        le=86_400,
    )
    pointer_max_age: float = _setting(
        "LABELLOOP_POINTER_MAX_AGE", 3.0, "A pointer read longer ago is read again.", "s", ge=0, le=60
    )
    cache_dir: UltralyticsPath = _setting(
        "LABELLOOP_CACHE_DIR",
        "/tmp/labelloop-cache",
        "Folder for downloaded weights, by digest, and for the images that jobs fetched. On a machine that others use too: one of your own.",
    )
    cache_bytes: int = _setting(
        "LABELLOOP_CACHE_BYTES", 4_000_000_000, "Least recently used weights are removed above this.", "bytes", ge=0
    )
    loaded_models: int = _setting(
        "LABELLOOP_LOADED_MODELS",
        8,
        "Models kept in memory at once; at least as many as a project has controls.",
        "models",
        ge=1,
    )
    dummy: bool = _setting(
        "LABELLOOP_DUMMY", False, "Answer fixed predictions without a model, to prove the wiring first."
    )
    # Images
    fetch_concurrency: int = _setting(
        "LABELLOOP_FETCH_CONCURRENCY", 32, "Images fetched at once.", "images", ge=1, le=512
    )
    fetch_timeout: float = _setting(
        "LABELLOOP_FETCH_TIMEOUT", 30.0, "Longest time for one image, from asking to the last byte.", "s", gt=0, le=3600
    )
    image_max_bytes: int = _setting(
        "LABELLOOP_IMAGE_MAX_BYTES", 100_000_000, "Larger image files are refused.", "bytes", ge=1
    )
    image_max_pixels: int = _setting(
        "LABELLOOP_IMAGE_MAX_PIXELS", 200_000_000, "Larger images are refused before they are decoded.", "pixels", ge=1
    )
    reduced_decoding: bool = _setting(
        "LABELLOOP_REDUCED_DECODING",
        True,
        "JPEG files that have at least twice the pixels of the model's input on the longer side are decoded at a half, a quarter or an eighth of their size, in predict and in validation. false: in all pixels, most of which are averaged afterwards.",
    )
    video_max_bytes: int = _setting(
        "LABELLOOP_VIDEO_MAX_BYTES", 500_000_000, "Larger video files are refused.", "bytes", ge=1
    )
    allowed_private_hosts: HostNames = _setting(
        "LABELLOOP_ALLOWED_PRIVATE_HOSTS",
        (),
        "Host names, addresses or networks (10.0.0.0/8) that images may come from although they are private. Comma-separated. The host and port of LABEL_STUDIO_URL are always allowed.",
    )
    image_root: str | None = _setting(
        "LABELLOOP_IMAGE_ROOT",
        None,
        "Folder shared with Label Studio (its LOCAL_FILES_DOCUMENT_ROOT): /data/local-files/?d=… is read from it instead of over HTTP.",
    )
    image_cache_bytes: int = _setting(
        "LABELLOOP_IMAGE_CACHE_BYTES",
        10_000_000_000,
        "Fetched images and videos that the jobs of one machine keep below LABELLOOP_CACHE_DIR for later runs, at most half of what is free there; 0: none.",
        "bytes",
        ge=0,
    )
    image_cache_in_store: bool = _setting(
        "LABELLOOP_IMAGE_CACHE_IN_STORE",
        False,
        "Jobs keep fetched images in the store, too: where machines are new for each run and the store is nearer than Label Studio.",
    )
    # When to train
    launcher: LauncherAddress = _setting(
        "LABELLOOP_LAUNCHER",
        "local:",
        f"Where training jobs run: {', '.join(LAUNCHERS.values())}. local: is a process on this machine; docs/deploy has a page for each other one. kubernetes and cloud-run need the extra of that name: pip install 'labelloop[kubernetes]'. ray takes ?gpus=N, what a job reserves (1).",
    )
    local_jobs: int = _setting(
        "LABELLOOP_LOCAL_JOBS",
        0,
        "Trainings that local: runs at once on this machine, the others wait in line; 0: one for each GPU, or one. They share the GPUs evenly: 1 gives all of them to each training. Beside them one job at a time writes predictions ahead.",
        "trainings",
        ge=0,
        le=1024,
    )
    prelabel_workers: int = _setting(
        "LABELLOOP_PRELABEL_WORKERS",
        1,
        "Jobs that write predictions ahead together, each its share of the tasks: at most so many, and one for every 100 tasks. aws-batch, kubernetes and cloud-run start them; local: and ray run one, and refuse more. Budgets count each.",
        "jobs",
        ge=1,
        le=100,
    )
    min_annotations: int = _setting(
        "LABELLOOP_MIN_ANNOTATIONS",
        5,
        "Annotated tasks before the first training. The next ones follow at twice, four and eight times as many.",
        "tasks",
        ge=1,
    )
    changed_share: float = _setting(
        "LABELLOOP_CHANGED_SHARE",
        0.1,
        "Part of the annotated tasks that is new, changed or deleted before the next training, from eight times LABELLOOP_MIN_ANNOTATIONS on; 0: each change starts one, also before that.",
        ge=0,
        le=1,
    )
    cool_down: float = _setting(
        "LABELLOOP_COOL_DOWN",
        300.0,
        "Least time between the end of a training and the start of the next; none while projects double (LABELLOOP_MIN_ANNOTATIONS).",
        "s",
        ge=0,
        le=_MONTH,
    )
    longest_run: float = _setting(
        "LABELLOOP_LONGEST_RUN",
        6 * 3600.0,
        "A training, all attempts of a run together, stops after this and uses the best epoch so far.",
        "s",
        gt=0,
        le=_MONTH,
    )
    budget_day: float | None = _setting(
        "LABELLOOP_BUDGET_DAY",
        None,
        "Minutes that the jobs of one project may run on a day (UTC), trainings and predictions ahead together. Empty: no limit.",
        "min",
        gt=0,
        le=1e7,
    )
    budget_month: float | None = _setting(
        "LABELLOOP_BUDGET_MONTH", None, "The same for a calendar month.", "min", gt=0, le=1e7
    )
    store_budget_day: float | None = _setting(
        "LABELLOOP_STORE_BUDGET_DAY",
        None,
        "Minutes that the jobs of all projects of the store together may run on a day (UTC). Empty: no limit.",
        "min",
        gt=0,
        le=1e7,
    )
    store_budget_month: float | None = _setting(
        "LABELLOOP_STORE_BUDGET_MONTH", None, "The same for a calendar month.", "min", gt=0, le=1e7
    )
    price_per_hour: PriceAnHour | None = _setting(
        "LABELLOOP_PRICE_PER_HOUR",
        None,
        "What an hour of the machine that a job runs on costs you: 0.80, or 0.80 EUR. Runs note it when they begin; what each one cost stands beside its time (docs/architecture.md#budgets). Empty: no costs are shown.",
        "an hour",
    )
    attempts: int = _setting("LABELLOOP_ATTEMPTS", 5, "Attempts of one run before it counts as failed.", ge=1)
    debounce: float = _setting(
        "LABELLOOP_DEBOUNCE",
        2.0,
        "Label Studio is asked for a project's totals at most once in this time.",
        "s",
        ge=0,
        le=3600,
    )
    claim_lifetime: float = _setting(
        "LABELLOOP_CLAIM_LIFETIME",
        600.0,
        "A run that did not renew its claim for this long may be taken over.",
        "s",
        gt=0,
        le=_MONTH,
    )
    sweep_interval: float = _setting(
        "LABELLOOP_SWEEP_INTERVAL",
        30.0,
        "How often the local sweeper of `labelloop up` looks for what no event announced; also the least time between two jobs that write predictions of imported tasks.",
        "s",
        gt=0,
        le=86_400,
    )
    # Training
    epochs: int = _setting(
        "LABELLOOP_EPOCHS",
        0,
        "Epochs of one training; 0: chosen by the number of images (docs/small-data.md).",
        "epochs",
        ge=0,
        le=100_000,
    )
    image_size: int = _setting(
        "LABELLOOP_IMAGE_SIZE",
        640,
        "Side that images are scaled to, for training and for prediction with base weights. Classifiers train on 0.35 of it.",
        "pixels",
        ge=32,
        le=8192,
    )
    tiles: TilesAsked = _setting(
        "LABELLOOP_TILES",
        "auto",
        "Whether large pictures are looked at in tiles, in training and prediction (model_tiles of a control wins; docs/tiles.md). auto: where the annotated objects would be too small in the whole picture. A number: always, in tiles of so many pixels of the picture, by base weights too. off: never. A version that is there is served as it was trained.",
    )
    batch: int = _setting(
        "LABELLOOP_BATCH",
        0,
        "Images a training step; 0: chosen, of few images by their number, else from the device's memory.",
        "images",
        ge=0,
        le=65_536,
    )
    freeze: int = _setting(
        "LABELLOOP_FREEZE", 0, "First layers of the model that training leaves alone.", "layers", ge=0
    )
    patience: int = _setting(
        "LABELLOOP_PATIENCE", 30, "Training stops after this many epochs without a better one.", "epochs", ge=0
    )
    fliplr: float = _setting(
        "LABELLOOP_FLIPLR",
        0.5,
        "Share of the images that are mirrored left to right while training; none where labels say sides (model_fliplr of a control wins).",
        ge=0,
        le=1,
    )
    flipud: float = _setting(
        "LABELLOOP_FLIPUD",
        0.0,
        "Share of the images that are mirrored upside down while training, as for LABELLOOP_FLIPLR.",
        ge=0,
        le=1,
    )
    val_fraction: float = _setting(
        "LABELLOOP_VAL_FRACTION", 0.2, "Part of the annotated tasks that is kept for validation.", gt=0, lt=1
    )
    seed: int = _setting("LABELLOOP_SEED", 0, "Seed of the training.", ge=0, le=2**31 - 1)
    workers: int = _setting(
        "LABELLOOP_WORKERS", -1, "Dataloader processes; -1: chosen from cores and shared memory.", "processes", ge=-1
    )
    work_dir: UltralyticsPath = _setting(
        "LABELLOOP_WORK_DIR",
        "/tmp/labelloop-work",
        "Scratch folder of the job: images, dataset, checkpoints. On a machine that others use too: one of your own.",
    )
    train_request: str | None = _setting(
        "TRAIN_REQUEST",
        None,
        "What a launcher tells the job: JSON with store, project and run id. Set by the launcher.",
    )
    # Notices
    notify_url: SecretAddress | None = _setting(
        "LABELLOOP_NOTIFY_URL",
        None,
        "Address that train_trigger posts notices to: versions promoted or rejected, runs that failed, budgets that are spent (docs/notices.md). Slack's incoming webhooks understand them. A secret.",
    )
    notify_secret: HeaderSecret | None = _setting(
        "LABELLOOP_NOTIFY_SECRET", None, "Key that notices are signed with, so that a receiver knows who sent them."
    )
    notify_private_hosts: HostNames = _setting(
        "LABELLOOP_NOTIFY_PRIVATE_HOSTS",
        (),
        "Host names, addresses or networks that LABELLOOP_NOTIFY_URL may lead to although they are private. Comma-separated.",
    )
    # Traces and logs
    otel_endpoint: str | None = _setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        None,
        "Address of a collector that takes OpenTelemetry's traces over HTTP, for example http://collector:4318; needs the extra otel (docs/observability.md). The SDK reads the other variables OTEL_… by itself.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = _setting(
        "LABELLOOP_LOG_LEVEL", "INFO", "Least important log lines that are written."
    )

    @model_validator(mode="after")
    def _key_needs_url(self) -> Self:
        if self.label_studio_api_key and not self.label_studio_url:
            raise ValueError(
                "LABEL_STUDIO_API_KEY is set, LABEL_STUDIO_URL is not: a token without the one host it may go to"
            )
        return self

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read all settings; empty variables count as not set. Raises SettingsError, with a sentence for each problem."""
        known = {variable(name): name for name in cls.model_fields}
        given = {name: value for name, value in environ.items() if name in known and value != ""}
        problems = [_unknown(name, known) for name in sorted(environ) if name.startswith(PREFIX) and name not in known]
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            problems += [_sentence(problem) for problem in error.errors(include_url=False, include_input=False)]
        if problems:
            raise SettingsError("; ".join(problems))
        return settings

    def require(self, *names: str) -> None:
        """Raise SettingsError unless every named field has a value."""
        missing = [variable(name) for name in names if getattr(self, name) is None]
        if missing:
            raise SettingsError(f"{' and '.join(missing)} must be set: see docs/configuration.md")

    def label_studio(self) -> tuple[str, str]:
        """URL and token of Label Studio. Raises SettingsError if one of them is missing."""
        self.require("label_studio_url", "label_studio_api_key")
        assert self.label_studio_url
        assert self.label_studio_api_key
        return self.label_studio_url, self.label_studio_api_key.get_secret_value()

    def require_access_rules(self) -> None:
        """Raise SettingsError if the function would be reachable from outside without credentials."""
        if self.auth == "off" or self.loopback or (self.basic_auth_password and self.webhook_secret):
            return
        raise SettingsError(
            f"HOST={self.host} can be reached from outside: set LABELLOOP_BASIC_AUTH_PASSWORD and LABELLOOP_WEBHOOK_SECRET, "
            "or HOST=127.0.0.1, or LABELLOOP_AUTH=off where something in front asks for credentials"
        )

    @property
    def orders(self) -> bool:
        """Whether Label Studio is to hand out tasks by the scores of predictions that are written ahead.

        Not with a control group: its tasks have no predictions, and Label Studio would keep them for the end.
        """
        return self.order != "off" and self.push == "on" and not self.dummy and not self.control_group

    @property
    def loopback(self) -> bool:
        """Whether the function listens on this machine's loopback address only."""
        return is_loopback(self.host)

    def to_environ(self) -> dict[str, str]:
        """The variables from which a child process reads these settings again, secrets included."""
        values = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is None or value == type(self).model_fields[name].default:
                continue
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            values[variable(name)] = ",".join(value) if isinstance(value, tuple) else str(value)
        return values


def variable(field: str) -> str:
    """The environment variable of a field of Settings."""
    alias = Settings.model_fields[field].validation_alias
    assert isinstance(alias, AliasChoices)
    return str(alias.choices[0])


def is_loopback(host: str) -> bool:
    """Whether a host name or an IP address is this machine's loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unknown(name: str, known: Mapping[str, str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{name} is not a setting of labelloop" + (f"; did you mean {close[0]}?" if close else "")


def _sentence(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
