# Run `terraform test` in the folder above.
variables {
  project          = "my-project-123"
  region           = "europe-west4"
  label_studio_url = "https://label-studio.example.org/annotate"
  image_tag        = "0.1.0"
}

run "the_gpu_sleeps_and_only_the_gpu" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_service.predict.template[0].scaling[0].min_instance_count == 0
    error_message = "An idle GPU costs money."
  }
  assert {
    condition     = google_cloud_run_v2_service.predict.template[0].scaling[0].max_instance_count == 1
    error_message = "The most that predicting can cost must be bounded."
  }
  assert {
    condition     = !google_cloud_run_v2_service.predict.template[0].containers[0].resources[0].cpu_idle
    error_message = "Cloud Run refuses a GPU whose processor is throttled."
  }
  assert {
    condition     = google_cloud_run_v2_service.light["backend"].template[0].scaling[0].min_instance_count == 1
    error_message = "Somebody has to answer Label Studio within a second."
  }
}

run "predict_may_run_on_processors" {
  command = plan
  variables {
    predict_gpu = false
  }

  assert {
    condition     = length(google_cloud_run_v2_service.predict.template[0].node_selector) == 0 && !contains(keys(google_cloud_run_v2_service.predict.template[0].containers[0].resources[0].limits), "nvidia.com/gpu")
    error_message = "No GPU was asked for."
  }
  assert {
    condition     = google_cloud_run_v2_service.predict.template[0].containers[0].resources[0].cpu_idle
    error_message = "Processors are billed only while they answer."
  }
  assert {
    condition     = strcontains(google_cloud_run_v2_service.predict.template[0].containers[0].image, "/labelloop-predict:")
    error_message = "The image without CUDA's libraries starts sooner."
  }
}

run "nothing_retries_but_labelloop" {
  command = plan

  assert {
    condition     = google_cloud_run_v2_job.train.template[0].template[0].max_retries == 0
    error_message = "A retry by Cloud Run would be a second copy of the same attempt."
  }
  assert {
    condition     = google_cloud_run_v2_job.train.template[0].template[0].timeout == "3600s"
    error_message = "A GPU task may take an hour."
  }
}

run "nothing_is_public_that_need_not_be" {
  command = plan

  assert {
    condition     = google_storage_bucket.store.public_access_prevention == "enforced" && google_storage_bucket.store.uniform_bucket_level_access
    error_message = "The bucket must not be public."
  }
  assert {
    condition     = !google_cloud_run_v2_service.light["sweep"].invoker_iam_disabled
    error_message = "The sweep has no credentials of its own: Google must ask for the caller's identity."
  }
  assert {
    condition     = google_cloud_scheduler_job.sweep.http_target[0].headers == null
    error_message = "A header of the scheduler would lie in the state."
  }
}

run "predict_may_be_private" {
  command = plan
  variables {
    predict_private = true
  }

  assert {
    condition     = google_cloud_run_v2_service.predict.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY"
    error_message = "Nobody but train_trigger may reach predict."
  }
  assert {
    condition     = length(google_cloud_run_v2_service.light["backend"].template[0].vpc_access) == 1
    error_message = "train_trigger reaches predict over the network made here."
  }
}

run "applied_and_changed" {
  variables {
    image_tag = "0.2.0"
  }

  assert {
    condition     = output.launcher == "cloud-run://my-project-123/europe-west4/labelloop-train"
    error_message = "The launcher must name the job."
  }
  assert {
    condition     = strcontains(output.connect, "export LABELLOOP_STORE=gs://labelloop-123456789012/labelloop\n")
    error_message = "The commands must be ready to be pasted."
  }
}

run "settings_of_mlflow_and_opentelemetry" {
  command = plan
  variables {
    settings = { LABELLOOP_TRACKING_URI = "https://mlflow.example.org", MLFLOW_TRACKING_TOKEN = "x", OTEL_TRACES_SAMPLER = "always_on" }
  }
}

run "settings_hold_no_secrets" {
  command = plan
  variables {
    settings = { LABELLOOP_WEBHOOK_SECRET = "hush" }
  }
  expect_failures = [var.settings]
}

run "addresses_hold_no_passwords" {
  command = plan
  variables {
    label_studio_url = "https://me:hush@label-studio.example.org"
  }
  expect_failures = [var.label_studio_url]
}

run "a_training_fits_into_cloud_runs_limit" {
  command = plan
  variables {
    longest_run = 86400
  }
  expect_failures = [var.longest_run]
}
