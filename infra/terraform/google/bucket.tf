# The store: models, claims, runs. Object versions are off, because only small records and checkpoints are ever replaced.
# Soft delete can restore deleted objects for a week.
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

  # Removes unfinished uploads of killed jobs.
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
