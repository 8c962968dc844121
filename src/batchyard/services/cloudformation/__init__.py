"""CloudFormation: stacks from templates, real where a type means something here."""

from __future__ import annotations

from batchyard.services import Handler
from batchyard.services.cloudformation.not_yet import NOT_YET
from batchyard.services.cloudformation.operations import changing, describing

OPERATIONS: dict[str, Handler] = {
    "CancelUpdateStack": changing.cancel_update_stack,
    "ContinueUpdateRollback": changing.continue_update_rollback,
    "CreateStack": changing.create_stack,
    "DeleteStack": changing.delete_stack,
    "DescribeStackEvents": describing.describe_stack_events,
    "DescribeStackResource": describing.describe_stack_resource,
    "DescribeStackResources": describing.describe_stack_resources,
    "DescribeStacks": describing.describe_stacks,
    "GetTemplate": describing.get_template,
    "GetTemplateSummary": describing.get_template_summary,
    "ListExports": describing.list_exports,
    "ListImports": describing.list_imports,
    "ListStackResources": describing.list_stack_resources,
    "ListStacks": describing.list_stacks,
    "RollbackStack": changing.rollback_stack,
    "UpdateStack": changing.update_stack,
    "UpdateTerminationProtection": changing.update_termination_protection,
    "ValidateTemplate": describing.validate_template,
}

__all__ = ["NOT_YET", "OPERATIONS"]
