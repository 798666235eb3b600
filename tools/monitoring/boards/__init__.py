"""The dashboards: what a person looks at first, and what explains it."""

from typing import Final

from tools.monitoring.boards.cluster import CLUSTER
from tools.monitoring.boards.metadata import METADATA
from tools.monitoring.boards.objectives import OBJECTIVES_BOARD
from tools.monitoring.boards.pipeline import PIPELINE
from tools.monitoring.boards.pools import POOLS
from tools.monitoring.boards.s3 import S3

DASHBOARDS: Final = (S3, PIPELINE, POOLS, METADATA, CLUSTER, OBJECTIVES_BOARD)
