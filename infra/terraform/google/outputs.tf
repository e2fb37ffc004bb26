output "repository" {
  description = "Where to push the images: labelloop-light, labelloop-train, and labelloop-predict-cuda (without predict_gpu: labelloop-predict)."
  value       = local.repository
}

output "secrets" {
  description = "Secrets that need a value: variable → name."
  value       = { for variable, secret in google_secret_manager_secret.secret : variable => secret.secret_id }
}

output "backend_url" {
  description = "The address for Label Studio: labelloop connect --backend-url, and TRAIN_TRIGGER_URL of the labelloop command."
  value       = local.url["train-trigger"]
}

output "predict_url" {
  description = "The address of predict, to which train_trigger forwards /predict. Not for Label Studio: predict is too slow to wake."
  value       = local.url["predict"]
}

output "store" {
  description = "LABELLOOP_STORE of the labelloop command."
  value       = local.store
}

output "launcher" {
  description = "LABELLOOP_LAUNCHER of train_trigger."
  value       = local.launcher
}

output "logs" {
  description = "Commands that show the newest log lines."
  value = {
    train_trigger = "gcloud run services logs read ${var.name}-train-trigger --project ${var.project} --region ${var.region}"
    predict       = "gcloud run services logs read ${var.name}-predict --project ${var.project} --region ${var.region}"
    train         = "gcloud run jobs executions list --job ${var.name}-train --project ${var.project} --region ${var.region}"
  }
}

output "connect" {
  description = "What to paste before labelloop connect, doctor and status; gcloud fetches the secrets. If predict is private, PREDICT_URL is train_trigger's."
  value       = <<-EOT
    export LABEL_STUDIO_URL=${var.label_studio_url}
    export LABELLOOP_STORE=${local.store}
    export LABELLOOP_LAUNCHER=${local.launcher}
    export TRAIN_TRIGGER_URL=${local.url["train-trigger"]}
    export PREDICT_URL=${local.url[var.predict_private ? "train-trigger" : "predict"]}
    %{~for variable, secret in google_secret_manager_secret.secret~}
    export ${variable}="$(gcloud secrets versions access latest --project ${var.project} --secret ${secret.secret_id})"
    %{~endfor~}
    labelloop connect --project 1 --backend-url "$TRAIN_TRIGGER_URL"
  EOT
}
