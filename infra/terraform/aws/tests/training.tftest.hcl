# Batch: it scales to zero, runs a job once, and its roles have the least rights.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region           = "eu-central-1"
  label_studio_url = "https://label-studio.example.org"
  image_tag        = "0.1.0"
}

run "no_job_no_instance" {
  command = apply

  assert {
    condition     = alltrue([for environment in aws_batch_compute_environment.gpu : environment.compute_resources[0].min_vcpus == 0])
    error_message = "Compute environments must scale to zero."
  }
  assert {
    condition = { for key, environment in aws_batch_compute_environment.gpu : key => environment.compute_resources[0].type } == {
      on-demand = "EC2"
      spot      = "SPOT"
    }
    error_message = "One environment of spot instances, one of on-demand ones."
  }
  assert {
    condition     = [for capacity in local.capacity : capacity.key] == ["spot", "on-demand"] && [for one in aws_batch_job_queue.train.compute_environment_order : one.order] == [0, 1]
    error_message = "Spot must come first."
  }
  assert {
    condition     = alltrue([for environment in aws_batch_compute_environment.gpu : environment.compute_resources[0].ec2_configuration[0].image_type == "ECS_AL2023_NVIDIA"])
    error_message = "Instances must come with NVIDIA's driver."
  }
  assert {
    condition     = aws_launch_template.gpu.metadata_options[0].http_tokens == "required" && tobool(aws_launch_template.gpu.block_device_mappings[0].ebs[0].encrypted)
    error_message = "IMDSv2 and an encrypted disk."
  }
}

run "a_job_runs_once_and_ends_in_time" {
  assert {
    condition     = aws_batch_job_definition.train.retry_strategy[0].attempts == 1
    error_message = "Batch must not retry: labelloop starts the next attempt itself."
  }
  assert {
    condition     = aws_batch_job_definition.train.timeout[0].attempt_duration_seconds == 6 * 3600 + 1800
    error_message = "The job must outlive the longest run, by half an hour."
  }
  assert {
    condition = alltrue([
      for action in aws_batch_job_queue.train.job_state_time_limit_action : startswith(action.reason, "MISCONFIGURATION:")
    ])
    error_message = "A job that waits for capacity must not be cancelled."
  }
}

run "the_container_is_locked_up" {
  assert {
    condition     = jsondecode(aws_batch_job_definition.train.container_properties).readonlyRootFilesystem
    error_message = "The root file system must be read-only."
  }
  assert {
    condition     = jsondecode(aws_batch_job_definition.train.container_properties).user == "10001:10001"
    error_message = "Not root."
  }
  assert {
    condition     = [for mount in jsondecode(aws_batch_job_definition.train.container_properties).mountPoints : mount.containerPath] == ["/tmp"]
    error_message = "Only /tmp is a volume."
  }
  assert {
    condition     = jsondecode(aws_batch_job_definition.train.container_properties).linuxParameters == { sharedMemorySize = 4096 }
    error_message = "The data loader needs shared memory."
  }
  assert {
    condition = jsondecode(aws_batch_job_definition.train.container_properties).resourceRequirements == [
      { type = "GPU", value = "1" },
      { type = "VCPU", value = "4" },
      { type = "MEMORY", value = "14000" },
    ]
    error_message = "What one job gets."
  }
  assert {
    condition     = [for secret in jsondecode(aws_batch_job_definition.train.container_properties).secrets : secret.name] == ["LABEL_STUDIO_API_KEY"]
    error_message = "The job needs the token, and neither password nor webhook secret."
  }
  assert {
    condition = { for one in jsondecode(aws_batch_job_definition.train.container_properties).environment : one.name => one.value } == {
      AWS_DEFAULT_REGION    = "eu-central-1"
      LABEL_STUDIO_URL      = "https://label-studio.example.org"
      LABELLOOP_LONGEST_RUN = "21600"
      LABELLOOP_STORE       = "s3://labelloop-123456789012-eu-central-1/labelloop"
    }
    error_message = "The job's plain variables."
  }
}

run "roles_of_a_job" {
  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.job.policy).Statement : join(" ", statement.Action) => statement.Resource } == {
      "s3:ListBucket"                                                     = ["arn:aws:s3:::the-store"]
      "s3:GetObject s3:PutObject s3:DeleteObject s3:AbortMultipartUpload" = ["arn:aws:s3:::the-store/labelloop/*"]
    }
    error_message = "A job may use its part of the bucket and nothing else."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement :
      statement.Resource != ["*"] || statement.Action == ["ecr:GetAuthorizationToken"]
    ])
    error_message = "The execution role may read one image, one secret, and write one log."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement :
      !contains(statement.Action, "secretsmanager:GetSecretValue") || length(statement.Resource) == 1
    ])
    error_message = "One secret."
  }
}

run "on_demand_only" {
  variables {
    spot = false
  }

  assert {
    condition     = keys(aws_batch_compute_environment.gpu) == ["on-demand"] && length(aws_batch_job_queue.train.compute_environment_order) == 1
    error_message = "spot = false must leave on-demand alone."
  }
}

run "a_machine_with_four_gpus" {
  variables {
    instance_types    = ["g6.12xlarge"]
    max_vcpus         = 48
    job               = { gpus = 4, vcpus = 48, memory_mib = 180000, shared_memory_mib = 32768 }
    longest_run_hours = 1.5
  }

  assert {
    condition     = jsondecode(aws_batch_job_definition.train.container_properties).resourceRequirements[0] == { type = "GPU", value = "4" }
    error_message = "All four GPUs."
  }
  assert {
    condition     = aws_batch_job_definition.train.timeout[0].attempt_duration_seconds == 5400 + 1800
    error_message = "Hours may be fractions."
  }
}
