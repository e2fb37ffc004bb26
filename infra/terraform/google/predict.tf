# predict, with a GPU or on processors, without an instance while idle. train_trigger then answers Label Studio, and wakes predict when annotating begins.
resource "google_cloud_run_v2_service" "predict" {
  name                 = "${var.name}-predict"
  location             = var.region
  ingress              = var.predict_private ? "INGRESS_TRAFFIC_INTERNAL_ONLY" : "INGRESS_TRAFFIC_ALL"
  invoker_iam_disabled = true # protected by labelloop's own credentials: see train_trigger.tf
  deletion_protection  = false

  template {
    service_account                  = google_service_account.account["predict"].email
    execution_environment            = "EXECUTION_ENVIRONMENT_GEN2"
    timeout                          = "120s"
    max_instance_request_concurrency = var.predict_concurrency
    gpu_zonal_redundancy_disabled    = var.predict_gpu ? true : null # cheaper, and with a quota of its own

    scaling {
      min_instance_count = var.predict_min_instances
      max_instance_count = var.predict_max_instances
    }

    dynamic "node_selector" {
      for_each = var.predict_gpu ? ["nvidia-l4"] : []
      content {
        accelerator = node_selector.value
      }
    }

    containers {
      image = local.image[var.predict_gpu ? "predict-cuda" : "predict"]

      resources {
        limits            = var.predict_gpu ? local.with_l4 : { cpu = "2", memory = "4Gi" }
        cpu_idle          = !var.predict_gpu # a GPU is billed while the instance is there, processors while it answers
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(var.predict_gpu ? {} : { LABELLOOP_CACHE_BYTES = "500000000" }, local.everywhere, { TRAIN_TRIGGER_URL = local.url["train-trigger"] })
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = toset(local.readers.predict)
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = google_secret_manager_secret.secret[env.key].secret_id
              version = "latest"
            }
          }
        }
      }

      startup_probe {
        period_seconds    = 2
        timeout_seconds   = 2
        failure_threshold = 110
        http_get {
          path = "/health"
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_storage_bucket_iam_member.predict_reads]
}

locals {
  with_l4 = { cpu = "4", memory = "16Gi", "nvidia.com/gpu" = "1" } # Cloud Run's minimum
}
