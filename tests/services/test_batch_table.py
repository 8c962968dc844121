"""Every operation of AWS's model is served, or says why not."""

from __future__ import annotations

from batch_bench import SERVICE

from batchyard.compute.catalogue import Catalogue
from batchyard.services.batch import NOT_YET, OPERATIONS
from batchyard.services.batch.environment_rules import architecture
from batchyard.services.batch.fields_not_yet import FIELDS_NOT_YET, VALUES_NOT_YET
from batchyard.wire.servicemodel import read_model


def test_every_operation_is_in_exactly_one_table() -> None:
    assert not OPERATIONS.keys() & NOT_YET.keys()
    assert OPERATIONS.keys() | NOT_YET.keys() == set(SERVICE.operations)
    assert all(NOT_YET.values())


def test_paths_of_fields_not_yet_lead_to_members_of_the_model() -> None:
    model = read_model("batch")
    for table in (FIELDS_NOT_YET, VALUES_NOT_YET):
        for operation, paths in table.items():
            for path in paths:
                shape = model.input_shape(operation)
                for step in path.split("."):
                    shape = model.shapes[shape.members[step.removesuffix("[]")].shape]
                    if step.endswith("[]"):
                        assert shape.member is not None
                        shape = model.shapes[shape.member.shape]


def test_architecture_follows_from_the_name() -> None:
    catalogue = Catalogue()
    for name, instance_type in catalogue.types.items():
        assert (architecture(name) == "arm64") == instance_type.is_arm, name
        assert architecture(name.partition(".")[0]) == architecture(name)
