// The output of the program `predict` for an image: text, or one JSON object per line.
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

// Complete lines; nothing for a bad image, unless the output is JSON.
std::string format_prediction(const PrintOptions& options, const std::vector<std::string>& classes,
                              const Prediction& prediction);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PRINTER_H_
