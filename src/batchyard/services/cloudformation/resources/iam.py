"""The resource types of IAM."""

from __future__ import annotations

from batchyard.services.cloudformation.resources import iam_policies, iam_roles, iam_users

TYPES = (*iam_roles.TYPES, *iam_policies.TYPES, *iam_users.TYPES)
