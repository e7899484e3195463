"""The model families of the top-level folder ``exporters/``, importable as ``edgeopt.exporters.<family>``."""

from edgeopt._folders import shipped

__path__ = [str(shipped("exporters"))]
