# The store: models, claims, checkpoints.

resource "aws_s3_bucket" "store" {
  bucket        = coalesce(var.bucket_name, "${var.name}-${local.account}-${var.region}")
  force_destroy = var.destroy_bucket_with_models
}

resource "aws_s3_bucket_public_access_block" "store" {
  bucket                  = aws_s3_bucket.store.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "store" {
  bucket = aws_s3_bucket.store.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "store" {
  bucket = aws_s3_bucket.store.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

# labelloop itself needs no object versions. They protect models: neither functions nor jobs may remove an old version
# (s3:DeleteObjectVersion), so a bug or a stolen role cannot destroy a model within keep_deleted_days.
resource "aws_s3_bucket_versioning" "store" {
  bucket = aws_s3_bucket.store.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "store" {
  bucket = aws_s3_bucket_versioning.store.bucket

  rule {
    id     = "unfinished-uploads" # of jobs that were killed
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  rule {
    id     = "deleted-objects" # checkpoints of ended runs, renewed claims
    status = "Enabled"

    filter {}

    noncurrent_version_expiration {
      noncurrent_days = var.keep_deleted_days
    }

    expiration {
      expired_object_delete_marker = true
    }
  }
}

resource "aws_s3_bucket_policy" "store" {
  bucket = aws_s3_bucket_public_access_block.store.bucket
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyOverTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.store.arn, "${aws_s3_bucket.store.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

locals {
  store   = "s3://${aws_s3_bucket.store.bucket}/labelloop"
  objects = "${aws_s3_bucket.store.arn}/labelloop"

  # Without ListBucket on the whole bucket, S3 answers 403 instead of 404 for missing objects.
  list_store = { Effect = "Allow", Action = ["s3:ListBucket"], Resource = [aws_s3_bucket.store.arn] }
  read_store = { Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${local.objects}/*"] }
}
