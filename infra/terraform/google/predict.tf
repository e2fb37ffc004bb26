# predict, without an instance while idle. train_trigger then answers Label Studio, and wakes predict when annotating begins.
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
    gpu_zonal_redundancy_disabled    = true # cheaper, and with a quota of its own

    scaling {
      min_instance_count = var.predict_min_instances
      max_instance_count = var.predict_max_instances
    }

    node_selector {
      accelerator = "nvidia-l4"
    }

    containers {
      image = local.image["predict-cuda"]

      resources {
        limits            = { cpu = "4", memory = "16Gi", "nvidia.com/gpu" = "1" } # the minimum with an L4
        cpu_idle          = false                                                  # required with a GPU: billed while it runs
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.everywhere, { TRAIN_TRIGGER_URL = local.url["train-trigger"] })
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
