# The light function, its sweep, and predict.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region           = "eu-central-1"
  label_studio_url = "https://label-studio.example.org"
  image_tag        = "0.1.0"
}

run "the_light_function" {
  command = apply

  assert {
    condition = { for name, value in aws_lambda_function.light.environment[0].variables : name => value if name != "SECRET_ARNS" } == {
      FUNCTION_SOURCE       = "/app/functions/train_trigger/main.py"
      FUNCTION_TARGET       = "train_trigger"
      LABEL_STUDIO_URL      = "https://label-studio.example.org"
      LABELLOOP_LAUNCHER    = "aws-batch://labelloop-train/labelloop-train"
      LABELLOOP_LONGEST_RUN = "21600"
      LABELLOOP_STORE       = "s3://labelloop-123456789012-eu-central-1/labelloop"
      PREDICT_URL           = "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws/"
    }
    error_message = "The plain variables of the light function."
  }
  assert {
    condition     = toset(keys(jsondecode(aws_lambda_function.light.environment[0].variables["SECRET_ARNS"]))) == toset(["LABEL_STUDIO_API_KEY", "LABELLOOP_BASIC_AUTH_PASSWORD", "LABELLOOP_WEBHOOK_SECRET"])
    error_message = "The light function reads three secrets."
  }
  assert {
    condition     = aws_lambda_function.light.timeout >= 100 && aws_lambda_function_url.light.qualifier == "live"
    error_message = "Label Studio waits 100 s for predictions; the address belongs to the alias."
  }
  assert {
    condition     = length(aws_lambda_function.light.vpc_config) == 0 && length(aws_lambda_provisioned_concurrency_config.light) == 0
    error_message = "No VPC and no paid instances unless asked for."
  }
  assert {
    condition     = output.backend_url == "https://abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws" && output.launcher == "aws-batch://labelloop-train/labelloop-train"
    error_message = "What a person needs next."
  }
}

run "what_the_light_function_may_do" {
  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.light.policy).Statement : join(" ", statement.Action) => statement.Resource if !strcontains(join(" ", statement.Action), "secretsmanager") } == {
      "s3:ListBucket"             = ["arn:aws:s3:::the-store"]
      "s3:GetObject s3:PutObject" = ["arn:aws:s3:::the-store/labelloop/*"]
      "s3:DeleteObject"           = ["arn:aws:s3:::the-store/labelloop/labelloop/selftest/*"]
      "batch:SubmitJob" = [
        "arn:aws:batch:eu-central-1:123456789012:job-queue/labelloop-train",
        "arn:aws:batch:eu-central-1:123456789012:job-definition/labelloop-train",
        "arn:aws:batch:eu-central-1:123456789012:job-definition/labelloop-train:*",
        "arn:aws:batch:eu-central-1:123456789012:job/*",
      ]
      "batch:TerminateJob"                                                                     = ["arn:aws:batch:eu-central-1:123456789012:job/*"]
      "batch:DescribeJobs batch:ListJobs batch:DescribeJobQueues batch:DescribeJobDefinitions" = ["*"]
      "logs:CreateLogStream logs:PutLogEvents"                                                 = ["arn:aws:logs:eu-central-1:123456789012:log-group:a-group:*"]
    }
    error_message = "It may launch one definition on one queue, and deletes no model."
  }
}

run "no_policy_allows_every_action" {
  assert {
    condition = alltrue(flatten([
      for policy in [
        aws_iam_role_policy.light.policy, aws_iam_role_policy.predict[0].policy, aws_iam_role_policy.sweep.policy,
        aws_iam_role_policy.job.policy, aws_iam_role_policy.execution.policy,
        ] : [
        for statement in jsondecode(policy).Statement : [for action in statement.Action : !strcontains(action, "*")]
      ]
    ]))
    error_message = "Actions must be named."
  }
  assert {
    condition = alltrue([
      for policy in [aws_iam_role_policy.light.policy, aws_iam_role_policy.predict[0].policy, aws_iam_role_policy.job.policy] :
      !strcontains(policy, "s3:DeleteObjectVersion")
    ])
    error_message = "What was deleted must stay for keep_deleted_days, whoever deleted it."
  }
}

run "the_sweep_needs_no_secret" {
  assert {
    condition     = aws_scheduler_schedule.sweep.schedule_expression == "rate(1 minute)" && aws_scheduler_schedule.sweep.target[0].arn == aws_lambda_alias.light.arn
    error_message = "Every minute."
  }
  assert {
    condition     = jsondecode(aws_scheduler_schedule.sweep.target[0].input) == { labelloop = "sweep" } # as infra/aws_lambda/events.py has it
    error_message = "The schedule's event."
  }
  assert {
    condition     = jsondecode(aws_iam_role_policy.sweep.policy).Statement == [{ Effect = "Allow", Action = ["lambda:InvokeFunction"], Resource = [aws_lambda_alias.light.arn] }]
    error_message = "The schedule may invoke the light function only."
  }
  assert {
    condition     = jsondecode(aws_iam_role.sweep.assume_role_policy).Statement[0].Condition == { StringEquals = { "aws:SourceAccount" = "123456789012" } }
    error_message = "Schedules of this account only."
  }
  assert {
    condition     = aws_lambda_function_event_invoke_config.sweep.maximum_retry_attempts == 0
    error_message = "A sweep that failed is not repeated: the next one comes."
  }
}

run "predict_without_gpu" {
  assert {
    condition = { for statement in jsondecode(aws_iam_role_policy.predict[0].policy).Statement : join(" ", statement.Action) => statement.Resource if startswith(statement.Action[0], "s3:") } == {
      "s3:ListBucket" = ["arn:aws:s3:::the-store"]
      "s3:GetObject"  = ["arn:aws:s3:::the-store/labelloop/*"]
      "s3:PutObject" = [
        "arn:aws:s3:::the-store/labelloop/projects/*/project.json",
        "arn:aws:s3:::the-store/labelloop/projects/*/models/*/rejected/*",
      ]
    }
    error_message = "predict writes neither models nor pointers."
  }
  assert {
    condition     = !contains(keys(aws_lambda_function.predict[0].environment[0].variables), "LABELLOOP_LAUNCHER")
    error_message = "predict launches nothing."
  }
}

run "predict_elsewhere" {
  variables {
    predict_url = "https://predict.example.org"
  }

  assert {
    condition     = length(aws_lambda_function.predict) == 0 && length(aws_lambda_function_url.predict) == 0 && length(aws_iam_role.predict) == 0
    error_message = "Nothing of predict is made here."
  }
  assert {
    condition     = aws_lambda_function.light.environment[0].variables["PREDICT_URL"] == "https://predict.example.org"
    error_message = "The light function hands over to the other one."
  }
}

run "a_team_in_a_private_network" {
  variables {
    vpc_id               = "vpc-00000000000000001"
    subnet_ids           = ["subnet-00000000000000001"]
    function_subnet_ids  = ["subnet-00000000000000001"]
    s3_route_table_ids   = ["rtb-00000000000000001"]
    warm_instances       = 2
    reserved_concurrency = 50
    settings             = { LABELLOOP_MIN_ANNOTATIONS = "50" }
  }

  assert {
    condition     = aws_lambda_function.light.vpc_config[0].subnet_ids == toset(["subnet-00000000000000001"]) && length(aws_iam_role_policy_attachment.light_vpc) == 1
    error_message = "The functions must be in the VPC."
  }
  assert {
    condition     = aws_lambda_provisioned_concurrency_config.light[0].provisioned_concurrent_executions == 2 && aws_lambda_function.predict[0].reserved_concurrent_executions == 50
    error_message = "Concurrency as asked for."
  }
  assert {
    condition     = aws_vpc_endpoint.s3[0].vpc_endpoint_type == "Gateway" && length(data.aws_vpc.default) == 0
    error_message = "S3 by gateway, and no look at the default VPC."
  }
  assert {
    condition     = aws_lambda_function.predict[0].environment[0].variables["LABELLOOP_MIN_ANNOTATIONS"] == "50"
    error_message = "Settings reach every part."
  }
}
