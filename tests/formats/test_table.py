"""What the README says of each format is what it does."""

import pytest

from tests.formats.table import NoDirectReads, in_readme, table


def test_the_readmes_table_of_formats_is_true():
    """``python -m tests.formats.table`` writes it anew."""
    try:
        found = table()
    except NoDirectReads as reason:
        pytest.skip(str(reason))
    assert in_readme() == found
