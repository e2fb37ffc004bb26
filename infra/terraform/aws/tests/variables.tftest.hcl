# Wrong values are refused in the plan.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region           = "eu-central-1"
  label_studio_url = "https://label-studio.example.org"
  image_tag        = "0.1.0"
}

run "instances_without_nvidia" {
  command         = plan
  expect_failures = [var.instance_types]

  variables {
    instance_types = ["g5g.xlarge", "g4ad.xlarge", "m7i.large"]
  }
}

run "more_shared_memory_than_memory" {
  command         = plan
  expect_failures = [var.job]

  variables {
    job = { memory_mib = 4000, shared_memory_mib = 4096 }
  }
}

run "a_password_among_settings" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { LABELLOOP_BASIC_AUTH_PASSWORD = "x" }
  }
}

run "a_setting_that_is_none" {
  command         = plan
  expect_failures = [var.settings]

  variables {
    settings = { PREDICT_URL = "https://predict.example.org" }
  }
}

run "settings_of_mlflow_and_opentelemetry" {
  command = plan

  variables {
    settings = { LABELLOOP_TRACKING_URI = "https://mlflow.example.org", MLFLOW_TRACKING_TOKEN = "x", OTEL_TRACES_SAMPLER = "always_on" }
  }
}

run "addresses_with_passwords" {
  command         = plan
  expect_failures = [var.label_studio_url, var.predict_url]

  variables {
    label_studio_url = "https://user:password@label-studio.example.org"
    predict_url      = "https://user:password@predict.example.org"
  }
}

run "subnets_of_no_vpc" {
  command         = plan
  expect_failures = [var.subnet_ids]

  variables {
    subnet_ids = ["subnet-00000000000000001"]
  }
}

run "numbers_out_of_range" {
  command = plan
  expect_failures = [
    var.max_vcpus, var.disk_gib, var.longest_run_hours, var.predict_memory_mib, var.reserved_concurrency, var.warm_instances, var.log_days,
    var.keep_deleted_days, var.name, var.image_tag,
  ]

  variables {
    max_vcpus            = 2
    disk_gib             = 30
    longest_run_hours    = 0
    predict_memory_mib   = 512
    reserved_concurrency = 0
    warm_instances       = -1
    log_days             = 2
    keep_deleted_days    = 0
    name                 = "Label Loop"
    image_tag            = "registry/image:tag"
  }
}
