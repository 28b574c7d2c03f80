"""A resolved evaluation of the small data set, as of the workflows."""

from tests.workflows.conftest import asked as asked
from tests.workflows.conftest import job as job
