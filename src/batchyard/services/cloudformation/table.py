"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from batchyard.services import Handler
from batchyard.services.cloudformation.not_yet import NOT_YET
from batchyard.services.cloudformation.operations import change_sets, changing, describing, drifting, guarding, registry
from batchyard.services.cloudformation.operations.unserved import refusing

_HANDLERS: dict[str, Handler] = {
    "CancelUpdateStack": changing.cancel_update_stack,
    "ContinueUpdateRollback": changing.continue_update_rollback,
    "CreateChangeSet": change_sets.create_change_set,
    "CreateStack": changing.create_stack,
    "DeleteChangeSet": change_sets.delete_change_set,
    "DeleteStack": changing.delete_stack,
    "DescribeChangeSet": change_sets.describe_change_set,
    "DescribeStackDriftDetectionStatus": drifting.describe_stack_drift_detection_status,
    "DescribeStackEvents": describing.describe_stack_events,
    "DescribeStackResource": describing.describe_stack_resource,
    "DescribeStackResourceDrifts": drifting.describe_stack_resource_drifts,
    "DescribeStackResources": describing.describe_stack_resources,
    "DescribeStacks": describing.describe_stacks,
    "DescribeType": registry.describe_type,
    "DetectStackDrift": drifting.detect_stack_drift,
    "DetectStackResourceDrift": drifting.detect_stack_resource_drift,
    "ExecuteChangeSet": change_sets.execute_change_set,
    "GetStackPolicy": guarding.get_stack_policy,
    "GetTemplate": describing.get_template,
    "GetTemplateSummary": describing.get_template_summary,
    "ListChangeSets": change_sets.list_change_sets,
    "ListExports": describing.list_exports,
    "ListImports": describing.list_imports,
    "ListStackResources": describing.list_stack_resources,
    "ListStacks": describing.list_stacks,
    "ListTypes": registry.list_types,
    "RollbackStack": changing.rollback_stack,
    "SetStackPolicy": guarding.set_stack_policy,
    "SignalResource": guarding.signal_resource,
    "UpdateStack": changing.update_stack,
    "UpdateTerminationProtection": changing.update_termination_protection,
    "ValidateTemplate": describing.validate_template,
}

OPERATIONS: dict[str, Handler] = {name: refusing(name, handler) for name, handler in _HANDLERS.items()}

__all__ = ["NOT_YET", "OPERATIONS"]
