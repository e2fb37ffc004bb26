# The bucket and the secrets. The provider is mocked: `terraform test` calls and makes nothing.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  region           = "eu-central-1"
  label_studio_url = "https://label-studio.example.org"
  image_tag        = "0.1.0"
}

run "nobody_outside_reaches_the_bucket" {
  command = apply

  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.store.block_public_acls,
      aws_s3_bucket_public_access_block.store.block_public_policy,
      aws_s3_bucket_public_access_block.store.ignore_public_acls,
      aws_s3_bucket_public_access_block.store.restrict_public_buckets,
    ])
    error_message = "Public access must be blocked in all four ways."
  }
  assert {
    condition     = one(aws_s3_bucket_ownership_controls.store.rule).object_ownership == "BucketOwnerEnforced"
    error_message = "Access lists must be off."
  }
  assert {
    condition = jsondecode(aws_s3_bucket_policy.store.policy).Statement == [{
      Sid       = "OnlyOverTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = ["arn:aws:s3:::the-store", "arn:aws:s3:::the-store/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
    error_message = "The bucket's policy must refuse what is not TLS, and allow nothing."
  }
  assert {
    condition     = aws_s3_bucket.store.bucket == "labelloop-123456789012-eu-central-1" && !aws_s3_bucket.store.force_destroy
    error_message = "The bucket's name must be unique to account and region, and destroy must not take models with it."
  }
}

run "what_is_left_behind_goes_what_was_deleted_stays_a_week" {
  assert {
    condition = [1] == flatten([
      for rule in aws_s3_bucket_lifecycle_configuration.store.rule : rule.abort_incomplete_multipart_upload[*].days_after_initiation
    ])
    error_message = "Unfinished uploads of killed jobs must be removed."
  }
  assert {
    condition = [7] == flatten([
      for rule in aws_s3_bucket_lifecycle_configuration.store.rule : rule.noncurrent_version_expiration[*].noncurrent_days
    ])
    error_message = "Old versions must be kept, and not for ever."
  }
  assert {
    condition     = aws_s3_bucket_versioning.store.versioning_configuration[0].status == "Enabled"
    error_message = "What was deleted must come back."
  }
  assert {
    condition = alltrue(flatten([
      for rule in aws_s3_bucket_lifecycle_configuration.store.rule : [for days in rule.expiration[*].days : coalesce(days, 0) == 0]
    ]))
    error_message = "No rule may expire current objects: those are the models."
  }
}

run "secrets_are_boxes_without_values" {
  assert {
    condition     = toset([for secret in aws_secretsmanager_secret.secret : secret.name]) == toset(["labelloop/label-studio-api-key", "labelloop/basic-auth-password", "labelloop/webhook-secret"])
    error_message = "Three secrets."
  }
  assert {
    condition     = alltrue([for name in keys(aws_secretsmanager_secret.secret) : !contains(keys(local.environment), name)])
    error_message = "No secret may be among the plain variables."
  }
}

run "tags_of_images_cannot_be_moved" {
  assert {
    condition = alltrue([
      for repository in aws_ecr_repository.image :
      repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push
    ])
    error_message = "Repositories must scan what is pushed and keep tags where they are."
  }
}
