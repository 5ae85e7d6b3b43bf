#include "predict/predict_graph.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "predict/predict_api.h"
#include "predict/predict_error.h"

namespace gluon_resnet {
namespace {

// A list of shapes in MXNet's own memory, which stays until its next call in this thread.
struct ShapeList {
  uint32_t size = 0;
  const int* dimensions = nullptr;
  const int** lengths = nullptr;

  Shape operator[](size_t i) const { return {lengths[i], lengths[i] + std::max(dimensions[i], 0)}; }
};

}  // namespace

GraphShapes infer_shapes(const std::string& path, const std::string& json, int size) {
  const PredictApi& api = predict_api();
  if (!nlohmann::json::accept(json)) fail_model(path, "this is not JSON");
  SymbolHandle symbol = nullptr;
  api.check(api.MXSymbolCreateFromJSON(json.c_str(), &symbol), path);
  const std::unique_ptr<void, decltype(api.MXSymbolFree)> owner(symbol, api.MXSymbolFree);

  const auto names = [&](auto* list_names) {
    uint32_t count = 0;
    const char** list = nullptr;
    api.check(list_names(symbol, &count, &list), path);
    return std::vector<std::string>(list, list + count);
  };
  const auto arguments = names(api.MXSymbolListArguments);
  const auto states = names(api.MXSymbolListAuxiliaryStates);
  if (names(api.MXSymbolListOutputs).size() != 1 ||
      std::count(arguments.begin(), arguments.end(), kGraphInput) != 1) {
    fail_model(path, concat("expected a graph with the input '", kGraphInput, "' and one output"));
  }

  const char* input = kGraphInput;
  const std::array<uint32_t, 2> offsets{0, 4};
  const std::array<int, 4> shape{1, 3, size, size};
  ShapeList inputs, outputs, auxiliary;
  int complete = 0;
  const int status = api.MXSymbolInferShapePartialEx(
      symbol, 1, &input, offsets.data(), shape.data(), &inputs.size, &inputs.dimensions,
      &inputs.lengths, &outputs.size, &outputs.dimensions, &outputs.lengths, &auxiliary.size,
      &auxiliary.dimensions, &auxiliary.lengths, &complete);
  api.check(status, path);
  GraphShapes result;
  result.output = outputs[0];
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] != kGraphInput) result.parameters["arg:" + arguments[i]] = inputs[i];
  }
  for (size_t i = 0; i < states.size(); ++i) result.parameters["aux:" + states[i]] = auxiliary[i];
  return result;
}

void check_fusion(const std::string& path, const std::string& json) {
  const char* const chosen = std::getenv("MXNET_SUBGRAPH_BACKEND");
  if (chosen != nullptr && std::string(chosen) != "MKLDNN") return;
  const nlohmann::json nodes = nlohmann::json::parse(json).value("nodes", nlohmann::json::array());
  std::vector<int> readers(nodes.size());
  std::vector<bool> normalized(nodes.size());
  for (const auto& node : nodes) {
    for (const auto& input : node.at("inputs")) {
      const auto source = input.at(0).get<size_t>();
      ++readers.at(source);
      if (node.at("op") == "BatchNorm") normalized.at(source) = true;
    }
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].at("op") == "Convolution" && normalized[i] && readers[i] > 1) {
      fail_model(path,
                 concat("MXNet would fuse the convolution ", nodes[i].at("name").get<std::string>(),
                        ", which is read twice, and compute something else; set "
                        "MXNET_SUBGRAPH_BACKEND=default, or export the network again"));
    }
  }
}

}  // namespace gluon_resnet
