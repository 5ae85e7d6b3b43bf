#include "predictor/predictor.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>

#include "base/read_file.h"
#include "predictor/bound_graph.h"
#include "predictor/card.h"
#include "predictor/model_error.h"
#include "predictor/mxnet_api.h"
#include "predictor/mxnet_graph.h"
#include "transforms/image_pipeline.h"

namespace gluon_resnet {
namespace {

// Image pipelines, which threads borrow: there are never more of them than threads.
class PipelinePool {
 public:
  std::unique_ptr<ImagePipeline> take() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (idle_.empty()) return std::make_unique<ImagePipeline>();
    std::unique_ptr<ImagePipeline> pipeline = std::move(idle_.back());
    idle_.pop_back();
    return pipeline;
  }

  void give_back(std::unique_ptr<ImagePipeline> pipeline) {
    const std::lock_guard<std::mutex> lock(mutex_);
    idle_.push_back(std::move(pipeline));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<ImagePipeline>> idle_;
};

constexpr int64_t kMostClasses = 1 << 22;  // of a graph without a card; as in deploy/graph.py
constexpr size_t kMostImageBytes = size_t{1} << 29;  // as for a record

}  // namespace

class Predictor::Impl {
 public:
  Impl(const std::string& symbol_path, const std::string& params_path, ModelCard card,
       size_t batch_size)
      : card_(std::move(card)),
        plan_(evaluation_transform(card_)),
        graph_(bind(symbol_path, params_path, batch_size)) {}

  const ModelCard& card() const { return card_; }
  size_t batch_size() const { return graph_.batch_size(); }
  size_t input_size() const { return size_t{3} * card_.size * card_.size; }

  void preprocess(const void* file, size_t size, float* input) {
    std::unique_ptr<ImagePipeline> pipeline = pipelines_.take();
    Random random(0, 0, 0);  // the evaluation transform draws no random numbers
    pipeline->run(plan_, static_cast<const uint8_t*>(file), size, &random, DType::kFloat32,
                  Layout::kNchw, input);
    pipelines_.give_back(std::move(pipeline));  // after a bad image it is dropped instead
  }

  void logits(const float* inputs, size_t images, float* outputs) {
    while (images > 0) {
      const size_t count = std::min(images, batch_size());
      graph_.forward(inputs, count, outputs);
      inputs += count * input_size();
      outputs += count * card_.classes.size();
      images -= count;
    }
  }

 private:
  BoundGraph bind(const std::string& symbol_path, const std::string& params_path,
                  size_t batch_size) {
    const Graph graph = read_graph_file(symbol_path);
    const std::string symbol = to_json(graph);
    const GraphForm form = infer_form(symbol_path, symbol, card_.size);
    check_fusion(symbol_path, graph);
    std::vector<std::string>& classes = card_.classes;
    const bool named = !classes.empty();
    const bool is_row = form.output.size() == 2 && form.output[0] == 1;
    const int64_t outputs = is_row ? form.output[1] : 0;
    if (outputs < 1 || outputs > (named ? static_cast<int64_t>(classes.size()) : kMostClasses) ||
        (named && outputs < static_cast<int64_t>(classes.size()))) {
      const std::string expected = named ? std::to_string(classes.size()) : "classes";
      fail_model(symbol_path, concat("expected an output of shape (1, ", expected, "), found ",
                                     to_string(form.output)));
    }
    const std::string params = read_file(params_path);
    const Arrays found = read_arrays(params_path, params);
    check_arrays(params_path, form.parameters, found);
    check_memory(symbol_path, graph, symbol, card_.size, found);
    for (int64_t i = 0; !named && i < outputs; ++i) classes.push_back(std::to_string(i));
    return BoundGraph({symbol_path, symbol}, {params_path, params}, card_.size, classes.size(),
                      batch_size);
  }

  ModelCard card_;
  TransformPlan plan_;
  BoundGraph graph_;
  PipelinePool pipelines_;
};

Predictor::Predictor(const std::string& prefix, size_t batch_size)
    : Predictor(prefix, read_card(prefix + "-model.json"), batch_size) {}

Predictor::Predictor(const std::string& prefix, ModelCard card, size_t batch_size)
    : Predictor(prefix + "-symbol.json", prefix + "-0000.params", std::move(card), batch_size) {}

Predictor::Predictor(const std::string& symbol_path, const std::string& params_path, ModelCard card,
                     size_t batch_size)
    : impl_(std::make_unique<Impl>(symbol_path, params_path, std::move(card), batch_size)) {}

Predictor::~Predictor() = default;
Predictor::Predictor(Predictor&&) noexcept = default;
Predictor& Predictor::operator=(Predictor&&) noexcept = default;

const ModelCard& Predictor::card() const { return impl_->card(); }
size_t Predictor::batch_size() const { return impl_->batch_size(); }
size_t Predictor::input_size() const { return impl_->input_size(); }

std::vector<float> Predictor::preprocess(const std::string& bytes) const {
  std::vector<float> input(input_size());
  impl_->preprocess(bytes.data(), bytes.size(), input.data());
  return input;
}

void Predictor::preprocess(const void* bytes, size_t size, float* input) const {
  impl_->preprocess(bytes, size, input);
}

std::vector<float> Predictor::preprocess_file(const std::string& path) const {
  const std::string bytes = read_file(path, kMostImageBytes);
  try {
    return preprocess(bytes);
  } catch (const Error& error) {
    throw Error(error.kind, concat(path, ": ", error.what()), path);
  }
}

std::vector<float> Predictor::logits(const std::vector<float>& inputs) {
  const size_t images = inputs.size() / input_size();
  if (inputs.size() % input_size() != 0) {
    throw Error(ErrorKind::kUsage, concat("expected images of ", input_size(), " values, found ",
                                          inputs.size(), " values"));
  }
  std::vector<float> outputs(images * card().classes.size());
  impl_->logits(inputs.data(), images, outputs.data());
  return outputs;
}

void Predictor::logits(const float* inputs, size_t images, float* outputs) {
  impl_->logits(inputs, images, outputs);
}

std::vector<std::pair<size_t, double>> most_probable(const std::vector<float>& logits,
                                                     size_t count) {
  std::vector<size_t> labels(logits.size());
  std::iota(labels.begin(), labels.end(), size_t{0});
  // NaN comes last, so that there is a strict order.
  std::stable_sort(labels.begin(), labels.end(), [&](size_t a, size_t b) {
    return logits[a] > logits[b] || (std::isnan(logits[b]) && !std::isnan(logits[a]));
  });
  double sum = 0;
  const double largest = logits.empty() ? 0 : logits[labels[0]];
  for (const float logit : logits) sum += std::exp(logit - largest);
  std::vector<std::pair<size_t, double>> result;
  for (size_t i = 0; i < std::min(count, labels.size()); ++i) {
    result.emplace_back(labels[i], std::exp(logits[labels[i]] - largest) / sum);
  }
  return result;
}

}  // namespace gluon_resnet
