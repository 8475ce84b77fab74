from tests.training.conftest import material  # noqa: F401
