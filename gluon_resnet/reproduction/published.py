"""Test accuracies on Fashion-MNIST from the data set's README, to be shown beside ours.

Source: the table "Benchmark" of github.com/zalandoresearch/fashion-mnist, README.md, as in Debian's package
dataset-fashion-mnist 0.0~git20200523. Of these it says, "We haven't yet tested these results".
"""

from __future__ import annotations

_AUGMENTED = "standard preprocessing and augmentation (random crops, horizontal flips)"

# Classifier, preprocessing, accuracy.
FASHION_MNIST_BENCHMARK = (
    ("WRN40-4, 8.9M parameters", _AUGMENTED, 0.967),
    ("WRN-28-10", _AUGMENTED, 0.959),
    ("DenseNet-BC, 768K parameters", _AUGMENTED, 0.954),
    ("MobileNet", "horizontal flips", 0.950),
    ("ResNet18", "normalization, random flips, translation, rotation", 0.949),
    ("VGG16, 26M parameters", "none", 0.935),
    ("2 Conv+pooling", "none", 0.916),
    ("human performance", "1,000 test images, majority of 3", 0.835),
)
