# Secrets without values: a person sets them (docs/deploy/google.md), so that none is in Terraform's state or plan.
locals {
  secrets = {
    LABEL_STUDIO_API_KEY          = "label-studio-api-key"
    LABELLOOP_BASIC_AUTH_PASSWORD = "basic-auth-password"
    LABELLOOP_WEBHOOK_SECRET      = "webhook-secret"
  }
  # Account → secrets that it reads. The service sweep is called by Cloud Scheduler only and needs no credentials of labelloop.
  readers = {
    predict       = ["LABEL_STUDIO_API_KEY", "LABELLOOP_BASIC_AUTH_PASSWORD", "LABELLOOP_WEBHOOK_SECRET"]
    train_trigger = ["LABEL_STUDIO_API_KEY", "LABELLOOP_BASIC_AUTH_PASSWORD", "LABELLOOP_WEBHOOK_SECRET"]
    train         = ["LABEL_STUDIO_API_KEY"]
  }
}

resource "google_secret_manager_secret" "secret" {
  for_each = local.secrets

  secret_id = "${var.name}-${each.value}"
  replication {
    auto {}
  }

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_iam_member" "reader" {
  for_each = merge([
    for account, variables in local.readers : {
      for variable in variables : "${account} ${variable}" => { account = account, variable = variable }
    }
  ]...)

  secret_id = google_secret_manager_secret.secret[each.value.variable].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.account[each.value.account].member
}
