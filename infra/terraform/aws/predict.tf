# predict without a GPU: scales to zero, runs a small model in a second. Not made if predict_url is set.

locals {
  predict_here = var.predict_url == null
  predict_url  = local.predict_here ? aws_lambda_function_url.predict[0].function_url : var.predict_url
}

resource "aws_lambda_function" "predict" {
  count = local.predict_here ? 1 : 0

  function_name = "${var.name}-predict"
  role          = aws_iam_role.predict[0].arn
  package_type  = "Image"
  image_uri     = local.images["predict"]
  architectures = ["x86_64"]
  memory_size   = var.predict_memory_mib
  timeout       = 100

  reserved_concurrent_executions = var.reserved_concurrency

  ephemeral_storage {
    size = 4096 # MiB of /tmp: weights, and one video at a time
  }

  image_config {
    entry_point = local.lambda_entry_point
    command     = local.lambda_command
  }

  # No TRAIN_TRIGGER_URL: Label Studio gets the address of the light function, which forwards to this one.
  environment {
    variables = merge({ LABELLOOP_CACHE_BYTES = "2000000000" }, local.environment, {
      FUNCTION_SOURCE = "/app/functions/predict/main.py"
      FUNCTION_TARGET = "predict"
      SECRET_ARNS     = jsonencode(local.function_secrets)
    })
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.predict[0].name
  }

  dynamic "vpc_config" {
    for_each = length(var.function_subnet_ids) > 0 ? [1] : []

    content {
      subnet_ids         = var.function_subnet_ids
      security_group_ids = [aws_security_group.outwards.id]
    }
  }

  depends_on = [aws_ecr_repository_policy.lambda, aws_iam_role_policy.predict, aws_iam_role_policy_attachment.predict_vpc]
}

resource "aws_cloudwatch_log_group" "predict" {
  count = local.predict_here ? 1 : 0

  name              = "/${var.name}/predict"
  retention_in_days = var.log_days
}

resource "aws_lambda_function_url" "predict" {
  count = local.predict_here ? 1 : 0

  function_name      = aws_lambda_function.predict[0].function_name
  authorization_type = "NONE" # labelloop checks Label Studio's Basic auth, which the light function forwards
}

resource "aws_iam_role" "predict" {
  count = local.predict_here ? 1 : 0

  name               = "${var.name}-predict"
  assume_role_policy = local.assumed_by["lambda"]
}

resource "aws_iam_role_policy" "predict" {
  count = local.predict_here ? 1 : 0

  name = "store-secrets-log"
  role = aws_iam_role.predict[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.list_store,
      local.read_store,
      {
        Effect   = "Allow"
        Action   = ["s3:PutObject"] # the project's config and records of rejected versions, but no models and pointers
        Resource = ["${local.objects}/projects/*/project.json", "${local.objects}/projects/*/models/*/rejected/*"]
      },
      { Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = values(local.function_secrets) },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.predict[0].arn}:*"]
      },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "predict_vpc" {
  count = local.predict_here && length(var.function_subnet_ids) > 0 ? 1 : 0

  role       = aws_iam_role.predict[0].name
  policy_arn = local.lambda_in_vpc
}
