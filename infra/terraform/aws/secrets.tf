# Secrets without values: a person sets them (docs/deploy/aws.md), so that none is in Terraform's state.

locals {
  secrets = {
    LABEL_STUDIO_API_KEY          = "label-studio-api-key"
    LABELLOOP_BASIC_AUTH_PASSWORD = "basic-auth-password"
    LABELLOOP_WEBHOOK_SECRET      = "webhook-secret"
  }
  function_secrets = { for variable, secret in aws_secretsmanager_secret.secret : variable => secret.arn }
}

resource "aws_secretsmanager_secret" "secret" {
  for_each = local.secrets

  name                    = "${var.name}/${each.value}"
  recovery_window_in_days = 0 # else the names would be blocked for weeks; all three can be made again
}
