"""TODO remove: `Study` is in vaepipe.study.study, `ConfigError` in vaepipe.study.validation."""

from vaepipe.study.study import Study
from vaepipe.study.validation import ConfigError

__all__ = ["ConfigError", "Study"]
