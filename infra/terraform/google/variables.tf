variable "project" {
  description = "Id of the Google Cloud project that everything here lives in."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project: the id of a project like my-project-123, not its name or number."
  }
}

variable "region" {
  description = "Region of everything here. Cloud Run must offer NVIDIA L4 in it: europe-west1, europe-west4, us-central1, us-east4, asia-southeast1 …"
  type        = string

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region: a region like europe-west4, not a zone."
  }
}

variable "name" {
  description = "Prefix of all names, so that several installations fit into one project."
  type        = string
  default     = "labelloop"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}$", var.name))
    error_message = "name: 2 to 15 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "label_studio_url" {
  description = "Address of Label Studio, with its path prefix if it has one, as functions and jobs reach it."
  type        = string

  validation {
    condition     = can(regex("^https?://[^/@]+(/.*)?$", var.label_studio_url))
    error_message = "label_studio_url: an address like https://label-studio.example.org, without user name and password."
  }
}

variable "image_tag" {
  description = "Tag of the images that were pushed to the repository made here. Tags are immutable: a new version is a new tag."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$", var.image_tag))
    error_message = "image_tag: a tag like 0.1.0, not the name of an image."
  }
}

variable "settings" {
  description = "More variables for functions and jobs, from docs/configuration.md: { LABELLOOP_MIN_ANNOTATIONS = \"50\" }."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^(LABELLOOP|MLFLOW_TRACKING|OTEL)_[A-Z0-9_]+$", name))])
    error_message = "settings: names begin with LABELLOOP_, MLFLOW_TRACKING_ or OTEL_; addresses of the parts are set here."
  }
  validation {
    condition = length(setintersection(keys(var.settings), [
      "LABELLOOP_BASIC_AUTH_PASSWORD", "LABELLOOP_WEBHOOK_SECRET", "LABELLOOP_STORE", "LABELLOOP_LAUNCHER", "LABELLOOP_AUTH",
      "LABELLOOP_LONGEST_RUN",
    ])) == 0
    error_message = "settings: passwords belong into Secret Manager; store, launcher, access and longest_run are set here."
  }
}

# --- bucket ---

variable "bucket_location" {
  description = "Location of the bucket: a region or a multi-region. null: region, where reading it is free."
  type        = string
  default     = null
}

variable "delete_bucket_with_content" {
  description = "Let terraform destroy remove the bucket although models are in it."
  type        = bool
  default     = false
}

# --- train_trigger ---

variable "train_trigger_min_instances" {
  description = "Instances of train_trigger that are always running. 1: about 10 $ a month, and every webhook is answered. 0: free, but while one starts (1 to 3 s) Label Studio shows the backend as disconnected and loses webhooks; the sweep finds their changes up to a minute later."
  type        = number
  default     = 1

  validation {
    condition     = contains([0, 1, 2, 3], var.train_trigger_min_instances)
    error_message = "train_trigger_min_instances: 0 to 3."
  }
}

variable "train_trigger_max_instances" {
  description = "Maximum instances of train_trigger."
  type        = number
  default     = 5

  validation {
    condition     = var.train_trigger_max_instances >= 1 && var.train_trigger_max_instances >= var.train_trigger_min_instances
    error_message = "train_trigger_max_instances: at least 1, and not less than train_trigger_min_instances."
  }
}

# --- predict ---

variable "predict_gpu" {
  description = "Give predict an NVIDIA L4. false: 2 vCPU and 4 GiB, which start in seconds, need no quota and are billed only while they answer."
  type        = bool
  default     = true
}

variable "predict_min_instances" {
  description = "Instances of predict that are always running. 0: none, and no cost, while nobody annotates. 1: no wait for the first predictions, with a GPU about 760 $ a month."
  type        = number
  default     = 0

  validation {
    condition     = var.predict_min_instances >= 0
    error_message = "predict_min_instances: 0 or more."
  }
}

variable "predict_max_instances" {
  description = "Maximum instances of predict, which limits its cost. With GPUs at most your quota."
  type        = number
  default     = 1

  validation {
    condition     = var.predict_max_instances >= 1 && var.predict_max_instances >= var.predict_min_instances
    error_message = "predict_max_instances: at least 1, and not less than predict_min_instances."
  }
}

variable "predict_concurrency" {
  description = "Requests that one instance of predict handles at a time: the model runs one batch after the other, while images of the next ones are fetched."
  type        = number
  default     = 8

  validation {
    condition     = var.predict_concurrency >= 1 && var.predict_concurrency <= 60
    error_message = "predict_concurrency: 1 to 60; the function has 64 threads."
  }
}

variable "predict_private" {
  description = "Let only train_trigger reach predict, over a network made here (0.20 $ a month for its DNS zone). Off: anybody who knows the address can wake the GPU, but not use it; predict_max_instances limits the cost."
  type        = bool
  default     = false
}

# --- training ---

variable "longest_run" {
  description = "A training stops after this many seconds and uses the best epoch so far. Cloud Run ends a GPU task after an hour: up to 3000; with its preview of longer ones 12 hours: up to 42600."
  type        = number
  default     = 3000

  validation {
    condition     = var.longest_run >= 300 && var.longest_run <= 42600
    error_message = "longest_run: 300 to 42600 seconds."
  }
}

variable "train_cpu" {
  description = "vCPUs of a training: 4 or 8."
  type        = number
  default     = 8

  validation {
    condition     = contains([4, 8], var.train_cpu)
    error_message = "train_cpu: 4 or 8."
  }
}

variable "train_memory_gib" {
  description = "Memory of a training in GiB. It also holds images and dataset, because Cloud Run has no disk."
  type        = number
  default     = 32

  validation {
    condition     = var.train_memory_gib >= 16 && var.train_memory_gib <= 32
    error_message = "train_memory_gib: 16 to 32."
  }
}
