// An exported network, ready to predict: RAII over MXNet's C predict API.
#ifndef GLUON_RESNET_PREDICTOR_H_
#define GLUON_RESNET_PREDICTOR_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "images/image_pipeline.h"
#include "predict/predict_card.h"

namespace gluon_resnet {

// On the CPU, for one image at a time; one per thread.
class Predictor {
 public:
  // `symbol_path` and `params_path` are what tools/export.py writes. A card without classes gets
  // the outputs' numbers as names.
  //
  // Throws Error(kSystem), with path, expected and found, for files that are damaged or do not
  // belong together.
  Predictor(const std::string& symbol_path, const std::string& params_path, PredictCard card);

  // The network's input for the bytes of a JPEG or PNG file: 3 x size x size RGB values of 0 to
  // 255. Throws Error(kImage).
  std::vector<float> preprocess(const std::string& file);

  // The network's outputs, before the softmax, for what preprocess() made.
  std::vector<float> logits(const std::vector<float>& input);

  const std::vector<std::string>& classes() const { return card_.classes; }

 private:
  struct Free {
    void operator()(void* handle) const;
  };

  std::string symbol_path_;
  PredictCard card_;
  std::unique_ptr<void, Free> handle_;
  ImagePipeline pipeline_;
};

// The `count` largest of the softmax of `logits`, as (label, probability), the largest first.
std::vector<std::pair<size_t, double>> most_probable(const std::vector<float>& logits,
                                                     size_t count);

}  // namespace gluon_resnet

#endif  // GLUON_RESNET_PREDICTOR_H_
