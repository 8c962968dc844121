# What a genomics group's Terraform sets up for AWS Batch: roles, a network, an environment, a fair-share policy, queues, definitions.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 6"
    }
  }
}

# Endpoint, region and keys come from AWS_ENDPOINT_URL, AWS_REGION and so on.
provider "aws" {
  s3_use_path_style           = true
  skip_metadata_api_check     = true
  skip_region_validation      = true
  skip_requesting_account_id  = false
  skip_credentials_validation = false
}

data "aws_caller_identity" "me" {}

data "aws_vpc" "default" {
  default = true
}

data "aws_subnets" "default" {
  filter {
    name   = "vpc-id"
    values = [data.aws_vpc.default.id]
  }
}

data "aws_iam_policy_document" "instances" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "instance" {
  name               = "tf-instance"
  assume_role_policy = data.aws_iam_policy_document.instances.json
}

resource "aws_iam_role_policy_attachment" "instance" {
  role       = aws_iam_role.instance.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "instance" {
  name = "tf-instance"
  role = aws_iam_role.instance.name
}

data "aws_iam_policy_document" "service" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["batch.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "service" {
  name               = "tf-batch"
  assume_role_policy = data.aws_iam_policy_document.service.json
}

resource "aws_iam_role_policy_attachment" "service" {
  role       = aws_iam_role.service.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSBatchServiceRole"
}

resource "aws_security_group" "jobs" {
  name        = "tf-jobs"
  description = "Jobs of the tests"
  vpc_id      = data.aws_vpc.default.id
}

resource "aws_cloudwatch_log_group" "jobs" {
  name              = "/tf/jobs"
  retention_in_days = 30
}

resource "aws_batch_compute_environment" "on_demand" {
  compute_environment_name = "tf-on-demand"
  type                     = "MANAGED"
  service_role             = aws_iam_role.service.arn

  compute_resources {
    type                = "EC2"
    allocation_strategy = "BEST_FIT_PROGRESSIVE"
    instance_role       = aws_iam_instance_profile.instance.arn
    instance_type       = ["optimal"]
    min_vcpus           = 0
    max_vcpus           = 4
    security_group_ids  = [aws_security_group.jobs.id]
    subnets             = data.aws_subnets.default.ids
  }

  tags       = { group = "genomics" }
  depends_on = [aws_iam_role_policy_attachment.service]
}

resource "aws_batch_scheduling_policy" "shares" {
  name = "tf-shares"

  fair_share_policy {
    compute_reservation = 10
    share_decay_seconds = 3600

    share_distribution {
      share_identifier = "clinic*"
      weight_factor    = 0.5
    }
    share_distribution {
      share_identifier = "research"
      weight_factor    = 1
    }
  }
}

resource "aws_batch_job_queue" "plain" {
  name     = "tf-plain"
  state    = "ENABLED"
  priority = 10

  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.on_demand.arn
  }

  job_state_time_limit_action {
    action           = "CANCEL"
    max_time_seconds = 3600
    reason           = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
    state            = "RUNNABLE"
  }
}

resource "aws_batch_job_queue" "shared" {
  name                  = "tf-shared"
  state                 = "ENABLED"
  priority              = 1
  scheduling_policy_arn = aws_batch_scheduling_policy.shares.arn

  compute_environment_order {
    order               = 1
    compute_environment = aws_batch_compute_environment.on_demand.arn
  }
}

resource "aws_batch_job_definition" "count" {
  name                  = "tf-count"
  type                  = "container"
  platform_capabilities = ["EC2"]
  propagate_tags        = true
  parameters            = { reads = var.reads }

  container_properties = jsonencode({
    image   = "genomics-tools"
    command = ["bash", "-c", "aws s3 cp --quiet \"$1\" - | gzip -cd | awk 'END { print NR / 4, \"reads\" }'", "count", "Ref::reads"]
    resourceRequirements = [
      { type = "VCPU", value = "1" },
      { type = "MEMORY", value = "256" },
    ]
    environment = [{ name = "PATH", value = var.path }]
    logConfiguration = {
      logDriver = "awslogs"
      options   = { "awslogs-group" = aws_cloudwatch_log_group.jobs.name, "awslogs-stream-prefix" = "count" }
    }
  })

  retry_strategy {
    attempts = 3
    evaluate_on_exit {
      action           = "RETRY"
      on_status_reason = "Host EC2*"
    }
    evaluate_on_exit {
      action    = "EXIT"
      on_reason = "*"
    }
  }

  timeout {
    attempt_duration_seconds = 600
  }

  tags = { group = "genomics" }
}

resource "aws_batch_job_definition" "nodes" {
  name                = "tf-nodes"
  type                = "multinode"
  scheduling_priority = 1

  node_properties = jsonencode({
    mainNode = 0
    numNodes = 2
    nodeRangeProperties = [{
      targetNodes = "0:"
      container = {
        image   = "genomics-tools"
        command = ["sh", "-c", "echo node $AWS_BATCH_JOB_NODE_INDEX of $AWS_BATCH_JOB_NUM_NODES"]
        resourceRequirements = [
          { type = "VCPU", value = "1" },
          { type = "MEMORY", value = "128" },
        ]
      }
    }]
  })
}

data "aws_batch_compute_environment" "on_demand" {
  compute_environment_name = aws_batch_compute_environment.on_demand.compute_environment_name
}

data "aws_batch_job_queue" "plain" {
  name = aws_batch_job_queue.plain.name
}

data "aws_batch_job_definition" "count" {
  arn = aws_batch_job_definition.count.arn
}

data "aws_batch_scheduling_policy" "shares" {
  arn = aws_batch_scheduling_policy.shares.arn
}

variable "reads" {
  type        = string
  description = "S3 URL of the reads that are counted unless a job names others"
}

variable "path" {
  type        = string
  description = "Where jobs find their programs"
}

output "queues" {
  value = [data.aws_batch_job_queue.plain.name, aws_batch_job_queue.shared.name]
}

output "seen" {
  value = {
    environment = data.aws_batch_compute_environment.on_demand.status
    definition  = data.aws_batch_job_definition.count.revision
    shares      = length(data.aws_batch_scheduling_policy.shares.fair_share_policy[0].share_distribution)
    account     = data.aws_caller_identity.me.account_id
  }
}
