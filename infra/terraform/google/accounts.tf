# A service account for each program, with the least rights. None has a key.
locals {
  accounts = {
    predict       = "serves predictions"
    train_trigger = "answers webhooks, sweeps, starts trainings"
    train         = "trains"
    sweep         = "lets Cloud Scheduler call the sweep"
  }
}

resource "google_service_account" "account" {
  for_each = local.accounts

  account_id   = "${var.name}-${replace(each.key, "_", "-")}"
  display_name = "labelloop: ${each.value}"

  depends_on = [google_project_service.api]
}

# train_trigger and jobs read, create, replace and delete objects.
resource "google_storage_bucket_iam_member" "writer" {
  for_each = toset(["train_trigger", "train"])

  bucket = google_storage_bucket.store.name
  role   = "roles/storage.objectUser"
  member = google_service_account.account[each.key].member
}

# predict reads everything, and writes only records of rejected versions and the configs of projects.
resource "google_storage_bucket_iam_member" "predict_reads" {
  bucket = google_storage_bucket.store.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.account["predict"].member
}

resource "google_storage_bucket_iam_member" "predict_rejects" {
  bucket = google_storage_bucket.store.name
  role   = "roles/storage.objectCreator"
  member = google_service_account.account["predict"].member

  condition {
    title      = "records of rejected versions"
    expression = "resource.name.extract('/rejected/{record}') != ''"
  }
}

# Replacing an object needs the right to delete it, which objectCreator does not have.
resource "google_storage_bucket_iam_member" "predict_keeps_projects" {
  bucket = google_storage_bucket.store.name
  role   = "roles/storage.objectUser"
  member = google_service_account.account["predict"].member

  condition {
    title      = "configs of projects"
    expression = "resource.name.endsWith('/project.json')"
  }
}

# The rights of the launcher cloud-run:. Google's own roles allow more, or too little.
resource "google_project_iam_custom_role" "launcher" {
  role_id     = "${replace(var.name, "-", "_")}_launcher"
  title       = "labelloop launcher"
  description = "Run one Cloud Run Job with a request, see its executions, cancel them"
  permissions = [
    "run.executions.cancel",
    "run.executions.get",
    "run.executions.list",
    "run.jobs.get",
    "run.jobs.run",
    "run.jobs.runWithOverrides",
  ]

  depends_on = [google_project_service.api]
}

resource "google_cloud_run_v2_job_iam_member" "launcher" {
  name     = google_cloud_run_v2_job.train.name
  location = var.region
  role     = google_project_iam_custom_role.launcher.id
  member   = google_service_account.account["train_trigger"].member
}
