#include "graph/checked_graph.h"

#include <algorithm>
#include <utility>

#include "graph/operator_table.h"
#include "graph/operators.h"
#include "graph/shown.h"

namespace gluon_resnet {
namespace {

[[noreturn]] void fail(const std::string& message) { throw Error(ErrorKind::kModel, message); }

// Wide ResNets have some 200 times as much as the image at a time, ResNet-1202 12,000 times in all.
constexpr uint64_t kMostAtATime = 1 << 10;
constexpr uint64_t kMostInAll = 1 << 15;
constexpr uint64_t kAlwaysAtATime = 1 << 26;  // whatever the image has: 256 MiB of float32
constexpr uint64_t kAlwaysInAll = 1 << 30;

size_t outputs_of(const Node& node) {
  return node.is_variable() ? 1 : operator_table().at(node.op).outputs(node);
}

// How many values are in an array of this shape.
uint64_t elements(const Node& node, const std::vector<int64_t>& shape) {
  uint64_t product = shape.empty() ? 0 : 1;
  for (const int64_t length : shape) {
    if (length < 1 || __builtin_mul_overflow(product, static_cast<uint64_t>(length), &product)) {
      product = 0;
      break;
    }
  }
  if (product > 0 && product <= INT32_MAX) return product;
  std::string text;
  for (const int64_t length : shape) text += (text.empty() ? "" : ", ") + std::to_string(length);
  fail(concat(shown(node.op), ", the node '", shown(node.name),
              "': expected a result of 1 to 2^31 - 1 values, found the shape (", text, ")"));
}

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

void check_results(const Graph& graph, const std::vector<std::vector<int64_t>>& shapes,
                   size_t values) {
  std::vector<size_t> last_readers(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    last_readers[i] = i;
    for (const Entry& input : graph.nodes[i].inputs) last_readers[input.node] = i;
  }
  for (const Entry& head : graph.heads) last_readers[head.node] = graph.nodes.size();
  std::vector<uint64_t> freed(graph.nodes.size() + 1);  // behind each node
  uint64_t now = 0, most = 0, all = 0;
  size_t next = 0;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    uint64_t own = 0;
    for (size_t output = outputs_of(node); output > 0; --output, ++next) {
      if (next == shapes.size()) fail("MXNet sees another graph");
      own += elements(node, shapes[next]);
    }
    if (node.is_variable() && node.name != kGraphInput) continue;  // a parameter, and in its file
    all += own;
    now += own;
    most = std::max(most, now);
    freed[last_readers[i]] += own;
    now -= freed[i];
  }
  if (next != shapes.size()) fail("MXNet sees another graph");
  if (most > std::max(kMostAtATime * values, kAlwaysAtATime)) {
    fail(concat("the results for one image would be ", most, " values at a time, more than ",
                kMostAtATime, " times the image"));
  }
  if (all > std::max(kMostInAll * values, kAlwaysInAll)) {
    fail(concat("the results for one image would be ", all, " values in all, more than ",
                kMostInAll, " times the image"));
  }
}

std::string mxnet_cause(const std::string& message) {
  const auto behind = [&](const std::string& mark, size_t end) {
    const size_t at = message.rfind(mark, end);
    return at == std::string::npos ? 0 : at + mark.size();
  };
  const size_t stack = message.find("\nStack trace");
  const size_t begin = std::max(behind("Error: ", 16), behind("Check failed: ", stack));
  const std::string line = message.substr(begin, message.find('\n', begin) - begin);
  const size_t condition = line.find(": ");
  const bool named = condition != std::string::npos && condition + 2 < line.size();
  std::string cause;
  constexpr size_t kMost = 200;
  for (const char letter : (named ? line.substr(condition + 2) : line).substr(0, kMost)) {
    cause += letter >= ' ' && letter <= '~' ? letter : '?';
  }
  return cause;
}

}  // namespace gluon_resnet
