// What a predictor has to know about a model besides its graph and parameters.
#ifndef GLUON_RESNET_PREDICT_CARD_H_
#define GLUON_RESNET_PREDICT_CARD_H_

#include <string>
#include <vector>

#include "images/augment.h"

namespace gluon_resnet {

constexpr int kMaxSide = 1 << 14;  // of an image, in pixels

struct PredictCard {
  std::vector<std::string> classes;  // names, in the order of the outputs
  TransformPlan transform;           // without mean and std: these are in the graph
};

// Reads PREFIX-model.json (gluon_resnet/card.py). Throws Error(kSystem) with the path for
// anything that does not describe an evaluation transform and classes.
PredictCard read_card(const std::string& path);

// One name per line, as in the .classes file beside a record file.
std::vector<std::string> read_classes(const std::string& path);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PREDICT_CARD_H_
