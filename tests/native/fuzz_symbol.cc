// A libFuzzer target: whatever the bytes of a -symbol.json, checking it gives an Error(kModel), or
// a graph whose own text is checked as the same graph again.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graph/checked_graph.h"
#include "refused.h"

namespace gluon_resnet {
namespace {

// Memory for shapes that a hash of the text draws: MXNet, which infers them, is not here.
void check_some_results(const Graph& graph, const std::string& text) {
  uint64_t value = 0xcbf29ce484222325;
  for (const char byte : text) value = (value ^ static_cast<uint8_t>(byte)) * 0x100000001b3;
  std::vector<std::vector<int64_t>> shapes(graph.nodes.size());
  for (auto& shape : shapes) {
    shape.resize(value % 5);
    for (int64_t& length : shape) {
      value = value * 6364136223846793005 + 1442695040888963407;
      length = static_cast<int64_t>(value) >> (value >> 58);
    }
  }
  try {
    check_results(graph, shapes, 3 * 32 * 32);
  } catch (const Error& error) {
    require_refusal(error, ErrorKind::kModel);
  }
}

void run(std::string_view bytes) {
  std::string text;
  try {
    const Graph graph = checked_graph(bytes);
    misfused_convolution(graph);
    text = to_json(graph);
    check_some_results(graph, text);
  } catch (const Error& error) {
    require_refusal(error, ErrorKind::kModel);
    return;
  }
  try {
    require(to_json(checked_graph(text)) == text, "a checked graph's text is its own");
  } catch (const Error& error) {
    require(false, concat("a checked graph's text is a graph: ", error.what()));
  }
}

}  // namespace
}  // namespace gluon_resnet

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  gluon_resnet::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
