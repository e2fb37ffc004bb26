# Models, claims, runs. Nothing here is ever replaced but small records and checkpoints, so object versions would keep
# what labelloop versions itself; soft delete brings back for a week what was deleted by mistake.
resource "google_storage_bucket" "store" {
  name                        = "${var.name}-${data.google_project.this.number}"
  location                    = upper(coalesce(var.bucket_location, var.region))
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = var.delete_bucket_with_content

  soft_delete_policy {
    retention_duration_seconds = 7 * 24 * 3600
  }

  # A job that is killed while it uploads leaves an unfinished upload.
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1 # days
    }
  }

  depends_on = [google_project_service.api]
}

locals {
  store = "gs://${google_storage_bucket.store.name}/labelloop"
}
