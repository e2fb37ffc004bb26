# train_trigger, whose address Label Studio gets, and its sweep, every minute.

resource "aws_lambda_function" "light" {
  function_name = "${var.name}-light"
  role          = aws_iam_role.light.arn
  package_type  = "Image"
  image_uri     = local.images["light"]
  architectures = ["x86_64"]
  memory_size   = 1024
  timeout       = 100 # as long as Label Studio waits for predictions

  reserved_concurrent_executions = var.reserved_concurrency
  publish                        = true

  image_config {
    entry_point = local.lambda_entry_point
    command     = local.lambda_command
  }

  environment {
    variables = merge(local.environment, {
      FUNCTION_SOURCE    = "/app/functions/train_trigger/main.py"
      FUNCTION_TARGET    = "train_trigger"
      LABELLOOP_LAUNCHER = "aws-batch://${aws_batch_job_queue.train.name}/${aws_batch_job_definition.train.name}"
      PREDICT_URL        = local.predict_url
      SECRET_ARNS        = jsonencode(local.function_secrets)
    })
  }

  logging_config {
    log_format = "Text" # labelloop's lines are JSON already
    log_group  = aws_cloudwatch_log_group.light.name
  }

  dynamic "vpc_config" {
    for_each = length(var.function_subnet_ids) > 0 ? [1] : []

    content {
      subnet_ids         = var.function_subnet_ids
      security_group_ids = [aws_security_group.outwards.id]
    }
  }

  depends_on = [aws_ecr_repository_policy.lambda, aws_iam_role_policy.light, aws_iam_role_policy_attachment.light_vpc]
}

resource "aws_cloudwatch_log_group" "light" {
  name              = "/${var.name}/light"
  retention_in_days = var.log_days
}

resource "aws_lambda_alias" "light" {
  name             = "live"
  function_name    = aws_lambda_function.light.function_name
  function_version = aws_lambda_function.light.version
}

resource "aws_lambda_provisioned_concurrency_config" "light" {
  count = var.warm_instances > 0 ? 1 : 0

  function_name                     = aws_lambda_alias.light.function_name
  qualifier                         = aws_lambda_alias.light.name
  provisioned_concurrent_executions = var.warm_instances
}

# NONE: Label Studio cannot sign requests for AWS. labelloop itself needs Basic auth or the secret header on every route but /health.
resource "aws_lambda_function_url" "light" {
  function_name      = aws_lambda_alias.light.function_name
  qualifier          = aws_lambda_alias.light.name
  authorization_type = "NONE"
}

# The sweep invokes the function by IAM, not by its URL, so the schedule needs no secret.
resource "aws_scheduler_schedule" "sweep" {
  name                = "${var.name}-sweep"
  schedule_expression = "rate(1 minute)"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_alias.light.arn
    role_arn = aws_iam_role.sweep.arn
    input    = jsonencode({ labelloop = "sweep" })

    retry_policy {
      maximum_retry_attempts       = 0 # the next sweep comes in a minute
      maximum_event_age_in_seconds = 60
    }
  }
}

resource "aws_lambda_function_event_invoke_config" "sweep" {
  function_name                = aws_lambda_alias.light.function_name
  qualifier                    = aws_lambda_alias.light.name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}

locals {
  # The ordinary images, started with Lambda's runtime client: infra/aws_lambda.
  lambda_entry_point = ["python", "-m", "awslambdaric"]
  lambda_command     = ["infra.aws_lambda.main.handler"]
}
