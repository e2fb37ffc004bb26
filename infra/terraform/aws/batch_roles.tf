# Roles of the training job (job), of ECS when it starts the container (execution), and of the EC2 instance (instance).

resource "aws_iam_role" "job" {
  name               = "${var.name}-job"
  assume_role_policy = local.assumed_by["ecs-tasks"]
}

resource "aws_iam_role_policy" "job" {
  name = "store"
  role = aws_iam_role.job.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.list_store,
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        Resource = ["${local.objects}/*"]
      },
    ]
  })
}

resource "aws_iam_role" "execution" {
  name               = "${var.name}-execution"
  assume_role_policy = local.assumed_by["ecs-tasks"]
}

resource "aws_iam_role_policy" "execution" {
  name = "image-secret-log"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
        Resource = [aws_ecr_repository.image["train"].arn]
      },
      { Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] }, # cannot be limited to resources
      {
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [aws_secretsmanager_secret.secret["LABEL_STUDIO_API_KEY"].arn]
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.train.arn}:*"]
      },
    ]
  })
}

resource "aws_iam_role" "instance" {
  name               = "${var.name}-instance"
  assume_role_policy = local.assumed_by["ec2"]
}

resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instance" {
  name = "${var.name}-instance"
  role = aws_iam_role.instance.name
}

locals {
  assumed_by = {
    for service in ["ec2", "ecs-tasks", "lambda", "scheduler"] : service => jsonencode({
      Version = "2012-10-17"
      Statement = [merge(
        { Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "${service}.amazonaws.com" } },
        # Else a schedule of any account could assume the role.
        service == "scheduler" ? { Condition = { StringEquals = { "aws:SourceAccount" = local.account } } } : {},
      )]
    })
  }
}
