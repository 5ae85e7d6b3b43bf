// What the program `predict` prints of an image: text, or an object of JSON a line.
#ifndef GLUON_RESNET_PRINTER_H_
#define GLUON_RESNET_PRINTER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "predict/run.h"

namespace gluon_resnet {

struct PrintOptions {
  bool json = false;
  bool logits = false;
  size_t top_k = 5;
};

// Whole lines; of a bad image nothing, unless it is JSON.
std::string format_prediction(const PrintOptions& options, const std::vector<std::string>& classes,
                              const Prediction& prediction);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PRINTER_H_
