# Each attempt of a training is one execution of this job; the launcher adds TRAIN_REQUEST, which has no secret.
resource "google_cloud_run_v2_job" "train" {
  name                = "${var.name}-train"
  location            = var.region
  deletion_protection = false
  launch_stage        = "BETA" # needed while GPUs of jobs, or tasks longer than an hour, are a preview

  lifecycle {
    ignore_changes = [launch_stage] # Google answers GA where they are not
  }

  template {
    task_count = 1 # the launcher says how many. No parallelism: Cloud Run refuses one above the number of tasks

    template {
      service_account               = google_service_account.account["train"].email
      execution_environment         = "EXECUTION_ENVIRONMENT_GEN2"
      max_retries                   = 0                           # labelloop launches the next attempt, from the checkpoint
      timeout                       = "${var.longest_run + 600}s" # and time before and after the training itself
      gpu_zonal_redundancy_disabled = true

      node_selector {
        accelerator = "nvidia-l4"
      }

      # No memory volume at /dev/shm, because Cloud Run refuses mounts below /dev: the job starts as many dataloader
      # processes as fit into the shared memory. All its files are below /tmp, which is memory on Cloud Run.
      containers {
        name  = "train"
        image = local.image.train

        resources {
          limits = {
            cpu              = tostring(var.train_cpu)
            memory           = "${var.train_memory_gib}Gi"
            "nvidia.com/gpu" = "1"
          }
        }

        dynamic "env" {
          for_each = local.everywhere
          content {
            name  = env.key
            value = env.value
          }
        }
        dynamic "env" {
          for_each = toset(local.readers.train)
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
      }
    }
  }

  depends_on = [google_secret_manager_secret_iam_member.reader, google_storage_bucket_iam_member.writer]
}
