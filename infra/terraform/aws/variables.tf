variable "region" {
  description = "Region of everything here. GPU instances must be offered in it."
  type        = string
}

variable "name" {
  description = "Prefix of all names, so that several installations fit into one account."
  type        = string
  default     = "labelloop"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "name: 2 to 20 lower-case letters, digits and hyphens, a letter first."
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
  description = "Tag of the images that were pushed to the repositories made here. Tags are immutable: a new version is a new tag."
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
    error_message = "settings: passwords belong into Secrets Manager; store, launcher, access and longest_run_hours are set here."
  }
}

# --- training ---

variable "instance_types" {
  description = "EC2 instance types with NVIDIA GPUs that jobs may run on. More types: more spot capacity."
  type        = list(string)
  default     = ["g6.xlarge", "g5.xlarge", "g6.2xlarge", "g5.2xlarge"]

  validation {
    condition = length(var.instance_types) > 0 && alltrue([
      for type in var.instance_types : can(regex("^(g4dn|g5|g6|g6e|gr6|g7e|p[3-6][a-z0-9-]*)\\.[a-z0-9-]+$", type))
    ])
    error_message = "instance_types: x86 types with NVIDIA GPUs, like g5.xlarge or g6.2xlarge (g5g is ARM, g4ad is AMD)."
  }
}

variable "spot" {
  description = "Try spot instances first, on-demand ones where there is no spot capacity. false: on-demand only."
  type        = bool
  default     = true
}

variable "max_vcpus" {
  description = "Maximum vCPUs of each of the two compute environments: 16 are four g6.xlarge. This limits the cost."
  type        = number
  default     = 16

  validation {
    condition     = var.max_vcpus >= 4 && floor(var.max_vcpus) == var.max_vcpus
    error_message = "max_vcpus: a whole number, 4 or more (the smallest GPU instances have 4)."
  }
}

variable "job" {
  description = "Resources of one training job. They must fit into each of instance_types; ECS keeps about 1 GB of an instance for itself."
  type = object({
    gpus              = optional(number, 1)
    vcpus             = optional(number, 4)
    memory_mib        = optional(number, 14000)
    shared_memory_mib = optional(number, 4096)
  })
  default = {}

  validation {
    condition     = var.job.gpus >= 1 && var.job.vcpus >= 1
    error_message = "job: at least one GPU and one vCPU."
  }
  validation {
    condition     = var.job.shared_memory_mib >= 64 && var.job.shared_memory_mib < var.job.memory_mib
    error_message = "job.shared_memory_mib (of the data loader's processes) is part of memory_mib: 64 or more, and less than that."
  }
}

variable "disk_gib" {
  description = "Disk of a GPU instance: system, container image (about 10 GiB unpacked), images of the runs."
  type        = number
  default     = 100

  validation {
    condition     = var.disk_gib >= 50
    error_message = "disk_gib: 50 or more."
  }
}

variable "longest_run_hours" {
  description = "A training stops after this and uses the best epoch so far. Batch ends a job half an hour later."
  type        = number
  default     = 6

  validation {
    condition     = var.longest_run_hours > 0 && var.longest_run_hours <= 168
    error_message = "longest_run_hours: more than 0, at most 168."
  }
}

# --- functions ---

variable "predict_url" {
  description = "Address of a predict that runs elsewhere, with a GPU (Cloud Run, Kubernetes). null: predict is made here, as a Lambda function without GPU."
  type        = string
  default     = null

  validation {
    condition     = var.predict_url == null || can(regex("^https?://[^/@]+(/.*)?$", coalesce(var.predict_url, "-")))
    error_message = "predict_url: an address like https://predict.example.org, without user name and password."
  }
}

variable "predict_memory_mib" {
  description = "Memory of predict as a Lambda function; 1769 MiB come with one vCPU, 10240 with six. New accounts are limited to 3008."
  type        = number
  default     = 3008

  validation {
    condition     = var.predict_memory_mib >= 1024 && var.predict_memory_mib <= 10240
    error_message = "predict_memory_mib: 1024 (a model, and pictures) to 10240 (Lambda's limit)."
  }
}

variable "reserved_concurrency" {
  description = "Maximum instances of each function, reserved from the account's quota. -1: as many as the account allows."
  type        = number
  default     = -1

  validation {
    condition     = var.reserved_concurrency == -1 || var.reserved_concurrency >= 2
    error_message = "reserved_concurrency: -1, or 2 and more: a sweep or a waiting prediction must not block Label Studio."
  }
}

variable "warm_instances" {
  description = "Instances of the light function that are always running, for teams: each costs about 11 dollars a month. 0: the sweep keeps one running."
  type        = number
  default     = 0

  validation {
    condition     = var.warm_instances >= 0 && floor(var.warm_instances) == var.warm_instances
    error_message = "warm_instances: 0 or more."
  }
}

variable "log_days" {
  description = "Days that logs are kept: one of CloudWatch's numbers."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "log_days: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545 or 731."
  }
}

# --- store ---

variable "bucket_name" {
  description = "Name of the bucket. null: name, account and region."
  type        = string
  default     = null
}

variable "keep_deleted_days" {
  description = "Days in which a deleted or overwritten object can be restored."
  type        = number
  default     = 7

  validation {
    condition     = var.keep_deleted_days >= 1
    error_message = "keep_deleted_days: 1 or more."
  }
}

variable "destroy_bucket_with_models" {
  description = "Let terraform destroy delete the bucket although models are in it."
  type        = bool
  default     = false
}

# --- network ---

variable "vpc_id" {
  description = "VPC of the GPU instances. null: the default VPC."
  type        = string
  default     = null
}

variable "subnet_ids" {
  description = "Subnets of the GPU instances, with a way to the internet: public ones that give addresses, or private ones with a NAT. Empty: those of the default VPC."
  type        = list(string)
  default     = []

  validation {
    condition     = (var.vpc_id == null) == (length(var.subnet_ids) == 0)
    error_message = "subnet_ids and vpc_id: give both or neither."
  }
}

variable "function_subnet_ids" {
  description = "Private subnets with a NAT, in vpc_id, for the functions: only if Label Studio cannot be reached from the internet."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.function_subnet_ids) == 0 || var.vpc_id != null
    error_message = "function_subnet_ids need vpc_id."
  }
}

variable "s3_route_table_ids" {
  description = "Route tables that get a gateway endpoint for S3 (free), so that models and checkpoints do not pass a NAT. For private subnets."
  type        = list(string)
  default     = []
}
