"""What stands between this machine and a working router: findings, each with what to do."""

from trunkline.doctor.examination import examine
from trunkline.doctor.finding import Finding, State, is_healthy

__all__ = ["Finding", "State", "examine", "is_healthy"]
