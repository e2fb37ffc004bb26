# Training: GPU instances that start for a job and stop after it.

locals {
  # Batch tries them in this order. Both strategies need no spot fleet role.
  capacity = concat(
    var.spot ? [{ key = "spot", type = "SPOT", strategy = "SPOT_PRICE_CAPACITY_OPTIMIZED" }] : [],
    [{ key = "on-demand", type = "EC2", strategy = "BEST_FIT_PROGRESSIVE" }],
  )
  longest_run_seconds = floor(var.longest_run_hours * 3600)
}

resource "aws_launch_template" "gpu" {
  name_prefix = "${var.name}-gpu-"

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_size           = var.disk_gib
      volume_type           = "gp3"
      encrypted             = true
      delete_on_termination = true
    }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
}

resource "aws_batch_compute_environment" "gpu" {
  for_each = { for capacity in local.capacity : capacity.key => capacity }

  name_prefix = "${var.name}-${each.key}-"
  type        = "MANAGED"

  compute_resources {
    type                = each.value.type
    allocation_strategy = each.value.strategy
    min_vcpus           = 0 # no instance without a job
    max_vcpus           = var.max_vcpus
    instance_type       = var.instance_types
    instance_role       = aws_iam_instance_profile.instance.arn
    subnets             = local.subnet_ids
    security_group_ids  = [aws_security_group.outwards.id]

    ec2_configuration {
      image_type = "ECS_AL2023_NVIDIA"
    }

    launch_template {
      launch_template_id = aws_launch_template.gpu.id
      version            = aws_launch_template.gpu.latest_version
    }
  }

  lifecycle {
    create_before_destroy = true # a queue must always have an environment
  }

  depends_on = [aws_iam_role_policy_attachment.instance]
}

resource "aws_batch_job_queue" "train" {
  name     = "${var.name}-train"
  state    = "ENABLED"
  priority = 1

  dynamic "compute_environment_order" {
    for_each = local.capacity

    content {
      order               = compute_environment_order.key
      compute_environment = aws_batch_compute_environment.gpu[compute_environment_order.value.key].arn
    }
  }

  # Cancels a job that fits no instance, which would block its project for ever. Jobs that wait for capacity go on waiting.
  dynamic "job_state_time_limit_action" {
    for_each = ["MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"]

    content {
      state            = "RUNNABLE"
      reason           = job_state_time_limit_action.value
      max_time_seconds = 600
      action           = "CANCEL"
    }
  }
}

resource "aws_batch_job_definition" "train" {
  name                  = "${var.name}-train"
  type                  = "container"
  platform_capabilities = ["EC2"]

  # labelloop launches the next attempt itself, from the checkpoint.
  retry_strategy {
    attempts = 1
  }

  timeout {
    attempt_duration_seconds = local.longest_run_seconds + 1800
  }

  container_properties = jsonencode({
    image            = local.images["train"]
    jobRoleArn       = aws_iam_role.job.arn
    executionRoleArn = aws_iam_role.execution.arn
    user             = "10001:10001"

    readonlyRootFilesystem = true
    linuxParameters        = { sharedMemorySize = var.job.shared_memory_mib } # /dev/shm, for dataloader processes

    # /tmp is on the instance's disk, and gone with it.
    volumes     = [{ name = "tmp", host = { sourcePath = "/var/tmp" } }]
    mountPoints = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]

    resourceRequirements = [
      { type = "GPU", value = tostring(var.job.gpus) },
      { type = "VCPU", value = tostring(var.job.vcpus) },
      { type = "MEMORY", value = tostring(var.job.memory_mib) },
    ]
    environment = [for name, value in merge(local.environment, { AWS_DEFAULT_REGION = var.region }) : { name = name, value = value }]
    secrets     = [{ name = "LABEL_STUDIO_API_KEY", valueFrom = aws_secretsmanager_secret.secret["LABEL_STUDIO_API_KEY"].arn }]
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.train.name
        awslogs-region        = var.region
        awslogs-stream-prefix = "train"
      }
    }
  })
}

resource "aws_cloudwatch_log_group" "train" {
  name              = "/${var.name}/train"
  retention_in_days = var.log_days
}

locals {
  # Variables of functions and jobs.
  environment = merge(var.settings, {
    LABELLOOP_STORE       = local.store
    LABELLOOP_LONGEST_RUN = tostring(local.longest_run_seconds)
    LABEL_STUDIO_URL      = var.label_studio_url
  })
}
