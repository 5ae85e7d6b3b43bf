#include "predict/predictor.h"

#include <algorithm>
#include <array>
#include <climits>
#include <cmath>
#include <numeric>

#include "base/read_file.h"
#include "predict/predict_api.h"
#include "predict/predict_error.h"
#include "predict/predict_graph.h"

namespace gluon_resnet {

void Predictor::Free::operator()(void* handle) const { predict_api().MXPredFree(handle); }

Predictor::Predictor(const std::string& symbol_path, const std::string& params_path,
                     PredictCard card)
    : symbol_path_(symbol_path), card_(std::move(card)) {
  const std::string symbol = read_file(symbol_path);
  const std::string params = read_file(params_path);
  const GraphShapes shapes = infer_shapes(symbol_path, symbol, card_.transform.size);
  std::vector<std::string>& classes = card_.classes;
  if (classes.empty() && shapes.output.size() == 2) {
    for (int64_t i = 0; i < shapes.output[1]; ++i) classes.push_back(std::to_string(i));
  }
  const Shape expected{1, static_cast<int64_t>(classes.size())};
  if (classes.empty() || shapes.output != expected) {
    fail_model(symbol_path, concat("expected shape ", to_string(expected), " of the output, found ",
                                   to_string(shapes.output)));
  }
  check_shapes(params_path, shapes.parameters, read_shapes(params_path, params));
  if (params.size() > INT_MAX) fail_model(params_path, "MXNet's C API takes at most 2 GiB");

  const PredictApi& api = predict_api();
  const char* input = kGraphInput;
  const auto size = static_cast<uint32_t>(card_.transform.size);
  const std::array<uint32_t, 2> offsets{0, 4};
  const std::array<uint32_t, 4> shape{1, 3, size, size};
  constexpr int kCpu = 1;
  void* handle = nullptr;
  api.check(api.MXPredCreate(symbol.c_str(), params.data(), static_cast<int>(params.size()), kCpu,
                             0, 1, &input, offsets.data(), shape.data(), &handle),
            params_path);
  handle_.reset(handle);
}

std::vector<float> Predictor::preprocess(const std::string& file) {
  const TransformPlan& plan = card_.transform;
  Random random(0, 0, 0);  // the evaluation transform draws nothing
  std::vector<float> input(size_t{3} * plan.size * plan.size);
  pipeline_.run(plan, reinterpret_cast<const uint8_t*>(file.data()), file.size(), &random,
                DType::kFloat32, Layout::kNchw, input.data());
  return input;
}

std::vector<float> Predictor::logits(const std::vector<float>& input) {
  const PredictApi& api = predict_api();
  const auto input_size = static_cast<uint32_t>(input.size());
  api.check(api.MXPredSetInput(handle_.get(), kGraphInput, input.data(), input_size), symbol_path_);
  api.check(api.MXPredForward(handle_.get()), symbol_path_);
  std::vector<float> output(card_.classes.size());
  const auto output_size = static_cast<uint32_t>(output.size());
  api.check(api.MXPredGetOutput(handle_.get(), 0, output.data(), output_size), symbol_path_);
  return output;
}

std::vector<std::pair<size_t, double>> most_probable(const std::vector<float>& logits,
                                                     size_t count) {
  std::vector<size_t> labels(logits.size());
  std::iota(labels.begin(), labels.end(), size_t{0});
  std::stable_sort(labels.begin(), labels.end(),
                   [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  double sum = 0;
  const double largest = logits[labels[0]];
  for (const float logit : logits) sum += std::exp(logit - largest);
  std::vector<std::pair<size_t, double>> result;
  for (size_t i = 0; i < std::min(count, labels.size()); ++i) {
    result.emplace_back(labels[i], std::exp(logits[labels[i]] - largest) / sum);
  }
  return result;
}

}  // namespace gluon_resnet
