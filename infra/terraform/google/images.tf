resource "google_artifact_registry_repository" "images" {
  repository_id = var.name
  location      = var.region
  format        = "DOCKER"
  description   = "Images of labelloop"

  docker_config {
    immutable_tags = true
  }

  # An image with CUDA has gigabytes: keep the newest five of each, remove others after a month.
  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 5
    }
  }
  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"
    condition {
      tag_state  = "ANY"
      older_than = "2592000s"
    }
  }

  depends_on = [google_project_service.api]
}

locals {
  repository = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.repository_id}"
  image      = { for part in ["light", "predict", "predict-cuda", "train"] : part => "${local.repository}/labelloop-${part}:${var.image_tag}" }
}
