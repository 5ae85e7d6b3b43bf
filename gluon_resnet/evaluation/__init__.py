"""Testing trained networks on record files: the paper's protocols, ensembles, errors with their intervals."""

from gluon_resnet.evaluation.evaluate import PROTOCOLS, evaluate
from gluon_resnet.evaluation.members import Member
from gluon_resnet.evaluation.tally import Tally
from gluon_resnet.evaluation.whole_images import SCALES

__all__ = ["PROTOCOLS", "SCALES", "Member", "Tally", "evaluate"]
