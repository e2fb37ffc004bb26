"""The lineage of a version: what its manifest says of where it comes from."""

from importlib.metadata import version as package_version

from jobs.train.new_version import NewVersion
from jobs.train.preset import preset
from shared import tracing
from shared.labelstudio.attributes import ATTRIBUTES
from shared.labelstudio.controls import Control

_PACKAGES = ("labelloop", "torch", "ultralytics")


def lineage_of(made: NewVersion) -> dict[str, object]:
    """`Manifest.lineage`, but for the number of suspects, and for the time that the run has taken."""
    attempt, trained, counts = made.attempt, made.trained, made.dataset.counts
    header = attempt.snapshot.header
    trace = tracing.current()  # what predict's first prediction goes on from
    some = {"trace": trace, "mean_with": trained.mean_with}  # without a mean, the weights are those that were learnt
    return {name: value for name, value in some.items() if value} | {
        "border": header.border,
        "annotations_digest": header.baseline.digest,
        "dataset_sha256": attempt.snapshot.sha256,
        "data_sha256": attempt.snapshot.digest_of(made.control),
        "tasks": {
            "train": counts.train,
            "val": counts.val,
            "background": counts.background,
            "skipped": header.left_out,
            "left_out": dict(counts.left_out),
        },
        "remarks": "; ".join(filter(None, [trained.stopped, counts.remarks])),
        "images": {"train": counts.train_images, "val": counts.val_images},
        "tiles": counts.tiles,  # of these images to learn from
        "things": {"train": counts.train_objects, "val": counts.val_objects, "foreign_labels": counts.foreign_labels},
        "base": made.start.name,
        "base_sha256": made.start.sha256,
        "epochs": trained.epochs,
        "passes": preset(attempt.settings, counts.train_images, made.control.yolo_task).passes,
        "batch": trained.batch,
        "attempt": attempt.claim.attempt,
        "price_per_hour": attempt.claim.price,
        "settings": attempt.settings.model_dump(mode="json"),
        "attributes": attributes_of(made.control),
        "ultralytics": dict(trained.arguments),
        "packages": {name: package_version(name) for name in _PACKAGES},
        "taken_up": made.taken_up.as_json(),
    }


def attributes_of(control: Control) -> dict[str, str]:
    """The `model_…` attributes of its tag, as written."""
    return {name: value for name, value in control.attributes.items() if name in ATTRIBUTES}
