"""The resource types of EC2. An instance is not among them: instances come and go with compute environments."""

from __future__ import annotations

from batchyard.services.cloudformation.resources import ec2_endpoints, ec2_network, ec2_routing, ec2_security, ec2_templates

TYPES = (*ec2_network.TYPES, *ec2_routing.TYPES, *ec2_security.TYPES, *ec2_endpoints.TYPES, *ec2_templates.TYPES)
