"""gluon-resnet: the residual networks of He et al. (2015) in MXNet/Gluon, and a fast RecordIO image loader.

``gluon_resnet.data`` works without MXNet; everything else needs the extra ``[cpu]`` or ``[cu112]``.
"""

__version__ = "0.2.0"
