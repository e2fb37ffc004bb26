# The roles of the light function and of the sweep's schedule.

resource "aws_iam_role" "light" {
  name               = "${var.name}-light"
  assume_role_policy = local.assumed_by["lambda"]
}

resource "aws_iam_role_policy" "light" {
  name = "store-launch-secrets-log"
  role = aws_iam_role.light.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.list_store,
      { Effect = "Allow", Action = ["s3:GetObject", "s3:PutObject"], Resource = ["${local.objects}/*"] },
      # Before its first write it tests the store's conditional writes, and removes the test's objects.
      { Effect = "Allow", Action = ["s3:DeleteObject"], Resource = ["${local.objects}/labelloop/selftest/*"] },
      {
        Effect = "Allow"
        Action = ["batch:SubmitJob"]
        Resource = [
          aws_batch_job_queue.train.arn,
          aws_batch_job_definition.train.arn_prefix,
          "${aws_batch_job_definition.train.arn_prefix}:*", # any revision
          local.jobs,
        ]
      },
      { Effect = "Allow", Action = ["batch:TerminateJob"], Resource = [local.jobs] },
      {
        Effect   = "Allow"
        Action   = ["batch:DescribeJobs", "batch:ListJobs", "batch:DescribeJobQueues", "batch:DescribeJobDefinitions"]
        Resource = ["*"] # these cannot be limited to resources
      },
      { Effect = "Allow", Action = ["secretsmanager:GetSecretValue"], Resource = values(local.function_secrets) },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.light.arn}:*"]
      },
    ]
  })
}

resource "aws_iam_role_policy_attachment" "light_vpc" {
  count = length(var.function_subnet_ids) > 0 ? 1 : 0

  role       = aws_iam_role.light.name
  policy_arn = local.lambda_in_vpc
}

resource "aws_iam_role" "sweep" {
  name               = "${var.name}-sweep"
  assume_role_policy = local.assumed_by["scheduler"]
}

resource "aws_iam_role_policy" "sweep" {
  name = "invoke"
  role = aws_iam_role.sweep.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = [aws_lambda_alias.light.arn] },
    ]
  })
}

locals {
  jobs          = "arn:${local.partition}:batch:${var.region}:${local.account}:job/*" # ids are not known before the launch
  lambda_in_vpc = "arn:${local.partition}:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"
}
