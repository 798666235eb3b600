# Notices before the money is spent, and cost tags only where they are allowed.

mock_provider "aws" {
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name              = "fileflux-dev"
  environment       = "dev"
  monthly_limit_usd = 500
  emails            = ["costs@example.com"]
}

run "four_notices_of_this_environment" {
  assert {
    condition     = length(aws_budgets_budget.month.notification) == 4
    error_message = "half, most, all, expected"
  }
  assert {
    condition     = one(aws_budgets_budget.month.cost_filter).values == tolist(["user:Environment$dev"])
    error_message = "only this environment's costs"
  }
  assert {
    condition     = aws_budgets_budget.month.limit_amount == "500"
    error_message = "the limit"
  }
  assert {
    condition     = length(aws_ce_cost_allocation_tag.this) == 0
    error_message = "no cost tags unless asked"
  }
}

run "the_paying_account_activates_cost_tags" {
  variables {
    activate_cost_tags = true
  }
  assert {
    condition     = keys(aws_ce_cost_allocation_tag.this) == ["Environment", "Project"]
    error_message = "both"
  }
}

run "a_budget_that_tells_nobody_is_refused" {
  command = plan
  variables {
    emails = []
  }
  expect_failures = [var.emails]
}

run "an_address_that_is_none_is_refused" {
  command = plan
  variables {
    emails = ["nobody"]
  }
  expect_failures = [var.emails]
}

run "a_budget_of_nothing_is_refused" {
  command = plan
  variables {
    monthly_limit_usd = 0
  }
  expect_failures = [var.monthly_limit_usd]
}

run "a_name_that_aws_refuses_is_refused" {
  command = plan
  variables {
    name = "FileFlux dev"
  }
  expect_failures = [var.name]
}

run "a_path_as_environment_is_refused" {
  command = plan
  variables {
    environment = "dev/../prod"
  }
  expect_failures = [var.environment]
}
