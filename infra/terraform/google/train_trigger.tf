# The light function as two services. `backend` is called by Label Studio: open to the network, because Label Studio has Basic
# auth but no Google tokens; every route but /health needs labelloop's own credentials. `sweep` is for Cloud Scheduler only:
# Google checks the caller's identity, so that no secret is in the scheduler or in Terraform's state.
locals {
  # Known before the services exist, because each names the other. https://cloud.google.com/run/docs/triggering/https-request
  url = {
    for part in ["predict", "train-trigger"] :
    part => "https://${var.name}-${part}-${data.google_project.this.number}.${var.region}.run.app"
  }
  launcher = "cloud-run://${var.project}/${var.region}/${google_cloud_run_v2_job.train.name}"

  everywhere = merge(var.settings, {
    LABEL_STUDIO_URL      = var.label_studio_url
    LABELLOOP_LONGEST_RUN = tostring(var.longest_run)
    LABELLOOP_STORE       = local.store
  })
  light = {
    backend = {
      name    = "${var.name}-train-trigger"
      environ = { PREDICT_URL = local.url["predict"] }
      secrets = local.readers.train_trigger
      min     = var.train_trigger_min_instances
      max     = var.train_trigger_max_instances
    }
    sweep = {
      name    = "${var.name}-sweep"
      environ = { LABELLOOP_AUTH = "off" } # Cloud Run checks the caller
      secrets = ["LABEL_STUDIO_API_KEY"]
      min     = 0
      max     = 1
    }
  }
}

resource "google_cloud_run_v2_service" "light" {
  for_each = local.light

  name                 = each.value.name
  location             = var.region
  ingress              = each.key == "backend" ? "INGRESS_TRAFFIC_ALL" : "INGRESS_TRAFFIC_INTERNAL_ONLY" # Cloud Scheduler is internal
  invoker_iam_disabled = each.key == "backend"
  deletion_protection  = false # it has no state

  template {
    service_account                  = google_service_account.account["train_trigger"].email
    timeout                          = "120s" # longer than the 100 s that Label Studio waits for predictions
    max_instance_request_concurrency = 60     # the function has 64 threads

    scaling {
      min_instance_count = each.value.min
      max_instance_count = each.value.max
    }

    containers {
      image = local.image.light

      resources {
        limits            = { cpu = "1", memory = "512Mi" }
        cpu_idle          = true # billed and running only while it answers a request
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = merge(local.everywhere, each.value.environ, { LABELLOOP_LAUNCHER = local.launcher })
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = toset(each.value.secrets)
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
        period_seconds    = 1
        timeout_seconds   = 1
        failure_threshold = 60
        http_get {
          path = "/health"
        }
      }
    }

    dynamic "vpc_access" {
      for_each = each.key == "backend" ? google_compute_subnetwork.private : []
      content {
        egress = "PRIVATE_RANGES_ONLY" # Label Studio and images are reached directly
        network_interfaces {
          network    = vpc_access.value.network
          subnetwork = vpc_access.value.name
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_storage_bucket_iam_member.writer]
}
