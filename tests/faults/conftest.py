"""What several tests of this folder read."""

import pytest

from tests.faults import lifecycle


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Files of one numbered sample, for the programs of tests.faults.lifecycle."""
    return lifecycle.write_files(tmp_path_factory.mktemp("numbered"))
