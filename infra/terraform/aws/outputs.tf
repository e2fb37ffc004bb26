output "registry" {
  description = "Where to push the images: <registry>/<name>-light:<image_tag>, …-predict, …-train."
  value       = split("/", aws_ecr_repository.image["light"].repository_url)[0]
}

output "secrets" {
  description = "Secrets that need a value: variable → name."
  value       = { for variable, secret in aws_secretsmanager_secret.secret : variable => secret.name }
}

output "backend_url" {
  description = "The address for Label Studio: labelloop connect --backend-url, and TRAIN_TRIGGER_URL of the labelloop command."
  value       = trimsuffix(aws_lambda_function_url.light.function_url, "/")
}

output "predict_url" {
  description = "The address of predict, to which the light function forwards /predict."
  value       = trimsuffix(local.predict_url, "/")
}

output "store" {
  description = "LABELLOOP_STORE of the labelloop command, and of a predict elsewhere."
  value       = local.store
}

output "launcher" {
  description = "LABELLOOP_LAUNCHER of the light function."
  value       = aws_lambda_function.light.environment[0].variables["LABELLOOP_LAUNCHER"]
}

output "logs" {
  description = "Commands that follow the logs."
  value = {
    light = "aws logs tail /${var.name}/light --follow --region ${var.region}"
    train = "aws logs tail /${var.name}/train --follow --region ${var.region}"
  }
}
