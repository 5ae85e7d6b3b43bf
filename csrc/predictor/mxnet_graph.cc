#include "predictor/mxnet_graph.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/printable.h"
#include "base/read_file.h"
#include "predictor/model_error.h"
#include "predictor/mxnet_api.h"

namespace gluon_resnet {
namespace {

// A list of shapes in MXNet's own memory, valid until its next call in this thread.
struct ShapeList {
  size_t size = 0;
  const int* dimensions = nullptr;
  const int64_t** lengths = nullptr;

  Shape operator[](size_t i) const { return {lengths[i], lengths[i] + std::max(dimensions[i], 0)}; }
};

struct TypeList {
  uint32_t size = 0;
  const int* types = nullptr;
};

class Symbol {
 public:
  Symbol(const std::string& path, const std::string& json) : path_(path) {
    void* symbol = nullptr;
    api_.check(api_.MXSymbolCreateFromJSON(json.c_str(), &symbol), path);
    symbol_.reset(symbol);
  }

  // Turns it into the symbol of all intermediate results.
  void add_internals() {
    void* symbol = nullptr;
    api_.check(api_.MXSymbolGetInternals(symbol_.get(), &symbol), path_);
    symbol_.reset(symbol);
  }

  std::vector<std::string> arguments() const { return names(api_.MXSymbolListArguments); }
  std::vector<std::string> states() const { return names(api_.MXSymbolListAuxiliaryStates); }

  // The shapes of arguments, outputs and states for an image of size x size pixels, given the
  // shapes of these parameters.
  void infer_shapes(int size, const Arrays& parameters, ShapeList lists[3]) const {
    std::vector<const char*> names{kGraphInput};
    std::vector<int64_t> offsets{0, 4}, lengths{1, 3, size, size};
    for (const auto& [name, array] : parameters) {
      names.push_back(name.c_str() + kPrefix);
      lengths.insert(lengths.end(), array.shape.begin(), array.shape.end());
      offsets.push_back(static_cast<int64_t>(lengths.size()));
    }
    int complete = 0;
    const int status = api_.MXSymbolInferShapePartialEx64(
        symbol_.get(), static_cast<uint32_t>(names.size()), names.data(), offsets.data(),
        lengths.data(), &lists[0].size, &lists[0].dimensions, &lists[0].lengths, &lists[1].size,
        &lists[1].dimensions, &lists[1].lengths, &lists[2].size, &lists[2].dimensions,
        &lists[2].lengths, &complete);
    require(status, size);
  }

  // The types of arguments and states; -1 is unknown.
  void infer_types(int size, TypeList lists[3]) const {
    const char* const names[] = {kGraphInput};
    const char** list = const_cast<const char**>(names);
    const int float32 = 0;
    int complete = 0;
    const int status = api_.MXSymbolInferTypePartial(
        symbol_.get(), 1, list, &float32, &lists[0].size, &lists[0].types, &lists[1].size,
        &lists[1].types, &lists[2].size, &lists[2].types, &complete);
    require(status, size);
  }

 private:
  static constexpr size_t kPrefix = 4;  // "arg:"

  void require(int status, int size) const {
    if (status == 0) return;
    fail_model(path_, concat("not a graph for ", size, "x", size, " images: ", api_.says()));
  }

  template <typename List>
  std::vector<std::string> names(List* list_names) const {
    uint32_t count = 0;
    const char** list = nullptr;
    api_.check(list_names(symbol_.get(), &count, &list), path_);
    return {list, list + count};
  }

  const MxnetApi& api_ = mxnet_api();
  const std::string& path_;
  std::unique_ptr<void, decltype(MxnetApi::MXSymbolFree)> symbol_{nullptr, api_.MXSymbolFree};
};

}  // namespace

Graph read_graph_file(const std::string& path) {
  const std::string json = read_file(path, kMostGraphBytes);
  try {
    return checked_graph(json);
  } catch (const Error& error) {
    fail_model(path, error.what(), error.offset);
  }
}

GraphForm infer_form(const std::string& path, const std::string& json, int size) {
  const Symbol symbol(path, json);
  GraphForm result;
  const auto add = [&](const std::string& kind, const std::vector<std::string>& names,
                       const ShapeList& shapes) {
    for (size_t i = 0; i < names.size(); ++i) result.parameters[kind + names[i]].shape = shapes[i];
  };
  const auto arguments = symbol.arguments(), states = symbol.states();
  ShapeList shapes[3];
  symbol.infer_shapes(size, {}, shapes);
  result.output = shapes[1][0];
  add("arg:", arguments, shapes[0]);
  add("aux:", states, shapes[2]);
  TypeList types[3];
  symbol.infer_types(size, types);
  for (size_t i = 0; i < arguments.size(); ++i) {
    result.parameters["arg:" + arguments[i]].type = types[0].types[i];
  }
  for (size_t i = 0; i < states.size(); ++i) {
    result.parameters["aux:" + states[i]].type = types[2].types[i];
  }
  result.parameters.erase(std::string("arg:") + kGraphInput);
  return result;
}

void check_memory(const std::string& path, const Graph& graph, const std::string& json, int size,
                  const Arrays& parameters) {
  Symbol symbol(path, json);
  symbol.add_internals();
  ShapeList lists[3];
  symbol.infer_shapes(size, parameters, lists);
  std::vector<Shape> shapes;
  for (size_t i = 0; i < lists[1].size; ++i) shapes.push_back(lists[1][i]);
  try {
    check_results(graph, shapes, size_t{3} * size * size);
  } catch (const Error& error) {
    fail_model(path, error.what());
  }
}

void check_fusion(const std::string& path, const Graph& graph) {
  const char* const chosen = std::getenv("MXNET_SUBGRAPH_BACKEND");
  if (chosen != nullptr && std::string(chosen) != "MKLDNN") return;
  const std::string convolution = misfused_convolution(graph);
  if (convolution.empty()) return;
  fail_model(path, concat("MXNet would fuse the convolution ", printable_name(convolution),
                          ", which is read twice, and compute something else; set "
                          "MXNET_SUBGRAPH_BACKEND=default, or export the network again"));
}

}  // namespace gluon_resnet
