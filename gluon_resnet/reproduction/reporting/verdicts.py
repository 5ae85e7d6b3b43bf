"""The outcomes of depth for a family of networks, and the sentence for each."""

from __future__ import annotations

# The outcomes for a family. Degradation is more than overfitting: the deeper net is also worse on training images.
PENDING, UNLEARNED = "pending", "unlearned"
DEGRADED, OVERFITTED, UNCLEAR, BETTER = "degraded", "overfitted", "unclear", "better"

PLAIN = {
    PENDING: "The plain networks are not compared yet.",
    UNLEARNED: "The degradation of plain networks with depth is not shown: one of them hardly learned.",
    DEGRADED: "The degradation of plain networks with depth is shown.",
    OVERFITTED: "The degradation of plain networks with depth is not shown: the deeper one is worse on {tested} "
    "images, but not on training images, which is overfitting.",
    UNCLEAR: "The degradation of plain networks with depth is not shown by this schedule.",
    BETTER: "The degradation of plain networks with depth is not shown by this schedule: the deeper one is better.",
}
RESIDUAL = {
    PENDING: "The residual networks are not compared yet.",
    UNLEARNED: "Its absence in residual networks is not shown: one of them hardly learned.",
    DEGRADED: "Its absence in residual networks is not shown by this schedule: the deeper one is worse, too.",
    OVERFITTED: "The deeper residual network is worse on {tested} images, but not on training images: overfitting, no "
    "degradation.",
    UNCLEAR: "Residual networks show no degradation, but no gain from depth either.",
    BETTER: "Residual networks show no degradation: the deeper one is better.",
}
