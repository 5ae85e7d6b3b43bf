#include "graph/checked_graph.h"

#include <algorithm>
#include <utility>

#include "base/printable.h"
#include "graph/operator_table.h"
#include "graph/operators.h"

namespace gluon_resnet {
namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kModel, message); }

}  // namespace

Graph checked_graph(std::string_view json) {
  if (json.size() > kMostGraphBytes) {
    fail(concat("expected a graph of at most ", kMostGraphBytes, " bytes"));
  }
  Graph graph = read_graph(json);
  check_operators(&graph);
  graph = in_order(std::move(graph));
  const auto is_input = [](const Node& node) {
    return node.is_variable() && node.name == kGraphInput;
  };
  if (graph.heads.size() != 1 || std::none_of(graph.nodes.begin(), graph.nodes.end(), is_input)) {
    fail(concat("expected a graph with the input '", kGraphInput, "' and one output"));
  }
  return graph;
}

std::string misfused_convolution(const Graph& graph) {
  std::vector<int> readers(graph.nodes.size());
  std::vector<bool> normalized(graph.nodes.size());
  for (const Node& node : graph.nodes) {
    for (const Entry& input : node.inputs) {
      ++readers[input.node];
      if (node.op == "BatchNorm") normalized[input.node] = true;
    }
  }
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (graph.nodes[i].op == "Convolution" && normalized[i] && readers[i] > 1) {
      return graph.nodes[i].name;
    }
  }
  return "";
}

std::string mxnet_cause(const std::string& message) {
  const auto behind = [&](const std::string& mark, size_t end) {
    const size_t at = message.rfind(mark, end);
    return at == std::string::npos ? 0 : at + mark.size();
  };
  const size_t stack = message.find("\nStack trace");
  const size_t begin = std::max(behind("Error: ", 16), behind("Check failed: ", stack));
  std::string line = message.substr(begin, message.find('\n', begin) - begin);
  const auto drop_to = [&](const std::string& mark, size_t from) {
    const size_t at = line.find(mark, from);
    if (at != std::string::npos && at + mark.size() < line.size()) line.erase(0, at + mark.size());
  };
  drop_to(": ", 0);
  if (line[0] == '[') drop_to(": ", line.find("] "));  // "[19:46:52] ../src/pad-inl.h:221: CAUSE"
  constexpr size_t kMost = 200;
  return printable(line, kMost);
}

}  // namespace gluon_resnet
