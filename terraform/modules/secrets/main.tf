# What services must know and nobody should read: made by Secrets Manager, handed on in memory,
# stored by a write-only argument. Neither plan nor state has a value of these; state has version
# numbers only. The names of the JSON's fields are the environment variables of the services.

locals {
  entries = {
    database = "DATABASE_URL of ${var.database_user} on ${var.database_host}"
    kafka    = "Who services are to Kafka: KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD"
    keys     = "FILEFLUX_MASTER_KEY encrypts users' S3 secret keys, FILEFLUX_CLUSTER_SECRET signs internal requests"
    root     = "Root's credentials: FILEFLUX_ROOT_ACCESS_KEY, FILEFLUX_ROOT_SECRET_KEY"
    # A key pair that `fileflux audit key new` makes, put here by a person; nothing else can make it.
    audit-key = "The key file that signs the audit stream's checkpoints"
  }

  # Letters and digits only: the same text in a URL, in a shell and in JSON.
  values = {
    database = {
      DATABASE_URL = "postgresql://${var.database_user}:${ephemeral.aws_secretsmanager_random_password.this["database"].random_password}@${var.database_host}:${var.database_port}/${var.database_name}?${var.database_options}"
    }
    kafka = {
      KAFKA_SASL_USERNAME = var.kafka_username
      KAFKA_SASL_PASSWORD = ephemeral.aws_secretsmanager_random_password.this["kafka"].random_password
    }
    # SHA-256 is 64 hexadecimal digits, always. Its input has 64 of 62 characters: 381 bits, more
    # than the 256 of the key. Choosing the alphabet instead is no way: exclude_characters is a
    # boolean by mistake in version 5 of the provider, and text in version 6.
    keys = {
      FILEFLUX_MASTER_KEY     = sha256(ephemeral.aws_secretsmanager_random_password.this["master_key"].random_password)
      FILEFLUX_CLUSTER_SECRET = ephemeral.aws_secretsmanager_random_password.this["cluster_secret"].random_password
    }
    root = {
      FILEFLUX_ROOT_ACCESS_KEY = "FF${upper(substr(sha256(ephemeral.aws_secretsmanager_random_password.this["root_access_key"].random_password), 0, 18))}"
      FILEFLUX_ROOT_SECRET_KEY = ephemeral.aws_secretsmanager_random_password.this["root_secret_key"].random_password
    }
  }
}

# Made at each run and thrown away, unless a version number says that an entry is written.
ephemeral "aws_secretsmanager_random_password" "this" {
  for_each = {
    database        = 40
    kafka           = 40
    master_key      = 64
    cluster_secret  = 64
    root_access_key = 40
    root_secret_key = 40
  }

  password_length     = each.value
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:Rotation is a version number (secret_versions): services read their environment at the start, so a rotation needs a rollout, and the master key must never be exchanged by a clock.

  for_each = local.entries

  name                    = "fileflux/${var.environment}/${each.key}"
  description             = each.value
  kms_key_id              = var.key_arn
  recovery_window_in_days = var.recovery_window_days

  tags = { Name = "fileflux/${var.environment}/${each.key}" }
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id                = aws_secretsmanager_secret.this["database"].id
  secret_string_wo         = jsonencode(local.values.database)
  secret_string_wo_version = var.secret_versions.database
}

resource "aws_secretsmanager_secret_version" "kafka" {
  secret_id                = aws_secretsmanager_secret.this["kafka"].id
  secret_string_wo         = jsonencode(local.values.kafka)
  secret_string_wo_version = var.secret_versions.kafka
}

resource "aws_secretsmanager_secret_version" "keys" {
  secret_id                = aws_secretsmanager_secret.this["keys"].id
  secret_string_wo         = jsonencode(local.values.keys)
  secret_string_wo_version = var.secret_versions.keys
}

resource "aws_secretsmanager_secret_version" "root" {
  secret_id                = aws_secretsmanager_secret.this["root"].id
  secret_string_wo         = jsonencode(local.values.root)
  secret_string_wo_version = var.secret_versions.root
}
