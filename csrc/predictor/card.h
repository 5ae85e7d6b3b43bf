// Reads model cards, and makes the transforms that they describe.
#ifndef GLUON_RESNET_CARD_H_
#define GLUON_RESNET_CARD_H_

#include <string>
#include <vector>

#include "predictor/predictor.h"
#include "transforms/augment.h"

namespace gluon_resnet {

constexpr int kMaxSide = 1 << 14;  // of an image, in pixels

// The card's resize and crop, without mean and std, which are in the graph. Throws Error(kUsage)
// for a card with impossible values.
TransformPlan evaluation_transform(const ModelCard& card);

// Reads one name per line, as in the .classes file beside a record file.
std::vector<std::string> read_classes(const std::string& path);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_CARD_H_
