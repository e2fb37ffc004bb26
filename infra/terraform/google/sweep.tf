resource "google_cloud_run_v2_service_iam_member" "sweep" {
  name     = google_cloud_run_v2_service.light["sweep"].name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.account["sweep"].member
}

resource "google_cloud_scheduler_job" "sweep" {
  name             = "${var.name}-sweep"
  region           = var.region
  description      = "Finds changes whose webhook was lost, and resumes killed runs"
  schedule         = "* * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "120s"

  retry_config {
    retry_count = 0 # the next sweep comes in a minute
  }

  http_target {
    http_method = "POST"
    uri         = "${google_cloud_run_v2_service.light["sweep"].uri}/sweep"

    oidc_token {
      service_account_email = google_service_account.account["sweep"].email
      audience              = google_cloud_run_v2_service.light["sweep"].uri
    }
  }

  depends_on = [google_project_service.api, google_cloud_run_v2_service_iam_member.sweep]
}
